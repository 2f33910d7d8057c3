//! Calls, lists and watches are machines: values that are told the time and what happened, and say what to do next. They have no clock, no
//! files and no network, so everything that can happen to them can be tested without any; [`Client`](crate::Client) does what they say.

use crate::request::Request;
use crate::response::Head;
use crate::types::{Error, Failure, TransportError};
use incluster_core::credentials::Now;
use incluster_core::{ConfigError, Token};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A machine. `B` is the body of an answer that is still to be read, about which the machine knows nothing.
pub trait Machine<B> {
    /// The output that the machine hands out.
    type Output;

    /// Takes what happened, and says what to do next. `random` is another number each time, and cannot be predicted from the ones before.
    fn step(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Do<B, Self::Output>;
}

/// What happened: the answer to the last [`Todo`].
#[derive(Debug)]
pub enum Event<'a, B> {
    /// Nothing happened: the machine is to begin, or to go on after it has handed something out.
    Go,
    /// The answer to [`Todo::Token`].
    Token(Result<Arc<Token>, ConfigError>),
    /// The answer to [`Todo::Send`]: the head and the body of the server's answer.
    Head(Head, B),
    /// The answer to [`Todo::Read`]: the rest of the body, and its next piece.
    Chunk(B, &'a [u8]),
    /// The answer to [`Todo::Read`]: the body has ended.
    End,
    /// The answer to [`Todo::Send`] or [`Todo::Read`]: it failed.
    Failed(Error),
    /// The time that was given is over, and nothing else happened.
    TimeOver,
}

/// What to do next.
#[derive(Debug)]
pub enum Do<B, T> {
    /// Do this, and then report what happened.
    Next(Todo<B>),
    /// Take this output. The machine goes on when it is told to.
    HandOut(T),
}

/// A task for the caller, who then reports what happened.
#[derive(Debug)]
pub enum Todo<B> {
    /// Get the token to send.
    Token {
        /// Whether to read the file, whenever it was read last, because the last token was not accepted.
        afresh: bool,
    },
    /// Send a request, and wait for the answer's head.
    Send(Sending),
    /// Read on, until this time at the latest.
    Read(B, Instant),
    /// Wait until this time.
    Wait(Instant),
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The request.
    pub request: Rc<Request>,
    /// The token to send with the request.
    pub token: Arc<Token>,
    /// How many times the call has sent the request, including this time.
    pub attempt: u32,
    /// The time until which to wait for the answer's head.
    pub until: Instant,
}

/// A part of a call with a limited time.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    name: &'static str,
    /// The time at which the phase is over.
    pub until: Instant,
    /// Whether the phase ends with the call.
    is_last: bool,
}

/// The name of a call as a whole, for the error that it took too long.
const WHOLE_CALL: &str = "the whole call";

impl Phase {
    /// Begins a phase now. It ends at the call's deadline at the latest. After the deadline, no phase begins, however much is ready.
    pub fn begin(name: &'static str, time: Duration, now: Instant, deadline: Option<Instant>) -> Result<Phase, Error> {
        let end = after(now, time);
        match deadline {
            Some(deadline) if deadline <= now => Err(late(WHOLE_CALL)),
            Some(deadline) if deadline <= end => Ok(Phase { name, until: deadline, is_last: true }),
            _ => Ok(Phase { name, until: end, is_last: false }),
        }
    }

    /// Makes the error that the phase is over.
    pub fn late(&self) -> Error {
        late(if self.is_last { WHOLE_CALL } else { self.name })
    }
}

/// Makes the error that something took too long.
pub fn late(what: &str) -> Error {
    Error::Transport(TransportError::Timeout(what.into()))
}

/// The time this much later, but at most a century. (If the clock cannot go that far, it is now.)
pub fn after(now: Instant, time: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(time.min(YEARS)).unwrap_or(now)
}

fn not_asked() -> Failure {
    Error::Other("bug in the client: an unexpected event".into()).into()
}

/// Makes the failure of a machine that waits for nothing although it handed nothing out. No machine does that.
pub fn nothing_handed_out() -> Failure {
    Error::Other("bug in the client: nothing to wait for".into()).into()
}

/// Handles an event that answers nothing that the machine said.
pub fn out_of_turn<B, T>() -> Do<B, Result<T, Failure>> {
    Do::HandOut(Err(not_asked()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_with_the_call_and_none_begins_after_it() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let begin = |deadline| Phase::begin("first byte", second, now, deadline);
        assert_eq!(begin(None).unwrap().late(), late("first byte"));
        assert_eq!(begin(Some(now + 60 * second)).unwrap().late(), late("first byte"));
        assert_eq!(begin(Some(now + second / 2)).unwrap().late(), late("the whole call"));
        assert_eq!(begin(Some(now)).unwrap_err(), late("the whole call"));
    }
}
