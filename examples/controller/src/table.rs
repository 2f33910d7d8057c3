//! A table of objects and its changes, without any I/O.

use incluster_extension::{Event, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};

/// An object's namespace and name.
type Key = (String, String);

/// A row of a table: what is kept of an object of one kind.
pub trait Row: PartialEq {
    /// The API's type of the object.
    type Object;

    fn key(object: &Self::Object) -> Key;
    fn new(object: Self::Object) -> Self;
    /// The line to print for a row that is new, changed or gone.
    fn line(key: &Key, before: Option<&Self>, now: Option<&Self>) -> String;
}

/// The objects of one kind, as a watch has reported them.
#[derive(Debug)]
pub struct Table<R> {
    rows: BTreeMap<Key, R>,
    /// While a watch begins again: the keys of rows from before that the new watch has not reported yet.
    unseen: BTreeSet<Key>,
    is_complete: bool,
}

impl<R: Row> Table<R> {
    pub fn new() -> Table<R> {
        Table { rows: BTreeMap::new(), unseen: BTreeSet::new(), is_complete: false }
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the watch has reported all objects that existed when it began.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Prepares for a new watch. The rows stay until the watch has shown which objects are gone.
    pub fn begin_again(&mut self) {
        self.unseen = self.rows.keys().cloned().collect();
        self.is_complete = false;
    }

    /// Applies an event. Returns a line for each changed row.
    pub fn apply(&mut self, event: Event<R::Object>) -> Vec<String> {
        match event {
            Event::Added(object) | Event::Modified(object) => self.put(object).into_iter().collect(),
            Event::Deleted(object) => self.take(&R::key(&object)).into_iter().collect(),
            Event::Synced(_) => {
                self.is_complete = true;
                std::mem::take(&mut self.unseen).iter().filter_map(|key| self.take(key)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn put(&mut self, object: R::Object) -> Option<String> {
        let key = R::key(&object);
        let now = R::new(object);
        self.unseen.remove(&key);
        let before = self.rows.get(&key);
        let line = (before != Some(&now)).then(|| R::line(&key, before, Some(&now)));
        self.rows.insert(key, now);
        line
    }

    fn take(&mut self, key: &Key) -> Option<String> {
        self.unseen.remove(key);
        self.rows.remove(key).map(|row| R::line(key, Some(&row), None))
    }
}

/// A pod: its phase, whether it is ready, and its address.
#[derive(Debug, PartialEq)]
pub struct PodRow {
    state: String,
}

impl Row for PodRow {
    type Object = Pod;

    fn key(pod: &Pod) -> Key {
        (pod.metadata.namespace.clone(), pod.metadata.name.clone())
    }

    fn new(pod: Pod) -> PodRow {
        let is_ready =
            pod.status.conditions.iter().any(|condition| condition.condition_type == "Ready" && condition.status == "True");
        let phase = match pod.metadata.deletion_timestamp {
            Some(_) => "Terminating".into(),
            None => pod.status.phase.unwrap_or_else(|| "Unknown".into()),
        };
        let address = pod.status.pod_ips.into_iter().next().unwrap_or_else(|| "no address".into());
        PodRow { state: format!("{phase}, {}, {address}", if is_ready { "ready" } else { "not ready" }) }
    }

    fn line((namespace, name): &Key, before: Option<&PodRow>, now: Option<&PodRow>) -> String {
        change("pod", namespace, name, before.map(|row| &*row.state), now.map(|row| &*row.state))
    }
}

/// A slice of a service's endpoints: the addresses of those that are ready.
#[derive(Debug, PartialEq)]
pub struct SliceRow {
    ready: String,
}

impl Row for SliceRow {
    type Object = EndpointSlice;

    fn key(slice: &EndpointSlice) -> Key {
        (slice.metadata.namespace.clone().unwrap_or_default(), slice.metadata.name.clone().unwrap_or_default())
    }

    fn new(slice: EndpointSlice) -> SliceRow {
        let endpoints = slice.endpoints.unwrap_or_default();
        // An absent `EndpointConditions.ready` means ready.
        let ready = endpoints.into_iter().filter(|endpoint| endpoint.conditions.as_ref().and_then(|is| is.ready) != Some(false));
        let mut addresses: Vec<_> = ready.flat_map(|endpoint| endpoint.addresses).collect();
        addresses.sort();
        SliceRow { ready: if addresses.is_empty() { "nothing ready".into() } else { addresses.join(" ") } }
    }

    fn line((namespace, name): &Key, before: Option<&SliceRow>, now: Option<&SliceRow>) -> String {
        change("endpointslice", namespace, name, before.map(|row| &*row.ready), now.map(|row| &*row.ready))
    }
}

fn change(kind: &str, namespace: &str, name: &str, before: Option<&str>, now: Option<&str>) -> String {
    match (before, now) {
        (None, Some(now)) => format!("+ {kind} {namespace}/{name}: {now}"),
        (Some(before), Some(now)) => format!("~ {kind} {namespace}/{name}: {before} -> {now}"),
        (_, None) => format!("- {kind} {namespace}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        pod.metadata.namespace = "shop".into();
        pod.status.phase = Some(phase.into());
        pod
    }

    #[test]
    fn only_changes_are_printed() {
        let mut table = Table::<PodRow>::new();
        assert_eq!(table.apply(Event::Added(pod("a", "Pending"))), ["+ pod shop/a: Pending, not ready, no address"]);
        assert_eq!(table.apply(Event::Modified(pod("a", "Pending"))), [""; 0]);
        assert_eq!(
            table.apply(Event::Modified(pod("a", "Running"))),
            ["~ pod shop/a: Pending, not ready, no address -> Running, not ready, no address"]
        );
        assert_eq!(table.apply(Event::Deleted(pod("a", "Running"))), ["- pod shop/a"]);
    }

    #[test]
    fn a_watch_that_begins_again_reports_deletions_and_repeats_nothing() {
        let mut table = Table::<PodRow>::new();
        for name in ["a", "b"] {
            table.apply(Event::Added(pod(name, "Running")));
        }
        assert_eq!(table.apply(Event::Synced("1".into())), [""; 0]);
        table.begin_again();
        assert!(!table.is_complete());
        assert_eq!(table.apply(Event::Added(pod("b", "Running"))), [""; 0]);
        assert_eq!(table.apply(Event::Synced("9".into())), ["- pod shop/a"]);
        assert_eq!((table.len(), table.is_complete()), (1, true));
    }
}
