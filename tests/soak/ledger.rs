//! A record of what was done to the callers and when, which explains their errors.

use incluster::Error;
use incluster::types::{ConfigError, Error as Kubernetes, OnExpired, Status, TransportError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A disturbance that a caller may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A token is no longer accepted; its successor is already in the volume.
    Revoked,
    /// The token's file is empty or holds half a token.
    TokenDamaged,
    /// The server's history was compacted.
    Compacted,
    /// The server's history was compacted, and the 410 has no token to continue with.
    CompactedForGood,
    /// Watches, answers or connections were broken or ended, or the server does not listen.
    Broken,
    /// Watches, answers or connections have gone silent.
    Stalled,
    /// Requests or watches were answered with failures.
    Failed,
    /// A watch was told that the server has not reached its resource version.
    Behind,
    /// The API server is stopping, or has started and has not read everything yet.
    Restarted,
    /// The CA of the server's certificate is not in ca.crt yet.
    CaLate,
}

/// The kind of call that a caller made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    List,
    Page(Option<OnExpired>),
    Watch,
    GetJson,
}

/// At most one call in this many may use up its attempts: more would mean that retrying does not work as it should.
const CALLS_FOR_ONE_GIVEN_UP: usize = 500;

/// How long before a call its token may have been revoked. The door uses one token for all calls until a request is refused. In traces, the
/// revocation was at most 15 ms earlier.
const HELD: Duration = Duration::from_millis(50);

/// How far back the trace of an unexplained error goes.
const TRACE: Duration = Duration::from_millis(500);

/// How long a queued fault may wait for a request: all callers may be in the pause before their next attempt.
const WAITING: Duration = Duration::from_secs(10);

const GAVE_UP: &str = "every attempt failed";

/// Why a watch may expire: a part of the message, the disturbances that explain it, and its name in the counts.
const EXPIRED: [(&str, &[Deed], &str); 5] = [
    // A restarted server knows only the history since its start.
    ("too old resource version", &[Deed::Compacted, Deed::Restarted], "expired: with 410"),
    ("again and again without an event", &[Deed::Compacted], "expired: without 410"),
    ("Too large resource version", &[Deed::Behind, Deed::Restarted], "expired: the server was behind"),
    (
        "before all initial objects had come",
        &[Deed::Broken, Deed::Stalled, Deed::Failed, Deed::Restarted],
        "expired: initial events incomplete",
    ),
    ("sendInitialEvents", &[Deed::Stalled], "expired: initial events without an end"),
];

/// A call that failed.
pub struct Failed<'a> {
    pub call: Call,
    /// When its session began: the token may be that old. For a call without a session, when the call began.
    pub session: Instant,
    pub begun: Instant,
    pub error: &'a Error,
}

pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// How many times a call is tried. Without a limit, no call may be given up.
    attempts: Option<u32>,
    deeds: Vec<(Deed, Instant, Option<Instant>)>,
    calls: BTreeMap<&'static str, usize>,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Ledger {
    pub fn new(attempts: Option<u32>) -> Ledger {
        Ledger(Mutex::new(Inner { attempts, ..Inner::default() }))
    }

    /// Records a disturbance around `act`.
    pub fn doing(&self, deed: Deed, act: impl FnOnce()) {
        let place = self.begin(deed);
        act();
        self.end(place);
    }

    /// Records that a disturbance begins; it lasts until [`Ledger::end`].
    pub fn begin(&self, deed: Deed) -> usize {
        let deeds = &mut self.0.lock().unwrap().deeds;
        deeds.push((deed, Instant::now(), None));
        deeds.len() - 1
    }

    /// Records that a disturbance is over.
    pub fn end(&self, place: usize) {
        self.0.lock().unwrap().deeds[place].2 = Some(Instant::now());
    }

    /// Counts a success.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().calls.entry(what).or_default() += 1;
    }

    /// Records something that must not happen.
    pub fn wrong(&self, what: String) {
        self.0.lock().unwrap().unexplained.push(what);
    }

    /// Records the error of a call that began at `begun` and ends now.
    pub fn failed(&self, call: Call, begun: Instant, error: &Error) {
        self.explain(&Failed { call, session: begun, begun, error });
    }

    /// Records the error of a call, as explained or unexplained.
    pub fn explain(&self, failed: &Failed<'_>) {
        let inner = &mut *self.0.lock().unwrap();
        match inner.explain(failed) {
            Some(why) => *inner.explained.entry(why).or_default() += 1,
            None => {
                let Failed { call, begun, error, .. } = failed;
                let now = Instant::now();
                let recent = inner.deeds.iter().filter(|(_, begin, _)| now.duration_since(*begin) < TRACE);
                let recent: Vec<_> = recent.map(|(deed, begin, _)| (deed, now.duration_since(*begin))).collect();
                let took = begun.elapsed();
                inner.unexplained.push(format!("{call:?}: {error} ({error:?}), {took:?} after it began; recent: {recent:?}"));
            }
        }
    }

    pub fn print(&self) {
        let inner = self.0.lock().unwrap();
        println!("callers: {:?}", inner.calls);
        println!("errors explained: {:?}; unexplained: {}", inner.explained, inner.unexplained.len());
    }

    pub fn problems(&self) -> Vec<String> {
        let inner = self.0.lock().unwrap();
        let mut problems = inner.unexplained.clone();
        let calls: usize = inner.calls.values().sum();
        let given_up = inner.explained.get(GAVE_UP).copied().unwrap_or_default();
        if given_up > calls / CALLS_FOR_ONE_GIVEN_UP + 1 {
            problems.push(format!("{given_up} of {calls} calls were given up, although most requests succeed"));
        }
        problems
    }
}

impl Inner {
    /// Counts the disturbances of this kind that were not over by `then`.
    fn done_since(&self, then: Instant, deed: Deed) -> usize {
        self.deeds.iter().filter(|(d, _, end)| *d == deed && end.is_none_or(|end| end >= then)).count()
    }

    /// Returns why the contract allows the error, given the disturbances since the session and the call began.
    fn explain(&self, failed: &Failed<'_>) -> Option<&'static str> {
        let Failed { call, session, begun, error } = *failed;
        let earlier = |time: Instant, by: Duration| time.checked_sub(by).unwrap_or(time);
        let since = |deed| self.done_since(begun, deed);
        let Error::Kubernetes(failure) = error else { return None };
        let gave_up = |deeds: &[Deed]| {
            let then = earlier(begun, WAITING);
            (self.attempts == Some(failure.attempts) && deeds.iter().any(|deed| self.done_since(then, *deed) > 0))
                .then_some(GAVE_UP)
        };
        match &failure.error {
            Kubernetes::Config(ConfigError::FileEmpty(path)) if path.ends_with("/token") => {
                (since(Deed::TokenDamaged) > 0).then_some("the token's file was empty")
            }
            // The server's authorizer has not read all roles yet, or its authenticator all accounts.
            Kubernetes::Api(Status { code: 401 | 403, .. }) if since(Deed::Restarted) > 0 => {
                Some("the API server had not read all accounts and roles yet")
            }
            Kubernetes::Api(Status { code: 401, .. }) if since(Deed::TokenDamaged) > 0 => {
                Some("the token's file held half a token")
            }
            // The token is read again once per attempt, so two must have been revoked: the one the attempt began with, and its successor.
            Kubernetes::Api(Status { code: 401, .. }) => {
                let held = earlier(session, HELD);
                (since(Deed::Revoked) > 0 && self.done_since(held, Deed::Revoked) > 1).then_some("two tokens were revoked")
            }
            Kubernetes::Expired(expired) => match call {
                Call::Page(None | Some(OnExpired::Fail)) => (since(Deed::Compacted) > 0).then_some("expired: on_expired is fail"),
                Call::Page(Some(OnExpired::Resume)) => (since(Deed::CompactedForGood) > 0).then_some("expired: without a token"),
                Call::Watch => {
                    let why = EXPIRED.iter().find(|(part, ..)| expired.message.contains(part));
                    let (_, deeds, why) = why?;
                    let then = earlier(session, WAITING);
                    deeds.iter().any(|deed| self.done_since(then, *deed) > 0).then_some(why)
                }
                Call::Page(Some(OnExpired::Restart)) | Call::List | Call::GetJson => None,
            },
            Kubernetes::Api(Status { code: 429 | 500 | 502 | 503 | 504, .. }) => gave_up(&[Deed::Failed, Deed::Behind]),
            Kubernetes::Transport(TransportError::ConnectionRefused(_) | TransportError::ConnectionLost(_)) => {
                gave_up(&[Deed::Broken])
            }
            Kubernetes::Transport(TransportError::Timeout(_)) => gave_up(&[Deed::Stalled]),
            // The tenant has trusted the server before, so it waits for a new ca.crt.
            Kubernetes::Transport(TransportError::Certificate(_)) => gave_up(&[Deed::CaLate]),
            _ => None,
        }
    }
}
