//! What was done to the callers, and when; and which of their errors that explains.

use crate::ATTEMPTS;
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
    /// Watches were ended: all of them, or one.
    WatchesEnded,
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

const GAVE_UP: &str = "all attempts were answered by failures";

#[derive(Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    deeds: Vec<(Deed, Instant, Option<Instant>)>,
    calls: BTreeMap<&'static str, usize>,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Ledger {
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
        self.failed_in_session(call, begun, begun, error);
    }

    /// The same for a call in a session, whose token may be as old as the session.
    pub fn failed_in_session(&self, call: Call, session: Instant, begun: Instant, error: &Error) {
        let inner = &mut *self.0.lock().unwrap();
        match inner.explain(call, session, begun, error) {
            Some(why) => *inner.explained.entry(why).or_default() += 1,
            None => {
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
    fn explain(&self, call: Call, session: Instant, begun: Instant, error: &Error) -> Option<&'static str> {
        let since = |deed| self.done_since(begun, deed);
        let Error::Kubernetes(failure) = error else { return None };
        let has_given_up = failure.attempts == ATTEMPTS;
        match &failure.error {
            Kubernetes::Config(ConfigError::FileEmpty(path)) if path.ends_with("/token") => {
                (since(Deed::TokenDamaged) > 0).then_some("the token's file was empty")
            }
            Kubernetes::Api(Status { code: 401, .. }) if since(Deed::TokenDamaged) > 0 => {
                Some("the token's file was half a token")
            }
            // The token is read again once an attempt: one was refused before it or in it, and its successor in it.
            Kubernetes::Api(Status { code: 401, .. }) => {
                let held = session.checked_sub(HELD).unwrap_or(session);
                (since(Deed::Revoked) > 0 && self.done_since(held, Deed::Revoked) > 1).then_some("two tokens were revoked")
            }
            Kubernetes::Expired(_) => match call {
                Call::Page(None | Some(OnExpired::Fail)) => (since(Deed::Compacted) > 0).then_some("expired, as chosen"),
                Call::Page(Some(OnExpired::Resume)) => (since(Deed::CompactedForGood) > 0).then_some("expired, without a token"),
                _ => None,
            },
            Kubernetes::Api(Status { code: 429 | 500 | 503 | 504, .. })
            | Kubernetes::Transport(TransportError::ConnectionLost(_)) => has_given_up.then_some(GAVE_UP),
            _ => None,
        }
    }
}
