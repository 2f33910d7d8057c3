//! A watch that goes on when its connection ends.

use crate::asking::{Answer, Asking, Settings};
use crate::decode::{Encoding, Event as Decoded, Frames, malformed};
use crate::end::End;
use crate::machine::{Do, Event, Machine, Phase, Todo, after, out_of_turn};
use crate::redact::redact;
use crate::request::Request;
use crate::response;
use crate::retry;
use crate::trouble::{Bookmarks, Ended, GRACE, Trouble};
use crate::types::{ChangeKind, Error, Expired, Failure};
use incluster_core::credentials::Now;
use incluster_core::watching;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::vec;

/// An event that a watch hands out.
#[derive(Debug, PartialEq)]
pub enum Change<T> {
    /// An object was added, modified or deleted.
    Object(ChangeKind, T),
    /// All initial objects have been handed out, as of this resource version.
    Synced(String),
    /// Nothing else changed up to this resource version.
    Bookmark(String),
}

/// Makes the request that goes on after a resource version, for a number of seconds.
pub type MakeRequest = Box<dyn Fn(Option<&str>, Option<u32>) -> Request>;

/// The changes of a collection, over as many connections as it takes.
pub struct Changes<B, T> {
    settings: Rc<Settings>,
    request: MakeRequest,
    decode: fn(Encoding, &[u8]) -> Result<Decoded<T>, Error>,
    position: Position,
    connection: Connection<B>,
    /// Events that have arrived and have not been handed out yet.
    arrived: vec::IntoIter<Result<Decoded<T>, Error>>,
    trouble: Trouble,
    bookmarks: Bookmarks,
    end: End,
}

/// The next thing to do, or what has changed: `None` at the end, and after [`Error::Expired`].
type Step<B, T> = Do<B, Result<Option<Change<T>>, Failure>>;

/// A position in the course of events.
#[derive(Debug, PartialEq)]
enum Position {
    /// Among the initial objects, which the server sends in an order of its own.
    Initial { begun: bool },
    /// After this resource version.
    After(String),
    /// At the end.
    Ended,
}

impl Position {
    fn version(&self) -> Option<&str> {
        if let Position::After(version) = self { Some(version) } else { None }
    }
}

enum Connection<B> {
    /// There is no connection.
    None,
    /// There is no connection before this time.
    Waiting(Instant),
    /// A connection is being asked for.
    Asking(Box<Asking>),
    /// A connection that brings events. Its body is absent while it is read.
    Open(Stream<B>),
}

struct Stream<B> {
    body: Option<B>,
    phase: Option<Phase>,
    encoding: Encoding,
    frames: Frames,
    begun: Instant,
    fruitful: bool,
}

impl<B, T> Changes<B, T> {
    /// Makes a watch from a resource version, or else from the initial objects; for a number of seconds, or else for ever.
    pub fn new(
        settings: Rc<Settings>,
        from: Option<String>,
        seconds: Option<u32>,
        request: MakeRequest,
        decode: fn(Encoding, &[u8]) -> Result<Decoded<T>, Error>,
    ) -> Changes<B, T> {
        Changes {
            settings,
            request,
            decode,
            position: from.map_or(Position::Initial { begun: false }, Position::After),
            connection: Connection::None,
            arrived: Vec::new().into_iter(),
            trouble: Trouble::default(),
            bookmarks: Bookmarks::default(),
            end: End::after(seconds),
        }
    }

    /// Whether all initial objects are still to come.
    pub fn is_unbegun(&self) -> bool {
        self.position == Position::Initial { begun: false }
    }

    /// Whether the watch's time is over.
    pub fn is_over(&self, now: Now) -> bool {
        self.end.left(now.instant).is_some_and(|left| left.is_zero())
    }

    /// Ends the watch, because there is nothing from which to go on.
    pub fn end(&mut self) {
        self.position = Position::Ended;
    }

    /// Goes on from this resource version: the initial objects have come in another way.
    pub fn go_on_after(&mut self, resource_version: String) {
        self.position = Position::After(resource_version);
        self.trouble.fruitful();
    }

    /// Takes an event.
    fn take_event(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Option<Step<B, T>> {
        match (std::mem::replace(&mut self.connection, Connection::None), event) {
            (Connection::Waiting(_), Event::TimeOver) => {}
            (connection @ (Connection::None | Connection::Waiting(_) | Connection::Open(_)), Event::Go) => {
                self.connection = connection;
            }
            (Connection::Asking(asking), event) => return self.ask(now, random, asking, event),
            (Connection::Open(mut stream), Event::Chunk(body, chunk)) => {
                let (decode, encoding, secrets) = (self.decode, stream.encoding, &self.settings.secrets);
                let mut arrived = Vec::new();
                let pushed = stream.frames.push(chunk, &mut |frame| {
                    arrived.push(decode(encoding, frame).map_err(|error| redact(secrets, error)));
                });
                match pushed {
                    Ok(()) => stream.body = Some(body),
                    // What arrived before the error comes first.
                    Err(error) => arrived.push(Err(redact(secrets, error))),
                }
                self.arrived = arrived.into_iter();
                self.connection = Connection::Open(stream);
            }
            // The server ends a connection when it has had enough, or restarts.
            (Connection::Open(stream), Event::End) => {
                if let Err(failure) = self.lost(now, random, stream, None) {
                    return Some(Do::HandOut(Err(failure)));
                }
            }
            (Connection::Open(stream), Event::Failed(error)) => {
                self.arrive(Err(redact(&self.settings.secrets, error)));
                self.connection = Connection::Open(stream);
            }
            (Connection::Open(stream), Event::TimeOver) => {
                if matches!(self.position, Position::Initial { .. }) {
                    return Some(Do::HandOut(Err(self.without_end())));
                }
                if let Some(phase) = stream.phase {
                    self.arrive(Err(phase.late()));
                }
                self.connection = Connection::Open(stream);
            }
            _ => return Some(out_of_turn()),
        }
        None
    }

    /// Hands out what has arrived, or else makes sure that something will.
    fn go_on(&mut self, now: Now, random: u64) -> Step<B, T> {
        loop {
            if let Some(mut arrived) = self.arrived.next() {
                if let Ok(event) = &arrived
                    && self.shows_no_end(now, event)
                {
                    return Do::HandOut(Err(self.without_end()));
                }
                if let Ok(Decoded::Unreadable { error, resource_version }) = arrived {
                    if let Position::After(version) = &mut self.position {
                        *version = resource_version;
                        self.fruitful();
                        return Do::HandOut(Err(error.into()));
                    }
                    arrived = Err(error);
                }
                match arrived.and_then(|event| self.take(now, event)) {
                    Ok(Some(change)) => return Do::HandOut(Ok(Some(change))),
                    Ok(None) => {}
                    Err(Error::Expired(expired)) => return Do::HandOut(Err(self.expired(expired))),
                    Err(error) if retry::worth_it(&error).is_some() => {
                        if let Some(expired) = response::too_large_version(&error)
                            && self.trouble.is_behind()
                        {
                            return Do::HandOut(Err(self.expired(expired)));
                        }
                        let connection = std::mem::replace(&mut self.connection, Connection::None);
                        // What comes after the error comes again.
                        self.disconnect();
                        if let Connection::Open(stream) = connection
                            && let Err(failure) = self.lost(now, random, stream, Some(error))
                        {
                            return Do::HandOut(Err(failure));
                        }
                    }
                    Err(error) => {
                        self.disconnect();
                        self.cut();
                        let wait = self.trouble.unreadable(random);
                        self.wait(now, wait);
                        return Do::HandOut(Err(error.into()));
                    }
                }
                continue;
            }
            if self.position == Position::Ended || self.is_over(now) {
                self.position = Position::Ended;
                self.disconnect();
                return Do::HandOut(Ok(None));
            }
            match &mut self.connection {
                Connection::Waiting(until) if now.instant < *until => return Do::Next(Todo::Wait(*until)),
                Connection::None | Connection::Waiting(_) | Connection::Asking(_) => {
                    let asking = Box::new(Asking::new(self.request(now), &self.settings, now));
                    if let Some(next) = self.ask(now, random, asking, Event::Go) {
                        return next;
                    }
                }
                Connection::Open(stream) => {
                    let end = self.end.at().map(|end| after(end, GRACE));
                    let limits = &self.settings.limits;
                    let pause = match self.position {
                        // They come as a list does.
                        Position::Initial { .. } => limits.between_bytes,
                        _ => self.bookmarks.longest_pause().map_or(limits.watch_pause, |pause| pause.min(limits.watch_pause)),
                    };
                    match (Phase::begin("between bytes", pause, now.instant, end), stream.body.take()) {
                        (Ok(phase), Some(body)) => {
                            stream.phase = Some(phase);
                            return Do::Next(Todo::Read(body, phase.until));
                        }
                        (Err(error), _) => self.arrive(Err(error)),
                        // A stream without a body has failed.
                        (Ok(_), None) => self.connection = Connection::None,
                    }
                }
            }
        }
    }

    fn request(&self, now: Now) -> Request {
        let seconds = self.end.left(now.instant).map(|left| u32::try_from(retry::whole_seconds(left)).unwrap_or(u32::MAX));
        (self.request)(self.position.version(), seconds)
    }

    /// Asks for a connection. Returns `None` when there is one, or when the server has said why there is none.
    fn ask(&mut self, now: Now, random: u64, mut asking: Box<Asking>, event: Event<'_, B>) -> Option<Step<B, T>> {
        match asking.step(now, random, event) {
            Do::Next(todo) => {
                self.connection = Connection::Asking(asking);
                return Some(Do::Next(todo));
            }
            Do::HandOut(Ok(Answer { encoding, body })) => {
                self.bookmarks.connected();
                self.trouble.trusted();
                let (body, frames) = (Some(body), Frames::new(encoding));
                let stream = Stream { body, phase: None, encoding, frames, begun: now.instant, fruitful: false };
                self.connection = Connection::Open(stream);
            }
            Do::HandOut(Err(failure)) if matches!(failure.error, Error::Expired(_)) => self.arrive(Err(failure.error)),
            Do::HandOut(Err(failure)) if self.settings.is_between_certificates(&failure.error) => {
                let wait = self.trouble.untrusted(random);
                self.wait(now, wait);
            }
            Do::HandOut(Err(failure)) => return Some(Do::HandOut(Err(failure))),
        }
        None
    }

    /// Asks for no connection before this time is over, or the watch is.
    fn wait(&mut self, now: Now, wait: Duration) {
        self.connection = Connection::Waiting(after(now.instant, self.end.left(now.instant).map_or(wait, |left| left.min(wait))));
    }

    /// Handles a server that does not mark the end of the initial objects: from now on, they are listed.
    fn without_end(&mut self) -> Failure {
        self.settings.lists_first.set(true);
        self.disconnect();
        let message = watching::WITHOUT_END.into();
        match self.position {
            // Nothing has been handed out.
            Position::Initial { begun: false } => malformed(message).into(),
            _ => self.expired(Expired { message, continue_token: None }),
        }
    }

    /// Whether this event shows that the server does not mark the end of the initial objects.
    fn shows_no_end(&mut self, now: Now, event: &Decoded<T>) -> bool {
        if !matches!(self.position, Position::Initial { .. }) {
            return false;
        }
        match event {
            Decoded::Bookmark { initial_events_end, .. } => !initial_events_end,
            Decoded::Object { kind: ChangeKind::Added, .. } | Decoded::Unreadable { .. } | Decoded::Cut => false,
            Decoded::Object { .. } => self.bookmarks.is_end_overdue(now.instant),
        }
    }

    /// Makes this event the next one. Everything before it must have been handed out.
    fn arrive(&mut self, event: Result<Decoded<T>, Error>) {
        self.arrived = vec![event].into_iter();
    }

    fn disconnect(&mut self) {
        self.connection = Connection::None;
        self.arrived = Vec::new().into_iter();
    }

    /// Cuts the initial objects off: one cannot go on from the middle of them.
    fn cut(&mut self) {
        if matches!(self.position, Position::Initial { .. }) {
            self.arrive(Ok(Decoded::Cut));
        }
    }

    /// Handles the end of the connection, perhaps by an error: goes on after the last event.
    fn lost(&mut self, now: Now, random: u64, stream: Stream<B>, error: Option<Error>) -> Result<(), Failure> {
        self.cut();
        let (lasted, from) = ((stream.begun, now.instant), self.position.version());
        let ended = Ended { lasted, fruitful: stream.fruitful, error, from };
        match self.trouble.ended(ended, self.settings.retry_policy.get(), random) {
            Ok(Duration::ZERO) => {}
            Ok(wait) => self.wait(now, wait),
            Err(Failure { error: Error::Expired(expired), .. }) => return Err(self.expired(expired)),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Interprets an event by the position.
    fn take(&mut self, now: Now, event: Decoded<T>) -> Result<Option<Change<T>>, Error> {
        let is_initial = matches!(self.position, Position::Initial { .. });
        Ok(match event {
            Decoded::Object { kind, object, resource_version } => {
                self.position = if is_initial { Position::Initial { begun: true } } else { Position::After(resource_version) };
                self.fruitful();
                Some(Change::Object(kind, object))
            }
            Decoded::Bookmark { resource_version, .. } => {
                self.bookmarks.came(now.instant);
                self.position = Position::After(resource_version.clone());
                self.fruitful();
                Some(if is_initial { Change::Synced(resource_version) } else { Change::Bookmark(resource_version) })
            }
            // The initial objects have no order from which to go on.
            Decoded::Cut if self.position == Position::Initial { begun: true } => {
                let message = "the connection ended before all initial objects had come".into();
                return Err(Error::Expired(Expired { message, continue_token: None }));
            }
            Decoded::Cut | Decoded::Unreadable { .. } => None,
        })
    }

    fn fruitful(&mut self) {
        self.trouble.fruitful();
        if let Connection::Open(stream) = &mut self.connection {
            stream.fruitful = true;
        }
    }

    fn expired(&mut self, expired: Expired) -> Failure {
        self.position = Position::Ended;
        self.disconnect();
        Error::Expired(expired).into()
    }
}

impl<B, T> Machine<B> for Changes<B, T> {
    /// The next change; `None` when the time is over, or after [`Error::Expired`].
    type Output = Result<Option<Change<T>>, Failure>;

    fn step(&mut self, now: Now, random: u64, event: Event<'_, B>) -> Do<B, Self::Output> {
        self.end.begin(now.instant);
        match self.take_event(now, random, event) {
            Some(next) => next,
            None => self.go_on(now, random),
        }
    }
}
