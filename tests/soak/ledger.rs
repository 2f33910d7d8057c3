//! What was done to the callers, and when; and which of their errors that explains.

use incluster::Error;
use incluster::types::{ConfigError, Error as Kubernetes, OnExpired, Status, TransportError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a caller may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A token is no longer accepted; the volume had its successor before.
    Revoked,
    /// The token's file is empty, or has half a token.
    TokenDamaged,
    /// The past is forgotten.
    Compacted,
    /// The past is forgotten, and there is no token to go on with.
    CompactedForGood,
    /// Watches, answers or connections were broken or ended, or nobody listens.
    Broken,
    /// Watches, answers or connections say nothing any more.
    Stalled,
    /// Requests or watches are answered by failures.
    Failed,
    /// A watch is told that the server has not come to its resource version.
    Behind,
    /// The API server ends, or starts and does not know all yet.
    Restarted,
    /// ca.crt does not know the server's certificate yet.
    CaLate,
}

/// What a caller did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    List,
    Page(Option<OnExpired>),
    Watch,
    GetJson,
}

/// At most one call in so many may fail for want of attempts: more would mean that it does not go on as it should.
const CALLS_FOR_ONE_GIVEN_UP: usize = 500;

/// The door holds one token for all calls, until one that is under way is refused: a call may begin with one that was revoked
/// shortly before. Traces had it at most 15 ms before.
const HELD: Duration = Duration::from_millis(50);

/// So far back goes the trace of an error that nothing explains.
const TRACE: Duration = Duration::from_millis(500);

/// How long a queued fault may wait for a request: all callers may be waiting before their next attempt.
const WAITING: Duration = Duration::from_secs(10);

const GAVE_UP: &str = "all attempts were answered by failures";

/// Why a watch may expire: a part of its message, the deeds that explain it, and the name in the counts.
const EXPIRED: [(&str, &[Deed], &str); 5] = [
    // One that was started anew knows the past from there on.
    ("too old resource version", &[Deed::Compacted, Deed::Restarted], "expired: the server said so"),
    ("again and again without an event", &[Deed::Compacted], "expired: the server did not say so"),
    ("Too large resource version", &[Deed::Behind, Deed::Restarted], "expired: the server was behind"),
    (
        "before all objects that there are had come",
        &[Deed::Broken, Deed::Stalled, Deed::Failed, Deed::Restarted],
        "expired: not all had come",
    ),
    ("sendInitialEvents", &[Deed::Stalled], "expired: the pods that there are had no end"),
];

/// A call that failed.
pub struct Failed<'a> {
    pub call: Call,
    /// When its session began, whose token may be as old; or else the call.
    pub session: Instant,
    pub begun: Instant,
    pub error: &'a Error,
}

pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// How often a call is tried. Without a limit, no call may be given up.
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

    /// Does something to the callers.
    pub fn doing(&self, deed: Deed, act: impl FnOnce()) {
        let place = self.begin(deed);
        act();
        self.end(place);
    }

    /// From now on, until [`Ledger::end`].
    pub fn begin(&self, deed: Deed) -> usize {
        let deeds = &mut self.0.lock().unwrap().deeds;
        deeds.push((deed, Instant::now(), None));
        deeds.len() - 1
    }

    /// It is over.
    pub fn end(&self, place: usize) {
        self.0.lock().unwrap().deeds[place].2 = Some(Instant::now());
    }

    /// Counts something that went well.
    pub fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().calls.entry(what).or_default() += 1;
    }

    /// Something that must not happen.
    pub fn wrong(&self, what: String) {
        self.0.lock().unwrap().unexplained.push(what);
    }

    /// Takes the error of a call that began then and ends now.
    pub fn failed(&self, call: Call, begun: Instant, error: &Error) {
        self.explain(&Failed { call, session: begun, begun, error });
    }

    /// Takes the error of a call.
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
                inner.unexplained.push(format!("{call:?}: {error} ({error:?}), {took:?} after it began; before: {recent:?}"));
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
            problems.push(format!("{given_up} of {calls} calls were given up, although most requests are answered"));
        }
        problems
    }
}

impl Inner {
    /// How much of this was done since then.
    fn done_since(&self, then: Instant, deed: Deed) -> usize {
        self.deeds.iter().filter(|(d, _, end)| *d == deed && end.is_none_or(|end| end >= then)).count()
    }

    /// Why the contract allows the error, given what was done since the session and the call began.
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
            // Its authorizer has not read all roles yet, nor its authenticator all accounts.
            Kubernetes::Api(Status { code: 401 | 403, .. }) if since(Deed::Restarted) > 0 => {
                Some("an API server that starts does not know everybody yet")
            }
            Kubernetes::Api(Status { code: 401, .. }) if since(Deed::TokenDamaged) > 0 => {
                Some("the token's file was half a token")
            }
            // The token is read again once an attempt: one was refused before it or in it, and its successor in it.
            Kubernetes::Api(Status { code: 401, .. }) => {
                let held = earlier(session, HELD);
                (since(Deed::Revoked) > 0 && self.done_since(held, Deed::Revoked) > 1).then_some("two tokens were revoked")
            }
            Kubernetes::Expired(expired) => match call {
                Call::Page(None | Some(OnExpired::Fail)) => (since(Deed::Compacted) > 0).then_some("expired, as chosen"),
                Call::Page(Some(OnExpired::Resume)) => (since(Deed::CompactedForGood) > 0).then_some("expired, without a token"),
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
            // The tenant has trusted the server before, and waits.
            Kubernetes::Transport(TransportError::Certificate(_)) => gave_up(&[Deed::CaLate]),
            _ => None,
        }
    }
}
