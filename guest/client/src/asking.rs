//! The attempts of one call: sends its request until there is an answer.

use crate::decode::Encoding;
use crate::machine::{Do, Event, Phase, Sending, Todo, after, out_of_turn};
use crate::redact::redact;
use crate::request::Request;
use crate::response::{self, Head, MAX_FAILURE_BYTES};
use crate::retry;
use crate::types::{Error, Failure, RetryPolicy, TransportError};
use incluster_core::Token;
use incluster_core::credentials::Now;
use incluster_core::limits::RequestLimits;
use incluster_core::secrets::Secrets;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The settings that all calls of a client share.
#[derive(Debug)]
pub struct Settings {
    /// The retry policy of the calls that begin from now on.
    pub retry_policy: Cell<RetryPolicy>,
    /// The limits on how long the parts of a call may take, and on how large an answer may be.
    pub limits: RequestLimits,
    /// The tokens that were sent, and that a server may send back.
    pub secrets: Secrets,
    /// Whether the server has answered before, and so was trusted.
    pub was_trusted: Cell<bool>,
    /// Whether the server does not mark the end of a watch's initial objects, so that they must be listed.
    pub lists_first: Cell<bool>,
}

impl Settings {
    /// Makes the settings of a new client.
    pub fn new(retry_policy: RetryPolicy, limits: RequestLimits) -> Rc<Settings> {
        Rc::new(Settings {
            retry_policy: Cell::new(retry_policy),
            limits,
            secrets: Secrets::default(),
            was_trusted: Cell::new(false),
            lists_first: Cell::new(false),
        })
    }

    /// Whether the server was trusted before, and is not now. When a cluster's CA is changed, ca.crt follows the server's certificate
    /// minutes later.
    pub fn is_between_certificates(&self, error: &Error) -> bool {
        self.was_trusted.get() && matches!(error, Error::Transport(TransportError::Certificate(_)))
    }
}

/// A successful answer, whose body is still to be read.
#[derive(Debug)]
pub struct Answer<B> {
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The body.
    pub body: B,
}

/// The attempts of one call: the token, the request, the failure's text, the waits.
#[derive(Debug)]
pub struct Asking {
    request: Rc<Request>,
    settings: Rc<Settings>,
    policy: RetryPolicy,
    begun: Instant,
    /// The number of attempts that count. One whose token was renewed meanwhile does not: the server did not fail.
    attempts: u32,
    sent: u32,
    reloaded: bool,
    /// How many times the server had not yet reached the requested resource version.
    too_large: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There is no token yet.
    Unsent,
    /// Waiting for the head.
    Sent(Phase),
    /// Reading the body of a failure.
    Refused { head: Head, read: Vec<u8>, phase: Phase },
    /// Waiting for the next attempt.
    Waiting,
    /// An answer or the last error has been handed out.
    Over,
}

/// The result of the attempts.
type Asked<B> = Result<Answer<B>, Failure>;

impl Asking {
    /// Makes a call that begins now.
    pub fn new(request: Request, settings: &Rc<Settings>, now: Now) -> Asking {
        Asking {
            request: Rc::new(request),
            settings: settings.clone(),
            policy: settings.retry_policy.get(),
            begun: now.instant,
            attempts: 1,
            sent: 0,
            reloaded: false,
            too_large: 0,
            state: State::Unsent,
        }
    }

    /// The time at which the call must be over.
    pub fn deadline(&self) -> Instant {
        after(self.begun, self.time_allowed())
    }

    fn time_allowed(&self) -> Duration {
        Duration::from_millis(self.policy.deadline.max(1).into())
    }

    /// Takes an event, and says what to do next.
    pub fn step<B>(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Do<B, Asked<B>> {
        match (std::mem::replace(&mut self.state, State::Over), event) {
            (State::Unsent, Event::Go) | (State::Waiting, Event::TimeOver) => self.look_for_token(false),
            (State::Unsent, Event::Token(Ok(token))) => self.send(now, random, token),
            (State::Unsent, Event::Token(Err(error))) => {
                self.give_up(now, redact(&self.settings.secrets, Error::Config(error.into())))
            }
            (State::Sent(_), Event::Head(head, body)) => {
                self.settings.was_trusted.set(true);
                match response::success(&head) {
                    Ok(Some(encoding)) => Do::HandOut(Ok(Answer { encoding, body })),
                    Ok(None) => self.read_failure(now, random, head, Vec::new(), body),
                    Err(error) => self.failed(now, random, error),
                }
            }
            (State::Refused { head, mut read, .. }, Event::Chunk(body, chunk)) => {
                let room = MAX_FAILURE_BYTES - read.len();
                read.extend_from_slice(&chunk[..chunk.len().min(room)]);
                match chunk.len() < room {
                    true => self.read_failure(now, random, head, read, body),
                    false => self.failed(now, random, response::failure(&head, &read, now.wall)),
                }
            }
            (State::Refused { head, read, .. }, Event::End) => {
                self.failed(now, random, response::failure(&head, &read, now.wall))
            }
            (State::Sent(_) | State::Refused { .. }, Event::Failed(error)) => self.failed(now, random, error),
            (State::Sent(phase) | State::Refused { phase, .. }, Event::TimeOver) => self.failed(now, random, phase.late()),
            _ => out_of_turn(),
        }
    }

    fn look_for_token<B>(&mut self, afresh: bool) -> Do<B, Asked<B>> {
        self.state = State::Unsent;
        Do::Next(Todo::Token { afresh })
    }

    fn send<B>(&mut self, now: Now, random: u64, token: Arc<Token>) -> Do<B, Asked<B>> {
        self.settings.secrets.add(token.as_bytes(), now.wall);
        match Phase::begin("first byte", self.settings.limits.head(), now.instant, Some(self.deadline())) {
            Ok(phase) => {
                self.state = State::Sent(phase);
                self.sent = self.sent.saturating_add(1);
                Do::Next(Todo::Send(Sending { request: self.request.clone(), token, attempt: self.sent, until: phase.until }))
            }
            Err(error) => self.failed(now, random, error),
        }
    }

    fn read_failure<B>(&mut self, now: Now, random: u64, head: Head, read: Vec<u8>, body: B) -> Do<B, Asked<B>> {
        match Phase::begin("between bytes", self.settings.limits.between_bytes, now.instant, Some(self.deadline())) {
            Ok(phase) => {
                self.state = State::Refused { head, read, phase };
                Do::Next(Todo::Read(body, phase.until))
            }
            Err(error) => self.failed(now, random, error),
        }
    }

    /// Handles the failure of an attempt, whose answer may have begun well: goes on to the next attempt, unless this error is the last.
    pub fn failed<B>(&mut self, now: Now, random: u64, error: Error) -> Do<B, Asked<B>> {
        let error = redact(&self.settings.secrets, error);
        if matches!(&error, Error::Api(status) if status.code == 401) && !self.reloaded {
            self.reloaded = true;
            return self.look_for_token(true);
        }
        let expired = response::too_large_version(&error);
        self.too_large += u32::from(expired.is_some());
        if self.too_large > 1
            && let Some(expired) = expired
        {
            return self.give_up(now, Error::Expired(expired));
        }
        let elapsed = now.instant.saturating_duration_since(self.begun);
        // A watch has no deadline, and waits in its own way.
        let is_between_certificates = self.settings.is_between_certificates(&error) && !self.request.is_watch;
        match retry::worth_it(&error).or(is_between_certificates.then_some(Duration::ZERO)) {
            Some(asked) if self.policy.attempts.is_none_or(|most| self.attempts < most) => {
                let wait = asked + retry::backoff(self.attempts, random);
                if elapsed + wait < self.time_allowed() {
                    self.attempts += 1;
                    // The token may be renewed once more by then.
                    self.reloaded = false;
                    self.state = State::Waiting;
                    return Do::Next(Todo::Wait(after(now.instant, wait)));
                }
            }
            _ => {}
        }
        self.give_up(now, expired.map_or(error, Error::Expired))
    }

    fn give_up<B>(&mut self, now: Now, error: Error) -> Do<B, Asked<B>> {
        self.state = State::Over;
        let elapsed = now.instant.saturating_duration_since(self.begun);
        Do::HandOut(Err(retry::gave_up(error, self.attempts, elapsed)))
    }

    /// Sets the request of the attempts from now on.
    pub fn ask_for(&mut self, request: Request) {
        self.request = Rc::new(request);
    }

    /// Makes the time that a call may take begin now.
    pub fn begin_anew(&mut self, now: Now) {
        (self.begun, self.attempts) = (now.instant, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::JSON;
    use std::time::SystemTime;

    const HOUR: Duration = Duration::from_secs(3600);

    /// The guest has no limits of its own, such as 80 or 30 s.
    #[test]
    fn what_an_embedder_raises_takes_effect() {
        let limits = RequestLimits { first_byte: HOUR, between_bytes: HOUR / 2, ..RequestLimits::DEFAULT };
        let policy = RetryPolicy { attempts: Some(1), deadline: 24 * 3_600_000 };
        let settings = Settings::new(policy, limits);
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let request = Request { path_and_query: "/api".into(), accept: JSON, is_watch: false };
        let mut asking = Asking::new(request, &settings, now);

        let token = Arc::new(Token::parse("/token", b"token").unwrap());
        assert!(matches!(asking.step::<()>(now, 0, Event::Go), Do::Next(Todo::Token { afresh: false })));
        let Do::Next(Todo::Send(sending)) = asking.step::<()>(now, 0, Event::Token(Ok(token))) else { panic!() };
        assert_eq!((sending.until, sending.attempt), (now.instant + limits.head(), 1));
        let refused = Head { status: 503, ..Head::default() };
        let Do::Next(Todo::Read((), until)) = asking.step::<()>(now, 0, Event::Head(refused, ())) else { panic!() };
        assert_eq!(until, now.instant + HOUR / 2);
    }

    /// Each request has the number of its attempt, so that a host can count attempts.
    #[test]
    fn a_request_says_which_attempt_it_is() {
        let settings = Settings::new(RetryPolicy::DEFAULT, RequestLimits::DEFAULT);
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let request = Request { path_and_query: "/api".into(), accept: JSON, is_watch: false };
        let mut asking = Asking::new(request, &settings, now);
        let token = Arc::new(Token::parse("/token", b"token").unwrap());
        for attempt in 1..=6 {
            asking.step::<()>(now, 0, if attempt == 1 { Event::Go } else { Event::TimeOver });
            let Do::Next(Todo::Send(sending)) = asking.step::<()>(now, 0, Event::Token(Ok(token.clone()))) else { panic!() };
            assert_eq!(sending.attempt, attempt);
            asking.step::<()>(now, 0, Event::TimeOver);
        }
    }
}
