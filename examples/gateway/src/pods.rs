//! The ready pods of a route, from a store that all routes with the same pods share.

use incluster::types::Pod as ApiPod;
use incluster::{Error, Freshness, PodStore, StoreOptions, Tenant};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A pod that is ready and not terminating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The pod's name.
    pub name: String,
    /// The pod's address.
    pub ip: IpAddr,
    /// The node that the pod runs on.
    pub node_name: Option<String>,
}

/// The ready pods at one moment, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The generation of the snapshot: two snapshots of one generation are the same.
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
}

/// A pod as an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodEndpoint {
    /// The address that the pod listens on.
    pub address: SocketAddr,
    /// Whether the pod should get requests.
    pub health: Health,
}

/// Whether a pod should get requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The pod should get requests: a Service would send it some.
    Ready,
    /// The pod is not ready.
    Unready,
    /// The pod is being deleted.
    Terminating,
}

/// The state of a route's pods from which something was made. The default stands for no state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    set: u64,
    number: u64,
    port: u16,
}

/// The pods of a namespace that match a label selector, which are watched for as long as this exists.
pub struct PodSet {
    /// A number that is different for each set.
    id: u64,
    store: PodStore,
    /// The same pods, as the tenant watched them before its settings changed. They are used until all pods have come again.
    before: Mutex<Option<Arc<PodSet>>>,
    /// The snapshot that was made last, and the generation of the store's snapshot that it was made from.
    made: Mutex<Option<(u64, Arc<Snapshot>)>>,
}

impl PodSet {
    /// Begins to watch. `before` is a set of the same pods, of the same account.
    pub fn watch(
        tenant: &Tenant,
        namespace: &str,
        label_selector: Option<&str>,
        before: Option<Arc<PodSet>>,
    ) -> Result<PodSet, Error> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let options = StoreOptions { label_selector: label_selector.map(Into::into), ..StoreOptions::default() };
        let store = tenant.pod_store(namespace, &options)?;
        // If the set before is not known itself, the one before that may be.
        let before = before.and_then(|before| before.before().or(Some(before)));
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Ok(PodSet { id, store, before: Mutex::new(before), made: Mutex::default() })
    }

    /// The set that is used until this one is known.
    fn before(&self) -> Option<Arc<PodSet>> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        if before.is_some() && self.store.latest().is_some() {
            *before = None;
        }
        before.clone()
    }

    /// The ready pods. `None` if they are not known, and do not become known within `wait`.
    pub async fn ready(&self, wait: Duration) -> Option<Arc<Snapshot>> {
        if let Some(latest) = self.latest() {
            return Some(latest);
        }
        // The store tries again after a failure, and no request waits for that.
        if matches!(self.store.freshness(), Freshness::NotSynced { problem: Some(_) }) {
            return None;
        }
        timeout(wait, self.store.wait_until_synced()).await.ok()??;
        self.latest()
    }

    /// The ready pods, if they are known.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        if let Some(before) = self.before() {
            return before.latest();
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.store.latest()?;
        let snapshot = match &*made {
            Some((generation, snapshot)) if *generation == stored.generation => return Some(snapshot.clone()),
            before => {
                let mut pods: Vec<_> = stored.ready().iter().filter_map(|pod| Pod::of(pod)).collect();
                pods.sort_by(|a, b| a.name.cmp(&b.name));
                // Most changes of pods do not change which are ready.
                let same = before.as_ref().map(|(_, snapshot)| snapshot).filter(|snapshot| snapshot.pods == pods);
                same.cloned().unwrap_or_else(|| Arc::new(Snapshot::new(pods)))
            }
        };
        *made = Some((stored.generation, snapshot.clone()));
        Some(snapshot)
    }

    /// Waits until the pods are known.
    pub async fn until_known(&self) {
        if self.latest().is_some() {
            return;
        }
        let _ = self.store.wait_until_synced().await;
    }

    /// All pods that have an address and have not ended, at this port, with their generation. `None` while they are not known, and
    /// if they are still those of the generation `known`.
    pub fn endpoints(&self, port: u16, known: Generation) -> Option<(Generation, Vec<PodEndpoint>)> {
        if let Some(before) = self.before() {
            return before.endpoints(port, known);
        }
        let stored = self.store.latest()?;
        let generation = Generation { set: self.id, number: stored.generation, port };
        if generation == known {
            return None;
        }
        // The ready pods are in the same order as all pods.
        let ready = stored.ready();
        let mut ready = ready.iter().peekable();
        let has_ended = |pod: &ApiPod| matches!(pod.status.phase.as_deref(), Some("Failed" | "Succeeded"));
        let endpoint = |pod: &Arc<ApiPod>| {
            let ip: IpAddr = pod.status.pod_ips.first()?.parse().ok()?;
            let health = match ready.next_if(|ready| Arc::ptr_eq(ready, pod)).is_some() {
                true => Health::Ready,
                false if pod.metadata.deletion_timestamp.is_some() => Health::Terminating,
                false => Health::Unready,
            };
            Some(PodEndpoint { address: (ip, port).into(), health })
        };
        let pods = stored.objects.iter().filter(|pod| !has_ended(pod)).filter_map(endpoint).collect();
        Some((generation, pods))
    }

    /// Waits until the pods are no longer those of this generation, at whatever port.
    pub async fn changed(&self, generation: Generation) {
        let before = self.before();
        let changed = async |set: &PodSet| {
            // In another set, everything is new.
            let number = if generation.set == set.id { generation.number } else { 0 };
            if set.store.wait_for_change(number).await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        match before {
            None => changed(self).await,
            Some(before) => tokio::select! {
                () = changed(self) => {}
                () = changed(&before) => {}
            },
        }
    }

    /// Why the pods may be out of date.
    pub fn problem(&self) -> Option<String> {
        match self.store.freshness() {
            Freshness::NotSynced { problem } => problem,
            Freshness::Stale { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

impl Pod {
    /// What a route needs to know of a pod.
    fn of(pod: &ApiPod) -> Option<Pod> {
        let ip = pod.status.pod_ips.first()?.parse().ok()?;
        Some(Pod { name: pod.metadata.name.clone(), ip, node_name: pod.spec.node_name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_finds_pods_by_name() {
        let pod = |name: &str, last: u8| Pod { name: name.into(), ip: [127, 0, 0, last].into(), node_name: None };
        let snapshot = Snapshot::new(vec![pod("a", 1), pod("b", 2)]);
        assert_eq!((snapshot.pod("b"), snapshot.pod("c")), (Some(&pod("b", 2)), None));
        assert_ne!(snapshot.generation, Snapshot::new(vec![]).generation);
    }
}
