//! The changes of a store, for whoever follows it.

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

/// What became of an object in a store.
#[derive(Debug)]
pub enum Change<T> {
    /// It is there now.
    Added(Arc<T>),
    /// It is another one than before.
    Modified(Arc<T>),
    /// It is gone; as it was last.
    Deleted(Arc<T>),
}

/// The changes of an [`ObjectStore`], as a stream: [`ObjectStore::changes`].
///
/// It compares what the store shows with what it has shown to this reader before. A reader that is slow misses states in between, and
/// never the last one: nothing is held for it but one snapshot. The stream ends when the store's runtime does. It keeps the store's watch.
#[must_use = "it says nothing until it is asked"]
pub struct Changes<T: Object> {
    store: ObjectStore<T>,
    seen: Option<Arc<Snapshot<T>>>,
    pending: VecDeque<Change<T>>,
    /// Whether nothing will come after what is pending.
    is_last: bool,
    waiting: Pin<Box<dyn Future<Output = Option<Receiver<u64>>> + Send>>,
}

impl<T: Object> Changes<T> {
    pub(super) fn new(store: ObjectStore<T>) -> Changes<T> {
        let mut told = store.0.shared.told.subscribe();
        // The first look needs no change.
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
            // What was told until then is told here, too.
            let is_over = self.store.0.shared.lock().is_over;
            self.is_last = is_over;
            let latest = self.store.latest();
            // A store that shows nothing any more, because its tenant is denied, has no objects.
            self.pending = changes(objects(&self.seen), objects(&latest));
            self.seen = latest;
        }
    }
}

fn objects<T>(snapshot: &Option<Arc<Snapshot<T>>>) -> &[Arc<T>] {
    snapshot.as_ref().map_or(&[], |snapshot| &snapshot.objects)
}

/// What has changed from some objects to others.
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
            // It was deleted and made again.
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
    fn what_came_what_went_and_what_is_other_is_told() {
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
        // Made again under the same name.
        assert_eq!(told(&first, &[&a, &pod("b", "b2"), &c]), ["-b", "+b2"]);
        assert_eq!(told(&first, &[]), ["-a", "-b", "-c"]);
    }
}
