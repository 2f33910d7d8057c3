//! Reading bodies, and what happens meanwhile.

use super::server::Watched;
use super::world::{ATTEMPTS, Body, Kind, Must, World};
use super::{Checked, Fault, ensure};
use crate::machine::Event;
use crate::types::{Error, TransportError};
use incluster_core::limits::RequestLimits;
use std::time::{Duration, Instant};

/// How long a connection must last to be good.
const GOOD: Duration = Duration::from_secs(10);

/// How many connections in a row the server may end without an event.
const EMPTY_ENDS: u32 = 5;

/// How long nothing runs while a machine sleeps.
const SUSPENDED: Duration = Duration::from_secs(200);

/// The result of reading.
pub enum Read {
    Chunk(Body, Vec<u8>),
    Other(Event<'static, Body>),
}

fn lost() -> Read {
    Read::Other(Event::Failed(Error::Transport(TransportError::ConnectionLost(String::new()))))
}

/// Takes the next piece of a body, of at most `size` bytes.
fn piece(mut body: Body, size: usize) -> Read {
    let rest = body.sent.split_off(size.min(body.sent.len()));
    let chunk = std::mem::replace(&mut body.sent, rest);
    Read::Chunk(body, chunk)
}

impl<O: Watched> World<'_, O> {
    /// Reads on.
    pub fn read(&mut self, mut body: Body, until: Instant) -> Checked<Read> {
        let is_watch = matches!(body.kind, Kind::Watch(_));
        let most = self.now.instant + RequestLimits::DEFAULT.pause(is_watch);
        ensure(until <= most, || "it reads for longer than a body may pause".into())?;
        if !is_watch {
            return Ok(self.read_to_its_end(body, until));
        }
        let choice = self.next().map(|choice| if self.stormy { choice / 8 } else { choice });
        match choice {
            Some(0..10) => {
                self.faults.count(if body.sent.is_empty() { Fault::CutWatch } else { Fault::CutWithinFrame });
                self.lost(false);
                return Ok(lost());
            }
            Some(10..20) => {
                self.faults.count(Fault::EndedWatch);
                self.lost(true);
                return Ok(Read::Other(Event::End));
            }
            Some(20..26) => {
                self.pass_until(until);
                self.faults.count(Fault::PausedWatch);
                // After a pause among the initial objects, the client lists them. Otherwise, the connection is lost.
                if self.reader.is_listing() {
                    self.connection = None
                } else {
                    self.lost(false)
                }
                return Ok(Read::Other(Event::TimeOver));
            }
            Some(26..32) => {
                self.faults.count(Fault::WallClockJump);
                self.now.wall -= Duration::from_secs(86_400);
            }
            Some(32..36) => {
                self.faults.count(Fault::Suspended);
                self.pass(SUSPENDED);
                self.reader.suspended += SUSPENDED;
            }
            Some(36..42) => {
                self.faults.count(Fault::Forgotten);
                self.server.forgotten = self.server.version();
            }
            // A server sends nothing else before an event that ends the watch.
            Some(choice @ 42..52) if body.sent.is_empty() => return Ok(self.last_event(choice, body)),
            Some(choice @ 52..150) => self.server.change(choice.wrapping_mul(29)),
            _ => {}
        }
        self.pass(Duration::from_millis(u64::from(choice.unwrap_or(50)) * 20));
        if let Kind::Watch(version) = &mut body.kind {
            for logged in self.server.after(*version) {
                body.sent.extend(self.server.event(*logged));
                *version = logged.version;
            }
            if body.sent.is_empty() {
                body.sent = self.server.bookmark(*version, false);
            }
        }
        Ok(piece(body, choice.filter(|choice| choice % 4 == 0).map_or(usize::MAX, |choice| 1 + usize::from(choice) / 2)))
    }

    /// Sends an event after which the connection is of no use.
    fn last_event(&mut self, choice: u8, body: Body) -> Read {
        let chunk = match choice {
            42..45 => {
                self.faults.count(Fault::GoneEvent);
                self.reader.may_expire = true;
                self.server.error_event(410)
            }
            45..47 => {
                self.faults.count(Fault::TooLargeEvent);
                self.lost(false);
                self.too_large += 1;
                if self.too_large > 1 {
                    self.reader.may_expire = true;
                    self.must = Must::Expire;
                }
                self.server.error_event(504)
            }
            47..49 => {
                self.faults.count(Fault::BusyEvent);
                self.lost(false);
                self.server.error_event(500)
            }
            _ => {
                self.faults.count(Fault::MalformedEvent);
                self.must = Must::GiveUp;
                self.server.garbage()
            }
        };
        Read::Chunk(body, chunk)
    }

    /// Ends the watch's connection. `ended` means that the server just ended it.
    fn lost(&mut self, ended: bool) {
        match self.connection.take() {
            Some((since, fruitful)) if self.now.instant <= since + GOOD => {
                self.short += 1;
                self.must = if self.short > 1 { Must::Slow } else { Must::Anything };
                if fruitful {
                    return;
                }
                self.empty = if ended { self.empty + 1 } else { 0 };
                self.fruitless += 1;
                self.fruitless_since.get_or_insert(since);
                self.must = if self.fruitless < ATTEMPTS { Must::WaitOrGiveUp(Duration::ZERO) } else { Must::GiveUp };
                if self.empty >= EMPTY_ENDS && !self.reader.is_listing() {
                    self.faults.count(Fault::EmptyEnds);
                    self.reader.may_expire = true;
                    self.must = Must::Expire;
                }
            }
            _ => (self.fruitless, self.fruitless_since, self.empty, self.short) = (0, None, 0, 0),
        }
    }

    /// Reads on in a page, or in a failure.
    fn read_to_its_end(&mut self, body: Body, until: Instant) -> Read {
        let choice = self.next();
        let is_page = matches!(body.kind, Kind::Page);
        if !body.sent.is_empty() {
            match choice {
                Some(0..12) => {
                    self.failed(if is_page { Fault::CutPage } else { Fault::CutFailure }, Must::WaitOrGiveUp(Duration::ZERO));
                    return lost();
                }
                Some(12..30) => {
                    self.faults.count(Fault::SlowPage);
                    self.pass_until(until);
                }
                _ => {}
            }
            return piece(body, choice.filter(|choice| choice % 2 == 0).map_or(usize::MAX, |choice| 1 + usize::from(choice) / 4));
        }
        match body.kind {
            Kind::Failure(401, _) => {
                if self.call.as_ref().is_some_and(|call| call.reloaded) {
                    self.failed(Fault::Unauthorized, Must::GiveUp);
                } else {
                    self.faults.count(Fault::Unauthorized);
                    self.must = Must::Reload;
                    self.call.iter_mut().for_each(|call| call.reloaded = true);
                }
            }
            Kind::Failure(403, _) => self.failed(Fault::Forbidden, Must::GiveUp),
            Kind::Failure(429 | 503, asked) => {
                let asked = Duration::from_secs(asked.and_then(|asked| u64::try_from(asked).ok()).unwrap_or_default());
                self.failed(Fault::Busy, Must::WaitOrGiveUp(asked));
            }
            Kind::Failure(504, asked) => {
                let asked = Duration::from_secs(asked.and_then(|asked| u64::try_from(asked).ok()).unwrap_or_default());
                self.reader.may_expire = true;
                let times = self.call.as_mut().map_or(1, |call| {
                    call.too_large += 1;
                    call.too_large
                });
                self.failed(Fault::TooLarge, if times > 1 { Must::Expire } else { Must::WaitOrGiveUp(asked) });
            }
            Kind::Failure(..) | Kind::Page | Kind::Watch(_) => self.call = None,
        }
        Read::Other(Event::End)
    }
}
