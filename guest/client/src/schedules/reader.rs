//! Whoever reads a watch: what it has been told, compared with what there was.

use super::server::{Logged, Pods, Server, Watched};
use super::{Checked, ensure};
use crate::changes::Change;
use crate::types::{ChangeKind, Error, Failure};
use std::time::{Duration, Instant};

/// So much later than asked for, a watch ends at the latest: what the client gives a server, and a wait.
const LATER: Duration = Duration::from_secs(6);

/// What a watch hands out.
#[derive(Debug)]
pub enum Told<O> {
    /// Something happened.
    Change(Change<O>),
    /// What comes next is lost.
    Expired,
    /// There is nothing more.
    Ended,
}

/// The same, as a reader sees it.
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
    /// The watch's time, since it was first used.
    seconds: Option<u32>,
    begun: Option<Instant>,
    /// For how long nothing could have ended it.
    pub suspended: Duration,
    /// Whether the watch may say that changes are lost.
    pub may_expire: bool,
    /// Whether it has.
    expired: bool,
}

enum Position {
    /// Among the pods that there are.
    Listing(Pods),
    /// After this version.
    After(u64),
}

/// How a reader begins anew: from a version, or from what there is.
pub type Anew = Option<(Option<u64>, Option<u32>)>;

impl Reader {
    pub fn new(from: Option<u64>, seconds: Option<u32>) -> Reader {
        let position = from.map_or_else(|| Position::Listing(Pods::new()), Position::After);
        Reader { position, seconds, begun: None, suspended: Duration::ZERO, may_expire: false, expired: false }
    }

    /// Whether it knows all that there is.
    pub fn knows(&self, server: &Server) -> bool {
        matches!(self.position, Position::After(version) if version >= server.version())
    }

    /// Whether it is among the pods that there are.
    pub fn is_listing(&self) -> bool {
        matches!(self.position, Position::Listing(_))
    }

    /// The watch's first use.
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
                ensure(self.may_expire || within, || "changes are said to be lost, and are not".into())?;
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
            // Whether it may, the world says.
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
                ensure(kind == ChangeKind::Added, || format!("{kind:?} among the pods that there are"))?;
                ensure(pods.insert(name, version).is_none(), || format!("pod {name} comes twice"))
            }
            Position::After(position) => {
                let next = server.after(*position).first().copied();
                let told = Logged { version, kind, pod: name };
                ensure(next == Some(told), || format!("after {position} comes {next:?}, and not {told:?}"))?;
                *position = version;
                Ok(())
            }
        }
    }

    fn synced(&mut self, version: u64, server: &Server) -> Checked {
        let Position::Listing(pods) = &self.position else { return Err("synced twice".into()) };
        let there = server.pods(version);
        ensure(*pods == there, || format!("as of {version} there were {there:?}, and not {pods:?}"))?;
        self.position = Position::After(version);
        Ok(())
    }

    fn bookmark(&mut self, version: u64, server: &Server) -> Checked {
        let Position::After(position) = &mut self.position else { return Err("a bookmark among the pods that there are".into()) };
        let passed_over = server.after(*position).first().filter(|next| next.version <= version);
        ensure(passed_over.is_none(), || format!("a bookmark at {version} passes over {passed_over:?}"))?;
        *position = version.max(*position);
        Ok(())
    }
}

fn number(text: &str) -> Checked<u64> {
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}
