//! The faults of the soak, drawn from a shuffled deck.

use crate::chaos::Chaos;
use crate::ledger::Deed;
use fastrand::Rng;
use std::time::Duration;
use testbed::{Answer, Ca, Fault, Forgotten, Protocol};
use tokio::time::{Instant, timeout};

/// How long a token stays damaged.
const DAMAGE: Duration = Duration::from_millis(5);

/// How long to wait for a new connection.
const RECONNECTION: Duration = Duration::from_secs(1);

/// How long a lasting fault lasts, in milliseconds.
const SPELL: std::ops::Range<u64> = 500..2500;

/// How long the server does not listen.
const ABSENCE: Duration = Duration::from_secs(1);

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Compaction,
    CompactionForGood,
    ForgottenByStatus,
    ForgottenByEvent,
    ForgottenSilently,
    VersionTooLarge,
    WatchesDropped,
    WatchesClosed,
    WatchCut,
    WatchesStalled,
    WatchesHurried,
    WatchesFailed,
    WatchesFailedForAWhile,
    Bookmark,
    Failures,
    FailuresWithHeader,
    FailuresWithStatus,
    NoAnswer,
    HalfAnswer,
    Refused,
    Canceled,
    InternalError,
    Calmed,
    CutAnswer,
    GoAwayBefore,
    GoAwayAfter,
    HangUp,
    ConnectionReset,
    ConnectionSilent,
    Freeze,
    FewStreams,
    Http1,
    Away,
    TokenRotation,
    TokenDamage,
    VolumeSwap,
    CaRotation,
    CaDamage,
    CaLate,
}

/// Each kind, its name, and how many times it is in a deck.
const CARDS: [(Kind, &str, usize); 39] = [
    (Kind::Compaction, "compactions", 5),
    (Kind::CompactionForGood, "compactions without a token", 5),
    (Kind::ForgottenByStatus, "versions forgotten, answered with 410", 1),
    (Kind::ForgottenByEvent, "versions forgotten, answered with an event", 1),
    (Kind::ForgottenSilently, "versions forgotten, answered with an empty watch", 1),
    (Kind::VersionTooLarge, "versions too large", 3),
    (Kind::WatchesDropped, "watches dropped", 3),
    (Kind::WatchesClosed, "watches closed", 3),
    (Kind::WatchCut, "watches cut", 6),
    (Kind::WatchesStalled, "watches stalled", 2),
    (Kind::WatchesHurried, "watches hurried", 1),
    (Kind::WatchesFailed, "watches failed by an event", 1),
    (Kind::WatchesFailedForAWhile, "watches failed by an event, retryAfterSeconds", 1),
    (Kind::Bookmark, "bookmarks", 8),
    (Kind::Failures, "requests failed", 5),
    (Kind::FailuresWithHeader, "requests failed, Retry-After", 3),
    (Kind::FailuresWithStatus, "requests failed, retryAfterSeconds", 3),
    (Kind::NoAnswer, "requests not answered", 2),
    (Kind::HalfAnswer, "answers stalled", 2),
    (Kind::Refused, "streams reset with REFUSED_STREAM", 3),
    (Kind::Canceled, "streams reset with CANCEL", 3),
    (Kind::InternalError, "streams reset with INTERNAL_ERROR", 3),
    (Kind::Calmed, "streams reset with ENHANCE_YOUR_CALM", 3),
    (Kind::CutAnswer, "answers cut", 4),
    (Kind::GoAwayBefore, "GOAWAY before the request", 1),
    (Kind::GoAwayAfter, "GOAWAY after the request", 1),
    (Kind::HangUp, "hang-ups", 1),
    (Kind::ConnectionReset, "connections reset", 2),
    (Kind::ConnectionSilent, "connections silent from the beginning", 1),
    (Kind::Freeze, "connections that go silent", 1),
    (Kind::FewStreams, "few streams on a connection", 1),
    (Kind::Http1, "HTTP/1.1 alone", 1),
    (Kind::Away, "server not listening", 1),
    (Kind::TokenRotation, "token rotations", 10),
    (Kind::TokenDamage, "tokens damaged", 10),
    (Kind::VolumeSwap, "volume swaps", 6),
    (Kind::CaRotation, "CA rotations", 1),
    (Kind::CaDamage, "CAs damaged", 1),
    (Kind::CaLate, "certificates before their CA", 1),
];

/// The names of all kinds.
pub fn names() -> impl Iterator<Item = &'static str> {
    CARDS.iter().map(|(_, name, _)| *name)
}

/// A shuffled deck of faults. Unlike independent random choices, it guarantees each kind its turn.
#[derive(Default)]
pub struct Deck(Vec<(Kind, &'static str)>);

impl Deck {
    fn draw(&mut self, random: &mut Rng) -> (Kind, &'static str) {
        loop {
            if let Some(card) = self.0.pop() {
                return card;
            }
            self.0 = CARDS.iter().flat_map(|(kind, name, count)| std::iter::repeat_n((*kind, *name), *count)).collect();
            random.shuffle(&mut self.0);
        }
    }

    /// Puts a card back at a random place.
    fn put_back(&mut self, card: (Kind, &'static str), random: &mut Rng) {
        self.0.insert(random.usize(..=self.0.len()), card);
    }
}

/// A fault that lasts for a while.
pub struct Spell {
    until: Instant,
    deed: usize,
    lasting: Lasting,
}

#[derive(PartialEq, Eq)]
enum Lasting {
    Hurry,
    Version,
    Away,
    /// The server's new CA, which is not in the volume yet.
    CaLate(String),
}

impl Chaos {
    pub async fn commit_a_fault(&mut self) {
        let card = self.deck.draw(&mut self.random);
        let (kind, name) = card;
        if !self.may(kind) {
            return self.deck.put_back(card, &mut self.random);
        }
        self.commit(kind).await;
        self.done.count(name);
    }

    /// Whether a fault can be combined with the lasting ones.
    fn may(&self, kind: Kind) -> bool {
        let lasts = |lasting: fn(&Lasting) -> bool| self.spells.iter().any(|spell| lasting(&spell.lasting));
        let changes_ca = |lasting: &Lasting| matches!(lasting, Lasting::CaLate(_) | Lasting::Away);
        match kind {
            Kind::WatchesHurried => !lasts(|lasting| *lasting == Lasting::Hurry),
            Kind::FewStreams | Kind::Http1 => !lasts(|lasting| *lasting == Lasting::Version),
            // A caller must read ca.crt before it changes again.
            Kind::CaRotation | Kind::CaDamage | Kind::CaLate | Kind::Away => !lasts(changes_ca),
            _ => true,
        }
    }

    async fn commit(&mut self, kind: Kind) {
        let (ledger, store, faults) = (self.ledger.clone(), self.store.clone(), self.faults.clone());
        let compact = || ledger.doing(Deed::Compacted, || store.compact());
        let some = self.random.usize(1..4);
        let on_requests = |fault| ledger.doing(Deed::Broken, || faults.commit(fault, some));
        // Open connections stay, so that stalled requests end by their time limits and not by a broken connection.
        let on_a_connection = |fault| ledger.doing(Deed::Broken, || faults.commit(fault, 1));
        match kind {
            Kind::Compaction => compact(),
            Kind::CompactionForGood => {
                ledger.doing(Deed::Compacted, || ledger.doing(Deed::CompactedForGood, || store.compact_without_token()));
            }
            Kind::ForgottenByStatus => self.forget(Forgotten::Status),
            Kind::ForgottenByEvent => self.forget(Forgotten::Event),
            Kind::ForgottenSilently => self.forget(Forgotten::Silently),
            Kind::VersionTooLarge => {
                ledger.doing(Deed::Behind, || store.fail_next_watches(some, version_too_large()));
                ledger.doing(Deed::Broken, || store.close_watches());
            }
            Kind::WatchesDropped => {
                if self.random.bool() {
                    // The server forgets the version that they would go on from.
                    compact();
                }
                ledger.doing(Deed::Broken, || store.drop_watches());
            }
            Kind::WatchesClosed => ledger.doing(Deed::Broken, || store.close_watches()),
            Kind::WatchCut => {
                let bytes = self.random.usize(..20_000);
                ledger.doing(Deed::Broken, || store.cut_watches_after(bytes));
            }
            Kind::WatchesStalled => ledger.doing(Deed::Stalled, || store.stall_watches()),
            Kind::WatchesHurried => {
                store.hurry_watches(true);
                store.close_watches();
                self.begin(Deed::Broken, Lasting::Hurry, None);
            }
            Kind::WatchesFailed => ledger.doing(Deed::Failed, || store.fail_watches(None)),
            Kind::WatchesFailedForAWhile => ledger.doing(Deed::Failed, || store.fail_watches(Some(1))),
            Kind::Bookmark => store.bookmark(),
            Kind::Failures | Kind::FailuresWithHeader | Kind::FailuresWithStatus => {
                let answer = failure(kind, &mut self.random);
                ledger.doing(Deed::Failed, || store.fail_next(some, answer));
            }
            Kind::NoAnswer => ledger.doing(Deed::Stalled, || faults.commit(Fault::NoAnswer, some)),
            Kind::HalfAnswer => ledger.doing(Deed::Stalled, || faults.commit(Fault::HalfAnswer, some)),
            Kind::Refused => on_requests(Fault::StreamRefused(7)),
            Kind::Canceled => on_requests(Fault::StreamRefused(8)),
            Kind::InternalError => on_requests(Fault::StreamRefused(2)),
            Kind::Calmed => on_requests(Fault::StreamRefused(0xb)),
            Kind::CutAnswer => on_requests(Fault::StreamReset),
            Kind::GoAwayBefore => on_a_connection(go_away(0)),
            Kind::GoAwayAfter => on_a_connection(go_away(1)),
            Kind::HangUp => ledger.doing(Deed::Broken, || self.testbed.server.hang_up()),
            Kind::ConnectionReset => on_a_connection(Fault::Reset),
            Kind::ConnectionSilent => ledger.doing(Deed::Stalled, || on_a_connection(Fault::Silent)),
            Kind::Freeze => ledger.doing(Deed::Stalled, || self.testbed.server.freeze()),
            Kind::FewStreams => self.speak(Protocol::Http2Streams(some as u32)),
            Kind::Http1 => self.speak(Protocol::Http1),
            Kind::Away => {
                self.testbed.server.leave();
                self.begin(Deed::Broken, Lasting::Away, Some(ABSENCE));
            }
            Kind::TokenRotation => self.rotate_token(),
            Kind::TokenDamage => self.damage_token().await,
            Kind::VolumeSwap => self.testbed.volume.set("namespace", b"shop\n"),
            Kind::CaRotation => self.rotate_ca().await,
            Kind::CaDamage => self.damage_ca().await,
            Kind::CaLate => {
                let new = Ca::new("kubernetes-ca");
                self.begin(Deed::CaLate, Lasting::CaLate(new.pem()), None);
                self.testbed.server.rotate(new.identity(&["127.0.0.1"]));
                ledger.doing(Deed::Broken, || self.testbed.server.hang_up());
            }
        }
    }

    /// Makes watches begin again from a version that the server has forgotten.
    fn forget(&self, forgotten: Forgotten) {
        self.store.answer_forgotten(forgotten);
        self.ledger.doing(Deed::Compacted, || self.store.compact());
        self.ledger.doing(Deed::Broken, || self.store.close_watches());
    }

    /// Changes the server's HTTP version for a while.
    fn speak(&mut self, protocol: Protocol) {
        self.faults.speak(protocol);
        self.ledger.doing(Deed::Broken, || self.testbed.server.hang_up());
        self.begin(Deed::Broken, Lasting::Version, None);
    }

    fn begin(&mut self, deed: Deed, lasting: Lasting, time: Option<Duration>) {
        let time = time.unwrap_or_else(|| Duration::from_millis(self.random.u64(SPELL)));
        self.spells.push(Spell { until: Instant::now() + time, deed: self.ledger.begin(deed), lasting });
    }

    /// Ends the faults that have lasted long enough, or all of them.
    pub async fn end_spells(&mut self, all: bool) {
        let now = Instant::now();
        while let Some(place) = self.spells.iter().position(|spell| all || spell.until <= now) {
            let Spell { deed, lasting, .. } = self.spells.swap_remove(place);
            match lasting {
                Lasting::Hurry => self.store.hurry_watches(false),
                Lasting::Version => self.faults.speak(Protocol::Any),
                Lasting::Away => self.testbed.server.come_back(),
                Lasting::CaLate(pem) => {
                    self.testbed.volume.set("ca.crt", pem.as_bytes());
                    self.ca = pem;
                    self.reconnected().await;
                }
            }
            self.ledger.end(deed);
        }
    }

    /// Breaks all connections, and waits until a caller has read ca.crt and connected again. It waits briefly: all callers may be busy otherwise.
    async fn reconnected(&self) {
        let server = &self.testbed.server;
        let connections = server.connections();
        self.ledger.doing(Deed::Broken, || server.hang_up());
        let _ = timeout(RECONNECTION, server.until_connections(connections + 1)).await;
    }

    /// Rotates the token as kubelet does: the new one is in the volume before the old one is refused.
    fn rotate_token(&mut self) {
        let new = self.next_token();
        self.store.accept_tokens(&[&self.token, &new]);
        self.testbed.volume.set("token", new.as_bytes());
        self.ledger.doing(Deed::Revoked, || self.store.accept_token(&new));
        self.token = new;
    }

    /// Writes the token as a careless tool does: for a moment, the file is empty or half written.
    async fn damage_token(&mut self) {
        let rest = if self.random.bool() { 0 } else { self.token.len() / 2 };
        let damaged = self.ledger.begin(Deed::TokenDamaged);
        self.testbed.volume.write_in_place("token", &self.token.as_bytes()[..rest]);
        tokio::time::sleep(DAMAGE).await;
        self.testbed.volume.set("token", self.token.as_bytes());
        self.ledger.end(damaged);
    }

    /// Rotates the CA in the documented order: both CAs are trusted before the server presents the new certificate. Open connections
    /// break, as when the server restarts.
    async fn rotate_ca(&mut self) {
        let new = Ca::new("kubernetes-ca");
        self.testbed.volume.set("ca.crt", format!("{}{}", self.ca, new.pem()).as_bytes());
        self.testbed.server.rotate(new.identity(&["127.0.0.1"]));
        // A caller must read the new file before a fault damages it: otherwise its last good CA would be the removed one.
        self.reconnected().await;
        self.testbed.volume.set("ca.crt", new.pem().as_bytes());
        self.ca = new.pem();
    }

    /// Damages ca.crt for a while. No caller may notice: the last good CA stays in use.
    async fn damage_ca(&mut self) {
        let rest = if self.random.bool() { 0 } else { self.ca.len() / 2 };
        self.testbed.volume.write_in_place("ca.crt", &self.ca.as_bytes()[..rest]);
        self.reconnected().await;
        self.testbed.volume.set("ca.crt", self.ca.as_bytes());
    }
}

/// GOAWAY with ENHANCE_YOUR_CALM (RFC 9113, section 6.8). `last` is the last stream that may have been processed; the request is on stream 1.
fn go_away(last: u8) -> Fault {
    let debug = b"too_many_pings";
    let head = [0, 0, 8 + debug.len() as u8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0xb];
    Fault::Frames([&head[..], debug].concat(), Vec::new())
}

fn status(code: u16, reason: &str, message: &str, details: &str) -> Answer {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","details":{{{details}}},"code":{code}}}"#
    );
    Answer::new(code, body).header("content-type", "application/json")
}

fn version_too_large() -> Answer {
    let details =
        r#""causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1"#;
    status(504, "Timeout", "Too large resource version: 1200, current: 1000", details)
}

fn failure(kind: Kind, random: &mut Rng) -> Answer {
    let busy = || Answer::new(429, "Too many requests, please try again later.\n");
    let wait = if random.bool() { "0" } else { "1" };
    match (kind, random.u8(..4)) {
        (Kind::FailuresWithHeader, 0 | 1) => busy().header("retry-after", wait),
        (Kind::FailuresWithHeader, _) => Answer::new(503, "the server is shutting down").header("retry-after", wait),
        (Kind::FailuresWithStatus, 0 | 1) => {
            status(429, "TooManyRequests", "slow down", &format!(r#""retryAfterSeconds":{wait}"#))
        }
        (Kind::FailuresWithStatus, _) => status(504, "ServerTimeout", "try again", &format!(r#""retryAfterSeconds":{wait}"#)),
        (_, 0) => busy(),
        (_, 1) => Answer::new(500, "an internal error"),
        (_, 2) => Answer::new(502, "<html>Bad Gateway"),
        _ => Answer::new(504, "the backend timed out"),
    }
}
