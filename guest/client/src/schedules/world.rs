//! A watch, a server, and time: each byte of the tape says what happens next.

use super::bodies::Read;
use super::reader::{Reader, Told, told};
use super::server::{Logged, Server, Watched};
use super::{Checked, Fault, Faults, LEAST_EVENTS, ensure};
use crate::asking::Settings;
use crate::machine::{Do, Event, Machine, Sending, Todo};
use crate::request::Collection;
use crate::types::{ChangeKind, Error, RetryPolicy, TransportError, WatchOptions};
use crate::watch::Watch;
use incluster_core::credentials::Now;
use incluster_core::limits::RequestLimits;
use incluster_core::{ConfigError, Namespaces, Token};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The maximum number of attempts of a call, and of fruitless connections of a watch in a row.
pub(super) const ATTEMPTS: u32 = 6;

/// The longest wait, except for what the server asks for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The maximum number of events once nothing goes wrong any more.
const SETTLING: u32 = 300;

/// A body under way.
#[derive(Debug)]
pub struct Body {
    /// What has been sent and not yet read.
    pub(super) sent: Vec<u8>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Changes up to this version have been sent.
    Watch(u64),
    Page,
    /// The code, and how long the server wants to be left alone.
    Failure(u16, Option<i32>),
}

/// One call, as the server and the clock see it.
pub(super) struct Call {
    pub(super) begun: Instant,
    /// The number of failed attempts.
    pub(super) attempts: u32,
    token: Option<Arc<Token>>,
    /// Whether the token was read again since the last attempt.
    pub(super) reloaded: bool,
    /// How many times the server had not yet reached the version.
    pub(super) too_large: u32,
}

/// What the machine must do next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Must {
    Anything,
    /// Wait for at least this long, or give up.
    WaitOrGiveUp(Duration),
    GiveUp,
    Reload,
    /// Wait for a bit, however good the connection was.
    Slow,
    /// Say that changes are lost.
    Expire,
    /// Wait for a certificate that is trusted, however long it takes.
    BetweenCertificates,
}

pub struct World<'a, O: Watched> {
    pub(super) tape: &'a [u8],
    /// Whether far more goes wrong than right.
    pub(super) stormy: bool,
    pub(super) faults: &'a mut Faults,
    pub(super) now: Now,
    pub(super) random: u64,
    pub(super) server: Server,
    pub(super) settings: Rc<Settings>,
    pub(super) watch: Watch<Body, O>,
    pub(super) reader: Reader,
    /// The token in the volume, and the one that the server accepts.
    pub(super) in_volume: u32,
    pub(super) accepted: u32,
    pub(super) call: Option<Call>,
    /// The connection under way: since when, and whether an event came.
    pub(super) connection: Option<(Instant, bool)>,
    /// Connections in a row that ended soon without an event.
    pub(super) fruitless: u32,
    pub(super) fruitless_since: Option<Instant>,
    /// Connections in a row that were soon over.
    pub(super) short: u32,
    /// Connections in a row that the server just ended.
    pub(super) empty: u32,
    /// How many events said that the server had not yet reached the version, with no other event between them.
    pub(super) too_large: u32,
    /// Whether the server has answered.
    trusted: bool,
    pub(super) must: Must,
    /// Whether a meaningless event has been sent among others.
    pub(super) has_garbage: bool,
}

impl<'a, O: Watched> World<'a, O> {
    pub fn new(tape: &'a [u8], faults: &'a mut Faults) -> World<'a, O> {
        let (first, tape) = tape.split_first().map_or((0, tape), |(first, rest)| (*first, rest));
        let mut server = Server { encoding: O::ENCODING, log: Vec::new(), forgotten: 0, knows_watch_list: first & 1 == 0 };
        (0..first % 8).for_each(|choice| server.change(choice.wrapping_mul(37)));
        let settings = Settings::new(RetryPolicy { attempts: Some(ATTEMPTS), ..RetryPolicy::DEFAULT }, RequestLimits::DEFAULT);
        let from = (first & 2 == 2).then(|| server.version());
        let seconds = (first & 4 == 4).then_some(40);
        World {
            tape,
            stormy: first & 24 == 24,
            faults,
            now: Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) },
            random: first.into(),
            server,
            watch: watch(&settings, from, seconds),
            settings,
            reader: Reader::new(from, seconds),
            in_volume: 1,
            accepted: 1,
            call: None,
            connection: None,
            fruitless: 0,
            fruitless_since: None,
            short: 0,
            empty: 0,
            too_large: 0,
            trusted: false,
            must: Must::Anything,
            has_garbage: false,
        }
    }

    /// Runs until the tape is over and the reader knows everything. Returns the number of events.
    pub fn run(mut self) -> Checked<u32> {
        let mut chunk;
        let mut event = Event::Go;
        let (mut events, mut settling) = (0, 0);
        loop {
            self.reader.begin(self.now.instant);
            let random = self.random();
            let step = match self.watch.step(self.now, random, event) {
                Do::Next(todo) => Do::Next(todo),
                Do::HandOut(output) => Do::HandOut(told(output)),
            };
            self.check(&step)?;
            event = match step {
                Do::Next(Todo::Token { afresh }) => Event::Token(self.token(afresh)?),
                Do::Next(Todo::Send(sending)) => self.send(&sending)?,
                Do::Next(Todo::Read(body, until)) => match self.read(body, until)? {
                    Read::Chunk(body, bytes) => {
                        chunk = bytes;
                        Event::Chunk(body, &chunk)
                    }
                    Read::Other(event) => event,
                },
                Do::Next(Todo::Wait(until)) => {
                    self.pass_until(until);
                    Event::TimeOver
                }
                Do::HandOut(output) => {
                    self.take(output)?;
                    Event::Go
                }
            };
            events += 1;
            if self.tape.is_empty() {
                settling += 1;
                if settling == 1 {
                    self.server.change(0);
                }
                if events >= LEAST_EVENTS && self.reader.knows(&self.server) {
                    return Ok(events);
                }
                ensure(settling < SETTLING, || "the reader never learns everything, though nothing goes wrong any more".into())?;
            }
        }
    }

    /// Takes the next choice; `None` when nothing goes wrong any more.
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.tape.split_first()?;
        self.tape = rest;
        Some(*first)
    }

    /// splitmix64: any numbers will do.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall += time;
    }

    /// Lets a bit more time pass than necessary.
    pub(super) fn pass_until(&mut self, until: Instant) {
        self.pass(until.saturating_duration_since(self.now.instant) + Duration::from_millis(1));
    }

    fn token(&mut self, afresh: bool) -> Checked<Result<Arc<Token>, ConfigError>> {
        if self.next().is_some_and(|byte| byte < 3) {
            self.faults.count(Fault::NoToken);
            self.must = Must::GiveUp;
            return Ok(Err(ConfigError::FileEmpty("/token".into())));
        }
        let token = Arc::new(token(self.in_volume)?);
        let begun = self.now.instant;
        let call = self.call.get_or_insert(Call { begun, attempts: 0, token: None, reloaded: false, too_large: 0 });
        ensure(afresh == call.reloaded, || "the token is read again, but was not refused".into())?;
        ensure(call.attempts < ATTEMPTS, || "there are more attempts than the policy has".into())?;
        call.token = Some(token.clone());
        Ok(Ok(token))
    }

    fn send(&mut self, sending: &Sending) -> Checked<Event<'static, Body>> {
        let sent = self.call.as_ref().and_then(|call| call.token.as_ref());
        ensure(sent == Some(&sending.token), || "a request does not have the last token".into())?;
        let most = self.now.instant + RequestLimits::DEFAULT.head();
        ensure(sending.until <= most, || "it waits for too long for a head".into())?;
        let Some(choice) = self.next() else {
            self.in_volume = self.accepted;
            return self.answer(sending);
        };
        let choice = if self.stormy { 50 + choice / 4 } else { choice };
        self.pass(Duration::from_millis(choice.into()));
        let failed = |error: fn(String) -> TransportError| Event::Failed(Error::Transport(error(String::new())));
        match choice {
            0..16 => {
                self.faults.count(Fault::Rotation);
                self.accepted += 1;
            }
            16..50 => self.in_volume = self.accepted,
            50..56 => {
                self.failed(Fault::Refused, Must::WaitOrGiveUp(Duration::ZERO));
                return Ok(failed(TransportError::ConnectionRefused));
            }
            56..62 => {
                self.failed(Fault::Unreachable, Must::WaitOrGiveUp(Duration::ZERO));
                return Ok(failed(TransportError::Unreachable));
            }
            62..68 => {
                self.failed(Fault::LostBeforeHead, Must::WaitOrGiveUp(Duration::ZERO));
                return Ok(failed(TransportError::ConnectionLost));
            }
            68..74 => {
                self.pass_until(sending.until);
                self.failed(Fault::NoHead, Must::WaitOrGiveUp(Duration::ZERO));
                return Ok(Event::TimeOver);
            }
            74..77 => {
                match self.trusted && sending.request.is_watch {
                    // A watch has no deadline, and no number of attempts.
                    true => {
                        self.failed(Fault::NotTrustedAnyMore, Must::BetweenCertificates);
                        self.call = None;
                    }
                    false if self.trusted => self.failed(Fault::NotTrustedAnyMore, Must::WaitOrGiveUp(Duration::ZERO)),
                    false => self.failed(Fault::NotTrusted, Must::GiveUp),
                }
                return Ok(failed(TransportError::Certificate));
            }
            77..90 => {
                self.trusted = true;
                return Ok(
                    self.refusal(if choice % 2 == 0 { 503 } else { 429 }, (choice % 3 > 0).then(|| i32::from(choice - 77)))
                );
            }
            90..93 => {
                self.trusted = true;
                return Ok(self.refusal(403, None));
            }
            // The server says that it lags behind.
            156..160 if sending.request.path_and_query.contains("resourceVersion=") => {
                self.trusted = true;
                return Ok(self.refusal(504, Some(1)));
            }
            // A watch that is not connected misses this.
            93..150 => self.server.change(choice.wrapping_mul(29)),
            150..156 => {
                self.faults.count(Fault::Forgotten);
                self.server.change(choice);
                self.server.forgotten = self.server.version();
            }
            _ => {}
        }
        self.answer(sending)
    }

    /// Notes that the attempt has failed.
    pub(super) fn failed(&mut self, fault: Fault, must: Must) {
        self.faults.count(fault);
        self.must = must;
        if let Some(call) = &mut self.call {
            call.attempts += 1;
            call.reloaded = false;
        }
    }

    /// Makes the server's answer.
    fn answer(&mut self, sending: &Sending) -> Checked<Event<'static, Body>> {
        self.trusted = true;
        if *sending.token != token(self.accepted)? {
            return Ok(self.refusal(401, None));
        }
        let (_, query) = sending.request.path_and_query.split_once('?').unwrap_or_default();
        let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        let version = self.server.version();
        let (at, body) = match (sending.request.is_watch, parameter("continue"), parameter("resourceVersion")) {
            (false, Some((_, token)), _) => {
                let (at, after) = token.split_once("%3A").ok_or("another token than was given")?;
                (number(at)?, Body { sent: self.server.page(number(at)?, after.parse().ok()), kind: Kind::Page })
            }
            (false, None, _) => (version, Body { sent: self.server.page(version, None), kind: Kind::Page }),
            (true, _, Some((_, from))) => (number(from)?, Body { sent: Vec::new(), kind: Kind::Watch(number(from)?) }),
            (true, _, None) if !self.server.knows_watch_list => {
                self.faults.count(Fault::NoWatchList);
                return Ok(self.refusal(400, None));
            }
            (true, _, None) => {
                let pods = self.server.pods(version).into_iter();
                let added = pods.flat_map(|(pod, version)| self.server.event(Logged { version, kind: ChangeKind::Added, pod }));
                let mut sent: Vec<u8> = added.collect();
                let choice = self.next();
                if choice.is_some_and(|byte| byte < 20) {
                    self.faults.count(Fault::MalformedInitialEvent);
                    self.has_garbage = true;
                    sent.extend(self.server.garbage());
                }
                let has_end = choice.is_none_or(|byte| byte < 240);
                if !has_end {
                    self.faults.count(Fault::NoInitialEnd);
                }
                sent.extend(self.server.bookmark(version, has_end));
                (version, Body { sent, kind: Kind::Watch(version) })
            }
        };
        if at < self.server.forgotten {
            self.faults.count(Fault::Gone);
            self.reader.may_expire = true;
            return Ok(self.refusal(410, None));
        }
        if let Kind::Watch(_) = body.kind {
            self.call = None;
            self.connection = Some((self.now.instant, false));
        }
        Ok(Event::Head(self.server.head(200), body))
    }

    /// A failure, whose body is still to be read.
    fn refusal(&self, code: u16, asked: Option<i32>) -> Event<'static, Body> {
        Event::Head(self.server.head(code), Body { sent: self.server.failure(code, asked), kind: Kind::Failure(code, asked) })
    }

    fn take(&mut self, output: Result<Told<O>, Error>) -> Checked {
        match &output {
            Ok(Told::Expired | Told::Ended) | Err(_) => (self.call, self.connection) = (None, None),
            Ok(Told::Change(_)) => {
                (self.fruitless, self.fruitless_since, self.empty, self.too_large) = (0, None, 0, 0);
                if let Some((_, fruitful)) = &mut self.connection {
                    *fruitful = true;
                }
            }
        }
        if let Some((from, seconds)) = self.reader.take(output, &self.server, self.now.instant)? {
            self.watch = watch(&self.settings, from, seconds);
            (self.fruitless, self.fruitless_since, self.empty, self.short, self.too_large) = (0, None, 0, 0, 0);
        }
        Ok(())
    }
}

pub(super) fn token(number: u32) -> Checked<Token> {
    Token::parse("/token", format!("token-{number}").as_bytes()).map_err(|e| e.to_string())
}

fn watch<O: Watched>(settings: &Rc<Settings>, from: Option<u64>, seconds: Option<u32>) -> Watch<Body, O> {
    let resource_version = from.map(|version| version.to_string());
    let options = WatchOptions { resource_version, timeout_seconds: seconds, ..WatchOptions::ALL };
    Watch::new(settings.clone(), Collection::pods(&Namespaces::parse("shop").unwrap()), &options)
}
