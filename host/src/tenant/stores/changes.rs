//! The changes of a store, as a stream.

use super::ObjectStore;
use super::object::Object;
use super::table::Snapshot;
use futures_core::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::watch::Receiver;

/// What happened to an object in a store.
#[derive(Debug)]
pub enum Change<T> {
    /// The object is new.
    Added(Arc<T>),
    /// The object has changed.
    Modified(Arc<T>),
    /// The object is gone. This is its last state.
    Deleted(Arc<T>),
}

/// The changes of an [`ObjectStore`], as a stream: [`ObjectStore::changes`].
///
/// The stream compares what the store shows now with what this reader has seen before. A slow reader may miss states in between, but never
/// the last one: only one snapshot is held for it. The stream ends when the store's runtime ends. Until it is dropped, it keeps the store's
/// watch open.
#[must_use = "changes come only when the stream is polled"]
pub struct Changes<T: Object> {
    store: ObjectStore<T>,
    seen: Option<Arc<Snapshot<T>>>,
    pending: VecDeque<Change<T>>,
    /// Whether nothing will follow the pending changes.
    is_last: bool,
    waiting: Pin<Box<dyn Future<Output = Option<Receiver<u64>>> + Send>>,
}

impl<T: Object> Changes<T> {
    pub(super) fn new(store: ObjectStore<T>) -> Changes<T> {
        let mut told = store.0.shared.told.subscribe();
        // The first snapshot is taken without waiting for a change.
        told.mark_changed();
        Changes { store, seen: None, pending: VecDeque::new(), is_last: false, waiting: Box::pin(next(told)) }
    }
}

async fn next(mut told: Receiver<u64>) -> Option<Receiver<u64>> {
    told.changed().await.ok().map(|()| told)
}

impl<T: Object> Stream for Changes<T> {
    type Item = Change<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change<T>>> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Poll::Ready(Some(change));
            }
            if self.is_last {
                return Poll::Ready(None);
            }
            let Some(told) = ready!(self.waiting.as_mut().poll(cx)) else { return Poll::Ready(None) };
            self.waiting = Box::pin(next(told));
            // This is read before the snapshot, so that the stream delivers the last changes before it ends.
            let is_over = self.store.0.shared.lock().is_over;
            self.is_last = is_over;
            let latest = self.store.latest();
            // A store that has stopped showing objects, because its tenant was denied, counts as empty.
            self.pending = changes(objects(&self.seen), objects(&latest));
            self.seen = latest;
        }
    }
}

fn objects<T>(snapshot: &Option<Arc<Snapshot<T>>>) -> &[Arc<T>] {
    snapshot.as_ref().map_or(&[], |snapshot| &snapshot.objects)
}

/// The changes that turn the objects `before` into those `after`.
fn changes<T: Object>(before: &[Arc<T>], after: &[Arc<T>]) -> VecDeque<Change<T>> {
    let mut changes = VecDeque::new();
    let mut old = before.iter().peekable();
    for new in after {
        let is_before = |old: &&Arc<T>| old.key() < new.key();
        while let Some(gone) = old.next_if(is_before) {
            changes.push_back(Change::Deleted(gone.clone()));
        }
        match old.next_if(|old| old.key() == new.key()) {
            None => changes.push_back(Change::Added(new.clone())),
            Some(old) if Arc::ptr_eq(old, new) => {}
            // The object was deleted and created again.
            Some(old) if old.uid() != new.uid() => changes.extend([Change::Deleted(old.clone()), Change::Added(new.clone())]),
            Some(_) => changes.push_back(Change::Modified(new.clone())),
        }
    }
    changes.extend(old.map(|gone| Change::Deleted(gone.clone())));
    changes
}

impl<T> Change<T> {
    /// The object.
    pub fn object(&self) -> &Arc<T> {
        match self {
            Change::Added(object) | Change::Modified(object) | Change::Deleted(object) => object,
        }
    }
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        match self {
            Change::Added(object) => Change::Added(object.clone()),
            Change::Modified(object) => Change::Modified(object.clone()),
            Change::Deleted(object) => Change::Deleted(object.clone()),
        }
    }
}

impl<T: Object> fmt::Debug for Changes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Pod;

    fn told(before: &[&Arc<Pod>], after: &[&Arc<Pod>]) -> Vec<String> {
        let objects = |pods: &[&Arc<Pod>]| pods.iter().map(|pod| Arc::clone(pod)).collect::<Vec<_>>();
        let line = |change: &Change<Pod>| {
            let kind = match change {
                Change::Added(_) => '+',
                Change::Modified(_) => '~',
                Change::Deleted(_) => '-',
            };
            format!("{kind}{}", change.object().metadata.uid)
        };
        changes(&objects(before), &objects(after)).iter().map(line).collect()
    }

    #[test]
    fn added_deleted_and_modified_objects_are_reported() {
        let pod = |name: &str, uid: &str| {
            let mut pod = super::super::object::tests::pod(name);
            pod.metadata.uid = uid.into();
            Arc::new(pod)
        };
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| pod(name, name));
        let first = [&a, &b, &c];
        assert_eq!(told(&[], &first), ["+a", "+b", "+c"]);
        assert!(told(&first, &first).is_empty());
        let b2 = pod("b", "b");
        assert_eq!(told(&first, &[&b2, &d]), ["-a", "~b", "-c", "+d"]);
        // An object that was created again under the same name.
        assert_eq!(told(&first, &[&a, &pod("b", "b2"), &c]), ["-b", "+b2"]);
        assert_eq!(told(&first, &[]), ["-a", "-b", "-c"]);
    }
}
