//! A watch of pods: those that there are, and what becomes of them.

use crate::changes::{Change, Changes};
use crate::client::Client;
use crate::decode::pod_event;
use crate::pages::PodPages;
use crate::request;
use crate::types::{ChangeKind, Error, ListOptions, PagingOptions, Pod, PodChange, PodEvent, WatchOptions};
use std::collections::VecDeque;

/// The events of a watch.
pub struct PodWatch {
    client: Client,
    namespace: String,
    options: WatchOptions,
    /// The pods that there are, from a server that cannot send them as events.
    listing: Option<Listing>,
    changes: Changes<Pod>,
}

struct Listing {
    pages: PodPages,
    listed: VecDeque<Pod>,
    resource_version: String,
}

impl PodWatch {
    /// Begins a watch; nothing is asked for yet.
    pub fn new(client: &Client, namespace: &str, options: &WatchOptions) -> PodWatch {
        let request = {
            let (namespace, options) = (namespace.to_string(), options.clone());
            Box::new(move |from: Option<&str>, seconds| {
                request::watch_namespaced_pods(&namespace, &options, from, seconds, request::PROTOBUF_OR_JSON)
            })
        };
        let from = options.resource_version.clone().filter(|version| !version.is_empty());
        PodWatch {
            client: client.clone(),
            namespace: namespace.into(),
            options: options.clone(),
            listing: None,
            changes: Changes::new(client, from, options.timeout_seconds.filter(|s| *s > 0), request, pod_event),
        }
    }

    /// The next event; `None` when the time is over, or after [`PodEvent::Expired`].
    pub fn next_event(&mut self) -> Result<Option<PodEvent>, Error> {
        loop {
            if let Some(listing) = &mut self.listing {
                match listing.next_pod() {
                    Ok(Some(pod)) => return Ok(Some(event(Change::Object(ChangeKind::Added, pod)))),
                    Ok(None) => {
                        let version = std::mem::take(&mut listing.resource_version);
                        self.listing = None;
                        self.changes.go_on_after(version.clone());
                        return Ok(Some(PodEvent::Synced(version)));
                    }
                    Err(Error::Api(status)) if status.code == 410 => {
                        self.listing = None;
                        self.changes.end();
                        return Ok(Some(PodEvent::Expired(status.message)));
                    }
                    Err(error) => return Err(error),
                }
            }
            match self.changes.next_change() {
                Ok(change) => return Ok(change.map(event)),
                // Servers without WatchList (before 1.32; 1.33 by default) know no initial events, and say so in one way or the other.
                Err(Error::Api(status)) if matches!(status.code, 400 | 422) && self.changes.is_unbegun() => {
                    self.listing = Some(self.list());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn list(&self) -> Listing {
        let options = ListOptions {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            ..ListOptions::ALL
        };
        Listing {
            pages: PodPages::new(&self.client, &self.namespace, &options, &PagingOptions::DEFAULT),
            listed: VecDeque::new(),
            resource_version: String::new(),
        }
    }
}

impl Listing {
    fn next_pod(&mut self) -> Result<Option<Pod>, Error> {
        loop {
            if let Some(pod) = self.listed.pop_front() {
                return Ok(Some(pod));
            }
            match self.pages.next_page()? {
                Some(page) => {
                    self.listed = page.items.into();
                    self.resource_version = page.resource_version;
                }
                None => return Ok(None),
            }
        }
    }
}

fn event(change: Change<Pod>) -> PodEvent {
    match change {
        Change::Object(kind, pod) => PodEvent::Changed(PodChange { kind, pod }),
        Change::Synced(version) => PodEvent::Synced(version),
        Change::Bookmark(version) => PodEvent::Bookmark(version),
        Change::Expired(message) => PodEvent::Expired(message),
    }
}
