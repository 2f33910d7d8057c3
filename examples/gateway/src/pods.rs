//! The ready pods of a route, kept fresh by one watch that all of its requests share.

use incluster::types::{ChangeKind, Error as Kubernetes, Pod as ApiPod, PodEvent, WatchOptions};
use incluster::{Error, PodWatch, Tenant};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// Before a watch that failed begins again. The client has tried for a minute and a half by then.
const PAUSE: Duration = Duration::from_secs(1);

/// A pod that is ready, and is not about to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// Where it runs.
    pub node_name: Option<String>,
}

/// The ready pods at one moment, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Two snapshots of one generation are the same.
    pub generation: u64,
    /// The pods.
    pub pods: Vec<Pod>,
}

impl Snapshot {
    fn new(pods: Vec<Pod>) -> Snapshot {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        Snapshot { generation: GENERATIONS.fetch_add(1, Ordering::Relaxed), pods }
    }

    /// The pod of this name.
    pub fn pod(&self, name: &str) -> Option<&Pod> {
        self.pods.binary_search_by(|pod| pod.name.as_str().cmp(name)).ok().map(|place| &self.pods[place])
    }

    /// All pods but one.
    pub fn without(&self, name: &str) -> Snapshot {
        Snapshot::new(self.pods.iter().filter(|pod| pod.name != name).cloned().collect())
    }
}

/// What is known of some pods, for as long as this exists.
pub struct PodSet {
    known: Receiver<Known>,
    watching: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Known {
    /// `None` until the first list is complete. What was known stays while the API server cannot be asked.
    latest: Option<Arc<Snapshot>>,
    /// Why it may be out of date.
    problem: Option<String>,
}

impl PodSet {
    /// Begins to watch.
    pub fn watch(tenant: &Tenant, namespace: &str, label_selector: Option<&str>) -> PodSet {
        let (sender, known) = channel(Known::default());
        let options = WatchOptions { label_selector: label_selector.map(Into::into), ..WatchOptions::ALL };
        let watching = tokio::spawn(follow(tenant.clone(), namespace.into(), options, sender));
        PodSet { known, watching }
    }

    /// The ready pods. `None` if they are not known, and do not become known in so long a time.
    pub async fn ready(&self, wait: Duration) -> Option<Arc<Snapshot>> {
        if let Some(latest) = self.latest() {
            return Some(latest);
        }
        let mut known = self.known.clone();
        let first = timeout(wait, known.wait_for(|known| known.latest.is_some())).await;
        first.ok()?.ok()?.latest.clone()
    }

    /// The ready pods, if they are known.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.known.borrow().latest.clone()
    }

    /// Why they may be out of date.
    pub fn problem(&self) -> Option<String> {
        self.known.borrow().problem.clone()
    }
}

impl Drop for PodSet {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn follow(tenant: Tenant, namespace: String, options: WatchOptions, sender: Sender<Known>) {
    loop {
        let ended = match tenant.watch_namespaced_pods(&namespace, &options).await {
            Ok(watch) => read(watch, &sender).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => info!(tenant = tenant.name(), namespace, "the watch begins again"),
            Err(error) => failed(&sender, &error),
        }
        sleep(PAUSE).await;
    }
}

/// Until the watch ends.
async fn read(mut watch: PodWatch, sender: &Sender<Known>) -> Result<(), Error> {
    let (mut pods, mut is_complete) = (BTreeMap::new(), false);
    loop {
        match watch.next().await {
            Ok(None | Some(PodEvent::Ended)) => return Ok(()),
            // What comes next is lost: the next watch begins with the pods that there are.
            Err(error) if matches!(error.kubernetes(), Some(Kubernetes::Expired(_))) => return Ok(()),
            Ok(Some(PodEvent::Changed(change))) => {
                let name = change.pod.metadata.name.clone();
                match (change.kind, ready(change.pod)) {
                    (ChangeKind::Added | ChangeKind::Modified, Some(pod)) => pods.insert(name, pod),
                    _ => pods.remove(&name),
                };
            }
            Ok(Some(PodEvent::Synced(_))) => is_complete = true,
            Ok(Some(PodEvent::Bookmark(_) | PodEvent::Other(_))) => {}
            // It goes on where it was.
            Err(error @ Error::Kubernetes(_)) => {
                failed(sender, &error);
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        if is_complete {
            tell(sender, &pods);
        }
    }
}

fn failed(sender: &Sender<Known>, error: &Error) {
    warn!("{error}");
    sender.send_modify(|known| known.problem = Some(error.to_string()));
}

fn tell(sender: &Sender<Known>, pods: &BTreeMap<String, Pod>) {
    sender.send_if_modified(|known| {
        let is_the_same = known.latest.as_ref().is_some_and(|latest| latest.pods.iter().eq(pods.values()));
        if is_the_same && known.problem.is_none() {
            return false;
        }
        if !is_the_same {
            known.latest = Some(Arc::new(Snapshot::new(pods.values().cloned().collect())));
        }
        known.problem = None;
        true
    });
}

/// What a route needs to know of a pod, if it is ready.
fn ready(pod: ApiPod) -> Option<Pod> {
    let is_ready = pod.status.conditions.iter().any(|c| c.condition_type == "Ready" && c.status == "True");
    if !is_endpoint(pod.status.phase.as_deref(), is_ready, pod.metadata.deletion_timestamp.is_some()) {
        return None;
    }
    let ip = pod.status.pod_ips.first()?.parse().ok()?;
    Some(Pod { name: pod.metadata.name, ip, node_name: pod.spec.node_name })
}

/// As the EndpointSlice controller decides what a Service sends traffic to.
fn is_endpoint(phase: Option<&str>, is_ready: bool, is_being_deleted: bool) -> bool {
    // A kubelet that shuts down leaves pods that have failed, and stay Ready.
    is_ready && !is_being_deleted && !matches!(phase, Some("Failed" | "Succeeded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, last: u8) -> Pod {
        Pod { name: name.into(), ip: [127, 0, 0, last].into(), node_name: None }
    }

    #[test]
    fn a_snapshot_changes_when_the_ready_pods_do_and_then_its_generation_does() {
        let (sender, known) = channel(Known::default());
        let latest = || known.borrow().latest.clone().unwrap();
        let mut pods = BTreeMap::from([("a".to_string(), pod("a", 1)), ("b".to_string(), pod("b", 2))]);
        tell(&sender, &pods);
        let first = latest();
        assert_eq!(first.pod("b"), Some(&pod("b", 2)));
        assert_eq!((first.pod("c"), first.without("a").pods), (None, vec![pod("b", 2)]));
        tell(&sender, &pods);
        assert!(Arc::ptr_eq(&first, &latest()));
        pods.remove("a");
        tell(&sender, &pods);
        assert_ne!(latest().generation, first.generation);
        assert_eq!(latest().pods, [pod("b", 2)]);
    }

    #[test]
    fn a_pod_is_an_endpoint_while_it_is_ready_and_has_not_ended() {
        for phase in [Some("Running"), Some("Pending"), Some("Unknown"), None] {
            assert!(is_endpoint(phase, true, false), "{phase:?}");
            assert!(!is_endpoint(phase, false, false), "{phase:?}");
            assert!(!is_endpoint(phase, true, true), "{phase:?}");
        }
        for phase in ["Failed", "Succeeded"] {
            assert!(!is_endpoint(Some(phase), true, false), "{phase}");
        }
    }

    #[test]
    fn what_was_known_stays_while_the_watch_fails() {
        let (sender, known) = channel(Known::default());
        tell(&sender, &BTreeMap::from([("a".to_string(), pod("a", 1))]));
        failed(&sender, &Error::Instances(1));
        assert_eq!(known.borrow().latest.as_ref().unwrap().pods.len(), 1);
        assert!(known.borrow().problem.is_some());
    }
}
