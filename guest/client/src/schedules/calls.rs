//! Calls whose answers are read whole, one after the other: each hands out what the server has, or says why not, in time.

use super::server::{failure, head};
use super::world::{LONGEST_WAIT, token};
use super::{Checked, Fault, Faults, LEAST_EVENTS, ensure};
use crate::asking::Settings;
use crate::call::{Call, Json};
use crate::machine::{Do, Event, Machine, Sending, Todo};
use crate::request::{JSON, Request};
use crate::response::Head;
use crate::types::{Error, Failure, RetryPolicy, TransportError};
use incluster_core::credentials::Now;
use incluster_core::limits::RequestLimits;
use incluster_core::{ConfigError, Token};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The maximum length of an answer.
const MOST: usize = 200;

/// An answer under way: its code, what is still to be read, and how much has been read.
#[derive(Debug)]
struct Body {
    code: u16,
    asked: Option<i32>,
    rest: Vec<u8>,
    read: usize,
}

/// What the machine must do next.
#[derive(Clone, Copy, Debug)]
enum Must {
    Anything,
    WaitOrGiveUp(Duration),
    GiveUp,
    Reload,
    HandOut,
}

/// One call, as the server and the clock see it.
struct Under {
    attempts: u32,
    deadline: Instant,
    failed: u32,
    sent: u32,
    /// Whether the server has answered.
    trusted: bool,
    token: Option<Arc<Token>>,
    reloaded: bool,
    whole: Vec<u8>,
    must: Must,
}

struct Calls<'a> {
    tape: &'a [u8],
    faults: &'a mut Faults,
    now: Now,
    random: u64,
    limits: RequestLimits,
    in_volume: u32,
    accepted: u32,
    events: u32,
}

/// Runs a schedule. Returns how many events it had.
pub fn replay(tape: &[u8], faults: &mut Faults) -> Checked<u32> {
    let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) };
    let limits = RequestLimits { response_bytes: MOST as u64, ..RequestLimits::DEFAULT };
    let mut calls = Calls { tape, faults, now, random: 1, limits, in_volume: 1, accepted: 1, events: 0 };
    loop {
        let nothing_goes_wrong = calls.tape.is_empty();
        let ended_well = calls.call()?;
        ensure(ended_well || !nothing_goes_wrong, || "a call fails, though nothing goes wrong any more".into())?;
        if nothing_goes_wrong && calls.events >= LEAST_EVENTS {
            return Ok(calls.events);
        }
    }
}

impl Calls<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.tape.split_first()?;
        self.tape = rest;
        Some(*first)
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall += time;
    }

    fn pass_until(&mut self, until: Instant) {
        self.pass(until.saturating_duration_since(self.now.instant) + Duration::from_millis(1));
    }

    /// Runs one call to its end. Returns whether it ended well.
    fn call(&mut self) -> Checked<bool> {
        let attempts = 1 + u32::from(self.next().unwrap_or(5) % 6);
        let deadline = 1_000 * (1 + u32::from(self.next().unwrap_or(89) % 90));
        let policy = RetryPolicy { attempts: Some(attempts), deadline };
        let settings = Settings::new(policy, self.limits);
        let request = Request { path_and_query: "/api".into(), accept: JSON, is_watch: false };
        let mut machine = Call::<Json>::new(request, &settings, self.now);
        let begun = self.now.instant;
        let (token, whole, must) = (None, Vec::new(), Must::Anything);
        let mut under = Under {
            attempts,
            deadline: begun + Duration::from_millis(deadline.into()),
            failed: 0,
            sent: 0,
            trusted: false,
            token,
            reloaded: false,
            whole,
            must,
        };
        let mut chunk;
        let mut event = Event::Go;
        loop {
            self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let step = machine.step(self.now, self.random >> 16, event);
            self.events += 1;
            self.check(&under, &step)?;
            under.must = Must::Anything;
            event = match step {
                Do::HandOut(ended) => return Ok(ended.is_ok()),
                Do::Next(Todo::Wait(until)) => {
                    self.pass_until(until);
                    Event::TimeOver
                }
                Do::Next(Todo::Token { afresh }) => Event::Token(self.token(&mut under, afresh)?),
                Do::Next(Todo::Send(sending)) => self.send(&mut under, &sending)?,
                Do::Next(Todo::Read(body, until)) => match self.read(&mut under, body, until) {
                    Ok((body, piece)) => {
                        chunk = piece;
                        Event::Chunk(body, &chunk)
                    }
                    Err(event) => event,
                },
            };
        }
    }

    /// Checks what must hold for a step.
    fn check(&self, under: &Under, step: &Do<Body, Result<Vec<u8>, Failure>>) -> Checked {
        let now = self.now.instant;
        let deadline = under.deadline;
        let until = match step {
            Do::Next(Todo::Send(sending)) => Some((sending.until, self.limits.head())),
            Do::Next(Todo::Read(_, until)) => Some((*until, self.limits.between_bytes)),
            _ => None,
        };
        if let Some((until, longest)) = until {
            ensure(until <= deadline, || "a call goes on after its deadline".into())?;
            ensure(until <= now + longest, || format!("it may wait for {longest:?}, but waits longer"))?;
        }
        match (under.must, step) {
            (Must::HandOut, Do::HandOut(Ok(whole))) => {
                ensure(*whole == under.whole, || format!("{whole:?} is not what was sent, {:?}", under.whole))
            }
            (Must::GiveUp, Do::HandOut(Err(_))) | (Must::Reload, Do::Next(Todo::Token { afresh: true })) => Ok(()),
            (Must::WaitOrGiveUp(least), Do::Next(Todo::Wait(until))) => {
                ensure(*until >= now + least, || format!("it waits for less than the {least:?} that were asked for"))?;
                ensure(*until <= now + least + LONGEST_WAIT, || format!("it waits for {:?}", *until - now))?;
                ensure(*until < deadline, || "it waits beyond its deadline".into())
            }
            (Must::Anything | Must::WaitOrGiveUp(_), Do::HandOut(Err(error))) => {
                let least = if let Must::WaitOrGiveUp(least) = under.must { least + LONGEST_WAIT } else { Duration::ZERO };
                let is_over = now + least >= deadline || under.failed >= under.attempts;
                ensure(is_over, || format!("it gives up too early: {error:?}"))
            }
            (Must::Anything, Do::Next(Todo::Wait(_) | Todo::Token { .. } | Todo::Send(_) | Todo::Read(..))) => Ok(()),
            (must, step) => Err(format!("it must {must:?}, but does {step:?}")),
        }
    }

    fn token(&mut self, under: &mut Under, afresh: bool) -> Checked<Result<Arc<Token>, ConfigError>> {
        ensure(afresh == under.reloaded, || "the token is read again, but was not refused".into())?;
        ensure(under.failed < under.attempts, || "there are more attempts than the policy has".into())?;
        if self.next().is_some_and(|byte| byte < 3) {
            self.faults.count(Fault::NoToken);
            under.must = Must::GiveUp;
            return Ok(Err(ConfigError::FileEmpty("/token".into())));
        }
        let token = Arc::new(token(self.in_volume)?);
        under.token = Some(token.clone());
        Ok(Ok(token))
    }

    fn send(&mut self, under: &mut Under, sending: &Sending) -> Checked<Event<'static, Body>> {
        under.sent += 1;
        ensure(sending.attempt == under.sent, || format!("attempt {} says that it is {}", under.sent, sending.attempt))?;
        ensure(under.token.as_ref() == Some(&sending.token), || "a request does not have the last token".into())?;
        let choice = self.next();
        let trusted = under.trusted;
        self.pass(Duration::from_millis(u64::from(choice.unwrap_or(1)) * 10));
        let mut lost = |fault, must, error: fn(String) -> TransportError| {
            self.faults.count(fault);
            under.fail(must);
            Ok(Event::Failed(Error::Transport(error(String::new()))))
        };
        let again = Must::WaitOrGiveUp(Duration::ZERO);
        match choice {
            Some(0..12) => return lost(Fault::Refused, again, TransportError::ConnectionRefused),
            Some(12..24) => return lost(Fault::LostBeforeHead, again, TransportError::ConnectionLost),
            Some(24..28) if trusted => return lost(Fault::NotTrustedAnyMore, again, TransportError::Certificate),
            Some(24..28) => return lost(Fault::NotTrusted, Must::GiveUp, TransportError::Certificate),
            Some(28..40) => {
                self.pass_until(sending.until);
                self.faults.count(Fault::NoHead);
                under.fail(again);
                return Ok(Event::TimeOver);
            }
            Some(40..60) => {
                self.faults.count(Fault::Rotation);
                self.accepted += 1;
            }
            Some(60..130) | None => self.in_volume = self.accepted,
            Some(_) => {}
        }
        under.trusted = true;
        if *sending.token != token(self.accepted)? {
            return Ok(answer(401, None, failure(401, None)));
        }
        match choice {
            Some(choice @ 60..80) => {
                let asked = (choice % 3 > 0).then(|| i32::from(choice - 60));
                Ok(answer(if choice % 2 == 0 { 503 } else { 429 }, asked, failure(503, asked)))
            }
            Some(80..86) => Ok(answer(403, None, failure(403, None))),
            Some(86..90) => {
                self.faults.count(Fault::NotJson);
                under.fail(Must::GiveUp);
                Ok(Event::Head(head(200), Body { code: 200, asked: None, rest: Vec::new(), read: 0 }))
            }
            choice => {
                under.whole = (0..choice.unwrap_or(7)).collect();
                Ok(answer(200, None, under.whole.clone()))
            }
        }
    }

    /// Reads on. Returns the next piece, or what else happened.
    fn read(&mut self, under: &mut Under, mut body: Body, until: Instant) -> Result<(Body, Vec<u8>), Event<'static, Body>> {
        let choice = self.next();
        if body.rest.is_empty() {
            under.must = match body.code {
                200 => Must::HandOut,
                401 if !under.reloaded => {
                    self.faults.count(Fault::Unauthorized);
                    under.reloaded = true;
                    Must::Reload
                }
                code => {
                    self.faults.count(if code == 403 { Fault::Forbidden } else { Fault::Busy });
                    let asked = Duration::from_secs(body.asked.and_then(|asked| u64::try_from(asked).ok()).unwrap_or_default());
                    under.fail(if matches!(code, 401 | 403) { Must::GiveUp } else { Must::WaitOrGiveUp(asked) });
                    under.must
                }
            };
            return Err(Event::End);
        }
        match choice {
            Some(0..16) => {
                self.faults.count(Fault::CutPage);
                under.fail(Must::WaitOrGiveUp(Duration::ZERO));
                return Err(Event::Failed(Error::Transport(TransportError::ConnectionLost(String::new()))));
            }
            Some(16..26) => {
                self.pass_until(until);
                self.faults.count(Fault::SlowPage);
                under.fail(Must::WaitOrGiveUp(Duration::ZERO));
                return Err(Event::TimeOver);
            }
            Some(26..30) => {
                self.faults.count(Fault::WallClockJump);
                self.now.wall -= Duration::from_secs(86_400);
            }
            _ => {}
        }
        let size = choice.filter(|choice| choice % 2 == 0).map_or(usize::MAX, |choice| 1 + usize::from(choice) / 4);
        let rest = body.rest.split_off(size.min(body.rest.len()));
        let piece = std::mem::replace(&mut body.rest, rest);
        body.read += piece.len();
        if body.code == 200 && body.read > MOST {
            self.faults.count(Fault::TooMuch);
            under.fail(Must::GiveUp);
        }
        Ok((body, piece))
    }
}

impl Under {
    /// Notes that the attempt has failed.
    fn fail(&mut self, must: Must) {
        self.failed += 1;
        self.reloaded = false;
        self.must = must;
    }
}

/// A successful answer whose head says JSON, or a failure.
fn answer(code: u16, asked: Option<i32>, rest: Vec<u8>) -> Event<'static, Body> {
    let head = if code == 200 { Head { content_type: Some("application/json".into()), ..head(200) } } else { head(code) };
    Event::Head(head, Body { code, asked, rest, read: 0 })
}
