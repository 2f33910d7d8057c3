//! A watch that goes on when its connection does not.

use crate::client::{Answer, Client};
use crate::decode::{Encoding, Event, Frames};
use crate::request::Request;
use crate::retry;
use crate::types::{ChangeKind, Error, TransportError};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A connection that was good for so long has not failed, whether or not anything happened meanwhile.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// So much later than asked for, a server has forgotten to end the watch.
const GRACE: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Debug, PartialEq)]
pub enum Change<T> {
    /// An object was added, modified or deleted.
    Object(ChangeKind, T),
    /// All objects that were there have been handed out, as of this resource version.
    Synced(String),
    /// Nothing else changed up to this resource version.
    Bookmark(String),
    /// The changes that come next are lost. The server's message.
    Expired(String),
}

/// Makes the request that goes on after a resource version, for as many seconds.
type MakeRequest = Box<dyn Fn(Option<&str>, Option<u32>) -> Result<Request, Error>>;

/// The changes of a collection, over as many connections as it takes.
pub struct Changes<T> {
    client: Client,
    request: MakeRequest,
    decode: fn(Encoding, &[u8]) -> Result<Event<T>, Error>,
    position: Position,
    stream: Option<Stream>,
    /// What has arrived and was not handed out yet.
    arrived: VecDeque<Result<Event<T>, Error>>,
    /// Connections in a row that were good for nothing.
    fruitless: u32,
    end: End,
}

/// Where in the course of events we are.
#[derive(Debug, PartialEq)]
enum Position {
    /// Among the objects that there are, which the server sends in an order of its own.
    Initial { begun: bool },
    /// After this resource version.
    After(String),
    /// There is nothing more.
    Ended,
}

struct Stream {
    answer: Answer,
    frames: Frames,
    begun: Instant,
    fruitful: bool,
}

enum End {
    Never,
    /// So long after the first use.
    In(Duration),
    At(Instant),
}

impl<T> Changes<T> {
    /// A watch from a resource version; without one, from the objects that there are.
    pub fn new(
        client: &Client,
        from: Option<String>,
        seconds: Option<u32>,
        request: MakeRequest,
        decode: fn(Encoding, &[u8]) -> Result<Event<T>, Error>,
    ) -> Changes<T> {
        Changes {
            client: client.clone(),
            request,
            decode,
            position: from.map_or(Position::Initial { begun: false }, Position::After),
            stream: None,
            arrived: VecDeque::new(),
            fruitless: 0,
            end: seconds.map_or(End::Never, |seconds| End::In(Duration::from_secs(seconds.into()))),
        }
    }

    /// Whether the objects that there are have still to come, all of them.
    pub fn is_unbegun(&self) -> bool {
        self.position == Position::Initial { begun: false }
    }

    /// Ends the watch: there is nothing from which to go on.
    pub fn end(&mut self) {
        self.position = Position::Ended;
    }

    /// Goes on from here: the objects that there are have come another way.
    pub fn go_on_after(&mut self, resource_version: String) {
        self.position = Position::After(resource_version);
    }

    /// The next change; `None` when the time is over, or after [`Change::Expired`].
    pub fn next_change(&mut self) -> Result<Option<Change<T>>, Error> {
        if let End::In(time) = self.end {
            self.end = End::At(Instant::now() + time);
        }
        loop {
            if let Some(arrived) = self.arrived.pop_front() {
                match arrived.map(|event| self.take(event)) {
                    Ok(Some(change)) => return Ok(Some(change)),
                    Ok(None) => {}
                    Err(Error::Api(status)) if status.code == 410 => return Ok(Some(self.expired(status.message))),
                    Err(error) if retry::worth_it(&error).is_some() => self.lost()?,
                    Err(error) => {
                        self.disconnect();
                        return Err(error);
                    }
                }
                continue;
            }
            if self.position == Position::Ended || self.left().is_some_and(|left| left.is_zero()) {
                self.position = Position::Ended;
                self.disconnect();
                return Ok(None);
            }
            let Some(stream) = &mut self.stream else {
                self.connect()?;
                continue;
            };
            let read = match stream.answer.body.chunk() {
                Ok(Some(chunk)) => {
                    let (decode, answer, arrived) = (self.decode, &stream.answer, &mut self.arrived);
                    stream.frames.push(&chunk, &mut |frame| {
                        arrived.push_back(decode(answer.encoding, frame).map_err(|error| answer.redact(error)));
                    })
                }
                // It ends when the server has had enough, or restarts.
                Ok(None) => {
                    self.lost()?;
                    continue;
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read.map_err(|error| stream.answer.redact(error)) {
                // What arrived before comes first.
                self.arrived.push_back(Err(error));
            }
        }
    }

    /// How long to go on; `None` is for ever.
    fn left(&self) -> Option<Duration> {
        match self.end {
            End::At(end) => Some(end.saturating_duration_since(Instant::now())),
            End::Never | End::In(_) => None,
        }
    }

    fn connect(&mut self) -> Result<(), Error> {
        let from = match &self.position {
            Position::After(version) => Some(version.as_str()),
            Position::Initial { .. } | Position::Ended => None,
        };
        let left = self.left();
        let seconds = left.map(|left| u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        let request = (self.request)(from, seconds)?;
        match self.client.watch(&request, left.map(|left| Instant::now() + left + GRACE)) {
            Ok(answer) => {
                let frames = Frames::new(answer.encoding);
                self.stream = Some(Stream { answer, frames, begun: Instant::now(), fruitful: false });
                Ok(())
            }
            Err(Error::Api(status)) if status.code == 410 => {
                self.arrived.push_back(Err(Error::Api(status)));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn disconnect(&mut self) {
        self.stream = None;
        self.arrived.clear();
    }

    /// The connection has ended: goes on after the last event, at once or after a wait.
    fn lost(&mut self) -> Result<(), Error> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let was_good = stream.fruitful || !self.arrived.is_empty() || stream.begun.elapsed() > GOOD_CONNECTION;
        if matches!(self.position, Position::Initial { .. }) {
            self.arrived.push_back(Ok(Event::Cut));
        }
        if was_good {
            self.fruitless = 0;
            return Ok(());
        }
        self.fruitless += 1;
        if self.fruitless >= self.client.retry_policy().attempts {
            let times = std::mem::take(&mut self.fruitless);
            let error = format!("the watch ended {times} times in a row without an event");
            return Err(Error::Transport(TransportError::ConnectionLost(error)));
        }
        let wait = retry::backoff(self.fruitless, wasip2::random::random::get_random_u64());
        std::thread::sleep(self.left().map_or(wait, |left| left.min(wait)));
        Ok(())
    }

    /// What an event means where we are.
    fn take(&mut self, event: Event<T>) -> Option<Change<T>> {
        let is_initial = matches!(self.position, Position::Initial { .. });
        match event {
            Event::Object { kind, object, resource_version } => {
                self.position = if is_initial { Position::Initial { begun: true } } else { Position::After(resource_version) };
                self.fruitful();
                Some(Change::Object(kind, object))
            }
            Event::Bookmark { initial_events_end: false, .. } if is_initial => None,
            Event::Bookmark { resource_version, .. } => {
                self.position = Position::After(resource_version.clone());
                self.fruitful();
                Some(if is_initial { Change::Synced(resource_version) } else { Change::Bookmark(resource_version) })
            }
            // The objects that there are come in no order from which to go on.
            Event::Cut if self.position == Position::Initial { begun: true } => {
                Some(self.expired("the connection ended before all pods that there are had come".into()))
            }
            Event::Cut => None,
        }
    }

    fn fruitful(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.fruitful = true;
        }
    }

    fn expired(&mut self, message: String) -> Change<T> {
        self.position = Position::Ended;
        self.disconnect();
        Change::Expired(message)
    }
}
