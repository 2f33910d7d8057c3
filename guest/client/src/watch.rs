//! A watch: the initial objects, and their changes.

use crate::asking::Settings;
use crate::changes::{Change, Changes};
use crate::decode::{JsonObject, Object};
use crate::machine::{Do, Event, Machine};
use crate::pages::Pages;
use crate::request::{self, Collection};
use crate::types::{
    ChangeKind, Error, Failure, JsonChange, JsonEvent, ListOptions, PagingOptions, Pod, PodChange, PodEvent, WatchOptions,
};
use incluster_core::credentials::Now;
use std::rc::Rc;
use std::vec;

/// The events of a watch.
pub struct Watch<B, O> {
    settings: Rc<Settings>,
    collection: Collection,
    options: WatchOptions,
    /// The list of the initial objects, for a server that cannot send them as events.
    listing: Option<Listing<O>>,
    changes: Changes<B, O>,
}

struct Listing<O> {
    pages: Pages<O>,
    listed: vec::IntoIter<O>,
    resource_version: String,
}

impl<B, O: Object> Watch<B, O> {
    /// Begins a watch. Nothing is asked for yet.
    pub fn new(settings: Rc<Settings>, collection: Collection, options: &WatchOptions) -> Watch<B, O> {
        let request = {
            let (collection, options) = (collection.clone(), options.clone());
            Box::new(move |from: Option<&str>, seconds| request::watch(&collection, &options, from, seconds, O::ACCEPT))
        };
        let from = options.resource_version.clone().filter(|version| !matches!(&**version, "" | "0"));
        let seconds = options.timeout_seconds.filter(|seconds| *seconds > 0);
        let changes = Changes::new(settings.clone(), from, seconds, request, O::event);
        Watch { settings, collection, options: options.clone(), listing: None, changes }
    }

    fn list(&self) -> Listing<O> {
        let options = ListOptions {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            ..ListOptions::ALL
        };
        Listing {
            pages: Pages::new(self.settings.clone(), self.collection.clone(), &options, &PagingOptions::DEFAULT),
            listed: Vec::new().into_iter(),
            resource_version: String::new(),
        }
    }
}

impl<B, O: Object> Machine<B> for Watch<B, O> {
    /// The next change; `None` when the time is over, or after [`Error::Expired`].
    type Output = Result<Option<Change<O>>, Failure>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Self::Output> {
        loop {
            if matches!(event, Event::Go) {
                if self.changes.is_over(now) {
                    self.listing = None;
                } else if self.settings.lists_first.get() && self.changes.is_unbegun() && self.listing.is_none() {
                    self.listing = Some(self.list());
                }
            }
            let Some(listing) = &mut self.listing else {
                return match self.changes.step(now, random, event) {
                    // Servers without WatchList (those before 1.32, and 1.33 by default) cannot send initial events, and say so in one way
                    // or another.
                    Do::HandOut(Err(Failure { error, .. }))
                        if self.changes.is_unbegun()
                            && (matches!(&error, Error::Api(status) if matches!(status.code, 400 | 422))
                                || self.settings.lists_first.get()) =>
                    {
                        self.listing = Some(self.list());
                        event = Event::Go;
                        continue;
                    }
                    step => step,
                };
            };
            return match listing.step(now, random, event) {
                Do::Next(todo) => Do::Next(todo),
                Do::HandOut(Ok(Some(object))) => Do::HandOut(Ok(Some(Change::Object(ChangeKind::Added, object)))),
                Do::HandOut(Ok(None)) => {
                    let version = std::mem::take(&mut listing.resource_version);
                    self.listing = None;
                    self.changes.go_on_after(version.clone());
                    Do::HandOut(Ok(Some(Change::Synced(version))))
                }
                Do::HandOut(Err(failure)) => {
                    if let Error::Expired(_) = failure.error {
                        self.listing = None;
                        self.changes.end();
                    }
                    Do::HandOut(Err(failure))
                }
            };
        }
    }
}

impl<B, O: Object> Machine<B> for Listing<O> {
    /// The next object; `None` after the last one.
    type Output = Result<Option<O>, Failure>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Self::Output> {
        loop {
            if let Some(object) = self.listed.next() {
                return Do::HandOut(Ok(Some(object)));
            }
            match self.pages.step(now, random, event) {
                Do::Next(todo) => return Do::Next(todo),
                Do::HandOut(Ok(Some(page))) => {
                    self.listed = page.listed.items.into_iter();
                    self.resource_version = page.listed.metadata.resource_version;
                    event = Event::Go;
                }
                Do::HandOut(Ok(None)) => return Do::HandOut(Ok(None)),
                Do::HandOut(Err(failure)) => return Do::HandOut(Err(failure)),
            }
        }
    }
}

/// Makes the event for a change of pods.
pub fn pod_event(change: Option<Change<Pod>>) -> PodEvent {
    match change {
        Some(Change::Object(kind, pod)) => PodEvent::Changed(PodChange { kind, pod }),
        Some(Change::Synced(version)) => PodEvent::Synced(version),
        Some(Change::Bookmark(version)) => PodEvent::Bookmark(version),
        None => PodEvent::Ended,
    }
}

/// Makes the event for a change of objects of any kind.
pub fn json_event(change: Option<Change<JsonObject>>) -> JsonEvent {
    match change {
        Some(Change::Object(kind, JsonObject(object))) => JsonEvent::Changed(JsonChange { kind, object }),
        Some(Change::Synced(version)) => JsonEvent::Synced(version),
        Some(Change::Bookmark(version)) => JsonEvent::Bookmark(version),
        None => JsonEvent::Ended,
    }
}
