//! The reader of a watch, which compares what it was told with what there was.

use super::server::{Logged, Pods, Server, Watched};
use super::{Checked, ensure};
use crate::changes::Change;
use crate::types::{ChangeKind, Error, Failure};
use std::time::{Duration, Instant};

/// How long after its end a watch may go on: the grace that the client gives a server, and a wait.
const LATER: Duration = Duration::from_secs(6);

/// An output of a watch.
#[derive(Debug)]
pub enum Told<O> {
    /// A change.
    Change(Change<O>),
    /// Changes are lost.
    Expired,
    /// There is nothing more.
    Ended,
}

/// Converts a watch's output.
pub fn told<O>(output: Result<Option<Change<O>>, Failure>) -> Result<Told<O>, Error> {
    match output {
        Ok(Some(change)) => Ok(Told::Change(change)),
        Ok(None) => Ok(Told::Ended),
        Err(Failure { error: Error::Expired(_), .. }) => Ok(Told::Expired),
        Err(failure) => Err(failure.error),
    }
}

pub struct Reader {
    position: Position,
    /// The duration of the watch, from its first use.
    seconds: Option<u32>,
    begun: Option<Instant>,
    /// How long nothing could have ended the watch.
    pub suspended: Duration,
    /// Whether the watch may say that changes are lost.
    pub may_expire: bool,
    /// Whether the watch has said so.
    expired: bool,
}

enum Position {
    /// Among the initial pods.
    Listing(Pods),
    /// After this version.
    After(u64),
}

/// How a reader begins again: from a version, or with the initial pods.
pub type Anew = Option<(Option<u64>, Option<u32>)>;

impl Reader {
    pub fn new(from: Option<u64>, seconds: Option<u32>) -> Reader {
        let position = from.map_or_else(|| Position::Listing(Pods::new()), Position::After);
        Reader { position, seconds, begun: None, suspended: Duration::ZERO, may_expire: false, expired: false }
    }

    /// Whether the reader knows everything.
    pub fn knows(&self, server: &Server) -> bool {
        matches!(self.position, Position::After(version) if version >= server.version())
    }

    /// Whether the reader is among the initial pods.
    pub fn is_listing(&self) -> bool {
        matches!(self.position, Position::Listing(_))
    }

    /// Notes the watch's first use.
    pub fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// Takes what was handed out.
    pub fn take<O: Watched>(&mut self, output: Result<Told<O>, Error>, server: &Server, now: Instant) -> Checked<Anew> {
        let end = self.begun.zip(self.seconds).map(|(begun, seconds)| begun + Duration::from_secs(seconds.into()));
        if let Some(end) = end {
            // A call under way has its own deadline.
            let last = end + super::DEADLINE + LATER + self.suspended;
            ensure(now <= last, || format!("the watch goes on {:?} after its end", now.saturating_duration_since(end)))?;
        }
        match output {
            Ok(Told::Change(Change::Object(kind, object))) => self.changed(kind, &object, server)?,
            Ok(Told::Change(Change::Synced(version))) => self.synced(number(&version)?, server)?,
            Ok(Told::Change(Change::Bookmark(version))) => self.bookmark(number(&version)?, server)?,
            Ok(Told::Expired) => {
                let within = matches!(&self.position, Position::Listing(pods) if !pods.is_empty());
                ensure(self.may_expire || within, || "changes are said to be lost, but are not".into())?;
                self.expired = true;
            }
            Ok(Told::Ended) if self.expired => return Ok(Some(self.anew(None))),
            Ok(Told::Ended) => {
                let is_over = end.is_some_and(|end| end <= now);
                ensure(is_over, || "the watch ends before its time".into())?;
                let from = match &self.position {
                    Position::After(version) => Some(*version),
                    Position::Listing(_) => None,
                };
                return Ok(Some(self.anew(from)));
            }
            // The world checks whether this may fail.
            Err(_) => {}
        }
        Ok(None)
    }

    fn anew(&mut self, from: Option<u64>) -> (Option<u64>, Option<u32>) {
        *self = Reader::new(from, None);
        (from, None)
    }

    fn changed(&mut self, kind: ChangeKind, object: &impl Watched, server: &Server) -> Checked {
        let (name, version) = object.seen();
        let (name, version) = (number(&name)?, number(&version)?);
        let name = u8::try_from(name).map_err(|e| e.to_string())?;
        match &mut self.position {
            Position::Listing(pods) => {
                ensure(kind == ChangeKind::Added, || format!("{kind:?} among the initial pods"))?;
                ensure(pods.insert(name, version).is_none(), || format!("pod {name} comes twice"))
            }
            Position::After(position) => {
                let next = server.after(*position).first().copied();
                let told = Logged { version, kind, pod: name };
                ensure(next == Some(told), || format!("after {position} comes {next:?}, not {told:?}"))?;
                *position = version;
                Ok(())
            }
        }
    }

    fn synced(&mut self, version: u64, server: &Server) -> Checked {
        let Position::Listing(pods) = &self.position else { return Err("synced twice".into()) };
        let there = server.pods(version);
        ensure(*pods == there, || format!("at {version} there were {there:?}, not {pods:?}"))?;
        self.position = Position::After(version);
        Ok(())
    }

    fn bookmark(&mut self, version: u64, server: &Server) -> Checked {
        let Position::After(position) = &mut self.position else { return Err("a bookmark among the initial pods".into()) };
        let passed_over = server.after(*position).first().filter(|next| next.version <= version);
        ensure(passed_over.is_none(), || format!("a bookmark at {version} skips {passed_over:?}"))?;
        *position = version.max(*position);
        Ok(())
    }
}

fn number(text: &str) -> Checked<u64> {
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}
