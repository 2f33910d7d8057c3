//! A watch of pods: those that there are, and what becomes of them.

use crate::asking::Settings;
use crate::changes::{Change, Changes};
use crate::decode::pod_event;
use crate::machine::{Do, Event, Machine};
use crate::pages::PodPages;
use crate::request::{self, PROTOBUF_OR_JSON};
use crate::types::{ChangeKind, Error, ListOptions, PagingOptions, Pod, PodChange, PodEvent, WatchOptions};
use incluster_core::Namespace;
use incluster_core::credentials::Now;
use std::rc::Rc;
use std::vec;

/// The events of a watch.
pub struct PodWatch<B> {
    settings: Rc<Settings>,
    namespace: Namespace,
    options: WatchOptions,
    /// The pods that there are, from a server that cannot send them as events.
    listing: Option<Listing>,
    changes: Changes<B, Pod>,
}

struct Listing {
    pages: PodPages,
    listed: vec::IntoIter<Pod>,
    resource_version: String,
}

impl<B> PodWatch<B> {
    /// Begins a watch; nothing is asked for yet.
    pub fn new(settings: Rc<Settings>, namespace: Namespace, options: &WatchOptions) -> PodWatch<B> {
        let request = {
            let (namespace, options) = (namespace.clone(), options.clone());
            Box::new(move |from: Option<&str>, seconds| {
                request::watch_namespaced_pods(&namespace, &options, from, seconds, PROTOBUF_OR_JSON)
            })
        };
        let from = options.resource_version.clone().filter(|version| !version.is_empty());
        let seconds = options.timeout_seconds.filter(|seconds| *seconds > 0);
        let changes = Changes::new(settings.clone(), from, seconds, request, pod_event);
        PodWatch { settings, namespace, options: options.clone(), listing: None, changes }
    }

    fn list(&self) -> Listing {
        let options = ListOptions {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            ..ListOptions::ALL
        };
        Listing {
            pages: PodPages::new(self.settings.clone(), self.namespace.clone(), &options, &PagingOptions::DEFAULT),
            listed: Vec::new().into_iter(),
            resource_version: String::new(),
        }
    }
}

impl<B> Machine<B> for PodWatch<B> {
    /// The next event; `None` when the time is over, or after [`PodEvent::Expired`].
    type Output = Result<Option<PodEvent>, Error>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Self::Output> {
        loop {
            if matches!(event, Event::Go) && self.changes.is_over(now) {
                self.listing = None;
            }
            let Some(listing) = &mut self.listing else {
                return match self.changes.step(now, random, event) {
                    Do::Next(todo) => Do::Next(todo),
                    // Servers without WatchList (before 1.32; 1.33 by default) know no initial events, and say so in one way or the other.
                    Do::HandOut(Err(Error::Api(status))) if matches!(status.code, 400 | 422) && self.changes.is_unbegun() => {
                        self.listing = Some(self.list());
                        event = Event::Go;
                        continue;
                    }
                    Do::HandOut(change) => Do::HandOut(change.map(|change| change.map(of_change))),
                };
            };
            return match listing.step(now, random, event) {
                Do::Next(todo) => Do::Next(todo),
                Do::HandOut(Ok(Some(pod))) => Do::HandOut(Ok(Some(of_change(Change::Object(ChangeKind::Added, pod))))),
                Do::HandOut(Ok(None)) => {
                    let version = std::mem::take(&mut listing.resource_version);
                    self.listing = None;
                    self.changes.go_on_after(version.clone());
                    Do::HandOut(Ok(Some(PodEvent::Synced(version))))
                }
                Do::HandOut(Err(Error::Api(status))) if status.code == 410 => {
                    self.listing = None;
                    self.changes.end();
                    Do::HandOut(Ok(Some(PodEvent::Expired(status.message))))
                }
                Do::HandOut(Err(error)) => Do::HandOut(Err(error)),
            };
        }
    }
}

impl<B> Machine<B> for Listing {
    /// The next pod; `None` after the last one.
    type Output = Result<Option<Pod>, Error>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Self::Output> {
        loop {
            if let Some(pod) = self.listed.next() {
                return Do::HandOut(Ok(Some(pod)));
            }
            match self.pages.step(now, random, event) {
                Do::Next(todo) => return Do::Next(todo),
                Do::HandOut(Ok(Some(page))) => {
                    self.listed = page.items.into_iter();
                    self.resource_version = page.resource_version;
                    event = Event::Go;
                }
                Do::HandOut(Ok(None)) => return Do::HandOut(Ok(None)),
                Do::HandOut(Err(error)) => return Do::HandOut(Err(error)),
            }
        }
    }
}

fn of_change(change: Change<Pod>) -> PodEvent {
    match change {
        Change::Object(kind, pod) => PodEvent::Changed(PodChange { kind, pod }),
        Change::Synced(version) => PodEvent::Synced(version),
        Change::Bookmark(version) => PodEvent::Bookmark(version),
        Change::Expired(message) => PodEvent::Expired(message),
    }
}
