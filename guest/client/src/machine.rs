//! Calls, lists and watches are machines: values that are told what time it is and what happened, and say what to do next. They have no
//! clock, no files and no network, so that whatever can happen to them can be tried without any; [`Client`](crate::Client) does what they say.

use crate::request::Request;
use crate::response::Head;
use crate::types::{Error, Failure, TransportError};
use incluster_core::credentials::Now;
use incluster_core::{ConfigError, Token};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A machine. `B` is an answer's body that is still to be read, of which it knows nothing.
pub trait Machine<B> {
    /// What it hands out.
    type Output;

    /// Takes what happened, and says what to do next. `random` is another number each time, none of which tells the next.
    fn step(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Do<B, Self::Output>;
}

/// What happened: the answer to the last [`Todo`].
#[derive(Debug)]
pub enum Event<'a, B> {
    /// Nothing. It is to begin, or to go on after it has handed something out.
    Go,
    /// To [`Todo::Token`].
    Token(Result<Arc<Token>, ConfigError>),
    /// To [`Todo::Send`]: an answer's head, and its body.
    Head(Head, B),
    /// To [`Todo::Read`]: the next piece of a body, and what follows it.
    Chunk(B, &'a [u8]),
    /// To [`Todo::Read`]: there is no more.
    End,
    /// To [`Todo::Send`] or [`Todo::Read`]: it failed.
    Failed(Error),
    /// The time that was given is over, and nothing else happened.
    TimeOver,
}

/// What to do next.
#[derive(Debug)]
pub enum Do<B, T> {
    /// This, and then tell of it.
    Next(Todo<B>),
    /// Take this. The machine goes on when it is told to.
    HandOut(T),
}

/// What to do, and then to tell a machine of.
#[derive(Debug)]
pub enum Todo<B> {
    /// Say which token to send.
    Token {
        /// The last one was not accepted: read the file, whenever it was read last.
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
    /// What to ask for.
    pub request: Rc<Request>,
    /// With which token.
    pub token: Arc<Token>,
    /// How often the call has sent it, this time included.
    pub attempt: u32,
    /// Until when to wait for the answer's head.
    pub until: Instant,
}

/// Something that may take so long, and not longer.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    name: &'static str,
    /// When it is over.
    pub until: Instant,
    /// Whether it ends with the call.
    is_last: bool,
}

/// What a call is that took too long as a whole.
const WHOLE_CALL: &str = "the whole call";

impl Phase {
    /// Begins now, and ends at the call's deadline at the latest; after that, nothing begins, however much is ready.
    pub fn begin(name: &'static str, time: Duration, now: Instant, deadline: Option<Instant>) -> Result<Phase, Error> {
        let end = after(now, time);
        match deadline {
            Some(deadline) if deadline <= now => Err(late(WHOLE_CALL)),
            Some(deadline) if deadline <= end => Ok(Phase { name, until: deadline, is_last: true }),
            _ => Ok(Phase { name, until: end, is_last: false }),
        }
    }

    /// That it is over.
    pub fn late(&self) -> Error {
        late(if self.is_last { WHOLE_CALL } else { self.name })
    }
}

/// That this took too long.
pub fn late(what: &str) -> Error {
    Error::Transport(TransportError::Timeout(what.into()))
}

/// So much later, but not a century. (On a clock that ends before, it is over at once.)
pub fn after(now: Instant, time: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(time.min(YEARS)).unwrap_or(now)
}

fn not_asked() -> Failure {
    Error::Other("a part of the client answers what was not asked".into()).into()
}

/// That a machine is driven no further, though it handed nothing out, which none does.
pub fn nothing_handed_out() -> Failure {
    Error::Other("a part of the client waits for nothing".into()).into()
}

/// What a machine makes of an event that answers nothing that it said.
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
