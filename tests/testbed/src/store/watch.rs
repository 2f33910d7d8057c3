//! Answers to watches.

use super::encoding::{Change, Encoding, Event};
use super::error_status::ErrorStatus;
use super::{PodStore, State};
use crate::answer::{Answer, Chunk};
use crate::request::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{Notify, oneshot};

/// How long a hurried watch lasts after its first event.
const HURRY: Duration = Duration::from_millis(20);

/// How a server answers a watch from a resource version that it has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// 200 and an `ERROR` event with the code 410.
    Event,
    /// 410.
    Status,
    /// 200 and an empty body.
    Silently,
}

/// An open watch.
pub(super) struct Watch {
    encoding: Encoding,
    /// The name of the only pod whose events are sent.
    selected: Option<String>,
    bookmarks: bool,
    first: bool,
    /// Notified at the first event, if the watch must end soon after it.
    hurry: Option<Arc<Notify>>,
    /// How many bytes may still be sent, if the watch must break.
    left: Option<usize>,
    pub(super) sender: UnboundedSender<Chunk>,
    /// Ends the task that waits for the end of the watch when the watch is dropped.
    _open: oneshot::Sender<()>,
}

impl PodStore {
    pub(super) fn watch(&self, state: &mut State, request: &Request, encoding: Encoding) -> Result<Answer, ErrorStatus> {
        let seconds = request.query("timeoutSeconds").and_then(|text| text.parse().ok());
        if names_a_version(request)
            && let Some(failure) = state.watch_failures.pop_front()
        {
            return Ok(failure);
        }
        let Some(events) = state.events_before(request)? else {
            return Ok(encoding.headers(Answer::new(200, ""), true));
        };
        let fails = matches!(events.last(), Some(Event::ErrorStatus(_)));
        let (sender, receiver) = mpsc::unbounded_channel();
        let (open, ended) = oneshot::channel();
        let hurry = Arc::new(Notify::new());
        let mut watch = Watch {
            encoding,
            selected: request.selected_name(),
            bookmarks: request.wants_bookmarks(),
            first: true,
            hurry: state.hurries.then(|| hurry.clone()),
            left: state.cut_next_watch_after.take(),
            sender: sender.clone(),
            _open: open,
        };
        if events.iter().all(|event| watch.tell(event)) && !fails {
            state.watches_so_far += 1;
            let id = state.watches_so_far;
            state.watches.insert(id, watch);
            let store = self.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = sender.closed() => {}
                    () = timeout(seconds) => {}
                    () = soon_after(&hurry) => {}
                    _ = ended => {}
                }
                let is_stalled = store.change(|state| {
                    state.watches.remove(&id);
                    state.stalled.contains_key(&id)
                });
                if is_stalled {
                    sender.closed().await;
                    store.change(|state| state.stalled.remove(&id));
                }
            });
        }
        Ok(encoding.headers(Answer::streaming(200, receiver), true))
    }
}

impl State {
    /// Returns the first events of a watch: all pods, or the changes since a version. `None` means to end without an event.
    fn events_before(&self, request: &Request) -> Result<Option<Vec<Event>>, ErrorStatus> {
        let version = request.query("resourceVersion").unwrap_or_default();
        let from_now = matches!(&*version, "" | "0");
        let asked = self.asks_for_initial_events(request)?;
        if asked.unwrap_or(from_now) {
            let mut events: Vec<_> = self.pods.values().map(|pod| Event::Pod(Change::Added, pod.clone())).collect();
            if asked.is_some() {
                events.push(Event::Bookmark { version: self.version, ends_initial_events: self.ends_initial_events });
            }
            return Ok(Some(events));
        }
        let version = if from_now { self.version } else { super::list::number(&version)? };
        if version < self.oldest {
            let failure = ErrorStatus::expired(format!("too old resource version: {version} ({})", self.oldest));
            return match self.forgotten {
                Forgotten::Event => Ok(Some(vec![Event::ErrorStatus(Arc::new(failure))])),
                Forgotten::Status => Err(failure),
                Forgotten::Silently => Ok(None),
            };
        }
        let since = self.history.iter().filter(|past| past.pod.version > version);
        Ok(Some(since.map(|past| Event::Pod(past.change, past.pod.clone())).collect()))
    }

    fn asks_for_initial_events(&self, request: &Request) -> Result<Option<bool>, ErrorStatus> {
        let Some(asked) = request.query("sendInitialEvents") else { return Ok(None) };
        if !self.knows_initial_events {
            let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            return Err(ErrorStatus::forbidden_option("sendInitialEvents", why));
        }
        if request.query("resourceVersionMatch").as_deref() != Some("NotOlderThan") {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(ErrorStatus::forbidden_option("resourceVersionMatch", why));
        }
        Ok(Some(asked == "true"))
    }
}

impl Watch {
    /// Sends an event. Returns whether the watch is still open.
    pub(super) fn tell(&mut self, event: &Event) -> bool {
        if matches!(event, Event::Bookmark { .. }) && !self.bookmarks {
            return true;
        }
        if let (Event::Pod(_, pod), Some(selected)) = (event, &self.selected)
            && *selected != pod.name
        {
            return true;
        }
        let mut bytes = self.encoding.event(event, self.first);
        if let (true, Some(hurry)) = (self.first, &self.hurry) {
            hurry.notify_one();
        }
        self.first = false;
        let Some(left) = &mut self.left else { return self.sender.send(Chunk::Data(bytes)).is_ok() };
        let breaks = bytes.len() >= *left;
        bytes.truncate(*left);
        *left -= bytes.len();
        let _ = self.sender.send(Chunk::Data(bytes));
        if breaks {
            let _ = self.sender.send(Chunk::Abort);
        }
        !breaks
    }
}

impl Request {
    /// Whether the request is a watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.says_yes("watch")
    }

    /// The name that a field selector selects.
    pub(super) fn selected_name(&self) -> Option<String> {
        self.query("fieldSelector")?.strip_prefix("metadata.name=").map(Into::into)
    }

    fn wants_bookmarks(&self) -> bool {
        self.says_yes("allowWatchBookmarks")
    }

    fn says_yes(&self, name: &str) -> bool {
        matches!(self.query(name).as_deref(), Some("true" | "1"))
    }
}

fn names_a_version(request: &Request) -> bool {
    request.query("resourceVersion").is_some_and(|version| !matches!(&*version, "" | "0"))
}

async fn soon_after(hurry: &Notify) {
    hurry.notified().await;
    tokio::time::sleep(HURRY).await;
}

async fn timeout(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}
