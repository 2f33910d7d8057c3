//! Callers that track the pods by watches.

use crate::callers::{Caller, LAST_POD, State, is_in_order, number};
use crate::ledger::{Call, Failed};
use incluster::types::{ChangeKind, Error as Kubernetes, ListOptions, PodChange, PodEvent, WatchOptions};
use incluster::{Error, PodWatch};
use std::time::{Duration, Instant};

/// The pods that a watch has reported so far.
#[derive(Default)]
struct Known {
    pods: State,
    /// The resource version of the latest event; `None` before the initial events are complete.
    synced: Option<u64>,
}

/// Watches again and again, until a watch has seen everything at the end of the run.
pub async fn watches(mut caller: Caller) {
    loop {
        let begun = Instant::now();
        match follow(&mut caller).await {
            Ok(Some(known)) => {
                let (expected, found) = (caller.last_state().await, known.pods);
                if found != expected {
                    let differing = expected.iter().filter(|(name, version)| found.get(*name) != Some(*version)).count();
                    caller.wrong(format!(
                        "a watch knows {} pods of {}; {differing} are missing or out of date",
                        found.len(),
                        expected.len()
                    ));
                }
                caller.ledger.count("watches complete at the end");
                return;
            }
            Ok(None) => caller.ledger.count("watches"),
            Err(error) => caller.ledger.failed(Call::Watch, begun, &error),
        }
    }
}

/// Follows one watch, from a list or from the initial events. Returns `None` if the watch is over before the end of the run.
async fn follow(caller: &mut Caller) -> Result<Option<Known>, Error> {
    let session = Instant::now();
    let mut known = Known::default();
    let mut options = WatchOptions::ALL;
    if caller.random.bool() {
        let list = caller.tenant.list_namespaced_pods(caller.bed.namespace, &ListOptions::ALL).await?;
        if !is_in_order(&list.items) {
            caller.wrong("the list before a watch is not in order".into());
        }
        known.synced = Some(number(&list.resource_version));
        known.pods = list.items.into_iter().map(|pod| (pod.metadata.name, pod.metadata.resource_version)).collect();
        options.resource_version = Some(list.resource_version);
    }
    if caller.random.u8(..3) == 0 {
        options.timeout_seconds = Some(caller.random.u32(1..10));
    }
    let impatient = caller.random.u8(..3) == 0;
    // Some callers leave in the middle, some stay.
    let enough = if caller.random.bool() { caller.random.usize(..2_000) } else { usize::MAX };
    let mut events = 0;
    let mut watch = caller.tenant.watch_namespaced_pods(caller.bed.namespace, &options).await?;
    loop {
        if known.synced.is_some() && known.pods.contains_key(LAST_POD) {
            return Ok(Some(known));
        }
        if events >= enough {
            caller.ledger.count("watches left");
            return Ok(None);
        }
        let begun = Instant::now();
        let event = match next(caller, &mut watch, impatient).await {
            Err(error @ Error::Kubernetes(_)) => {
                caller.ledger.explain(&Failed { call: Call::Watch, session, begun, error: &error });
                if matches!(error.kubernetes(), Some(Kubernetes::Expired(_))) {
                    return Ok(None);
                }
                // `next` may be called again, and goes on after the last event.
                continue;
            }
            event => event?,
        };
        match event {
            Some(event) => {
                events += 1;
                caller.ledger.count("events");
                if let Some(problem) = known.take(event) {
                    caller.wrong(format!("a watch with {options:?}: {problem}"));
                    return Ok(None);
                }
            }
            None if options.timeout_seconds.is_none() => {
                caller.wrong("a watch without a time limit ended".into());
                return Ok(None);
            }
            None => return Ok(None),
        }
    }
}

/// Returns the next event. An impatient caller drops calls in the middle; the next call must go on without losing an event.
async fn next(caller: &mut Caller, watch: &mut PodWatch, impatient: bool) -> Result<Option<PodEvent>, Error> {
    if !impatient {
        return watch.next().await;
    }
    loop {
        let patience = Duration::from_millis(caller.random.u64(1..50));
        if let Ok(next) = tokio::time::timeout(patience, watch.next()).await {
            return next;
        }
        caller.ledger.count("calls dropped");
    }
}

impl Known {
    /// Applies an event, or returns what is wrong with it.
    fn take(&mut self, event: PodEvent) -> Option<String> {
        let version = match event {
            PodEvent::Changed(PodChange { kind, pod }) => {
                let (name, version) = (pod.metadata.name, pod.metadata.resource_version);
                let was_known = self.pods.contains_key(&name);
                let goes_on = self.synced.is_none_or(|last| number(&version) > last);
                if was_known != (kind != ChangeKind::Added) || !goes_on {
                    return Some(format!("{name} {kind:?} at {version}, known: {was_known}, after {:?}", self.synced));
                }
                let at = number(&version);
                match kind {
                    ChangeKind::Deleted => drop(self.pods.remove(&name)),
                    ChangeKind::Added | ChangeKind::Modified => drop(self.pods.insert(name, version)),
                }
                if self.synced.is_none() {
                    return (kind != ChangeKind::Added).then(|| format!("{kind:?} before the initial events were complete"));
                }
                at
            }
            PodEvent::Synced(version) if self.synced.is_none() => number(&version),
            PodEvent::Bookmark(version) if self.synced.is_some() => number(&version),
            other => return Some(format!("{other:?} after {:?}", self.synced)),
        };
        if self.synced.is_some_and(|last| version < last) {
            return Some(format!("version {version} after {:?}", self.synced));
        }
        self.synced = Some(version);
        None
    }
}
