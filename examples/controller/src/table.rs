//! What there is, and how it differs from what there was: values alone.

use incluster_extension::{Event, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};

/// An object's namespace and name.
type Key = (String, String);

/// What is kept of the objects of one kind.
pub trait Row: PartialEq {
    /// What the API has.
    type Object;

    fn key(object: &Self::Object) -> Key;
    fn new(object: Self::Object) -> Self;
    /// What to print of a new row, in place of another, or of one that is gone.
    fn line(key: &Key, before: Option<&Self>, now: Option<&Self>) -> String;
}

/// The objects of one kind, as a watch says they are.
#[derive(Debug)]
pub struct Table<R> {
    rows: BTreeMap<Key, R>,
    /// While a watch begins again: what was there before, and has not come yet.
    unseen: BTreeSet<Key>,
    is_complete: bool,
}

impl<R: Row> Table<R> {
    pub fn new() -> Table<R> {
        Table { rows: BTreeMap::new(), unseen: BTreeSet::new(), is_complete: false }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether all objects that were there when the watch began have come.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// A new watch begins. What is there stays, until the watch has said what is no more.
    pub fn begin_again(&mut self) {
        self.unseen = self.rows.keys().cloned().collect();
        self.is_complete = false;
    }

    /// Takes in an event; returns a line for each row that is another now.
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

/// A slice of a service's endpoints: which are ready.
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
        // Absent means ready: `EndpointConditions.ready`.
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
    fn only_what_differs_is_a_line() {
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
    fn a_watch_that_begins_again_says_what_is_gone_and_nothing_twice() {
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
