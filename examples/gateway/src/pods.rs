//! The ready pods of a route, of a store that all routes with the same pods share.

use incluster::types::Pod as ApiPod;
use incluster::{Error, Freshness, PodStore, StoreOptions, Tenant};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

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

/// A pod as an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodEndpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it is to be sent requests.
    pub health: Health,
}

/// Whether a pod is to be sent requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is: a Service would do so.
    Ready,
    /// It is not ready.
    Unready,
    /// It is being deleted.
    Terminating,
}

/// What is known of some pods, for as long as this exists.
pub struct PodSet {
    store: PodStore,
    /// What was made of the store's latest snapshot that somebody asked for, and that one's generation.
    made: Mutex<Option<(u64, Arc<Snapshot>)>>,
}

impl PodSet {
    /// Begins to watch.
    pub fn watch(tenant: &Tenant, namespace: &str, label_selector: Option<&str>) -> Result<PodSet, Error> {
        let options = StoreOptions { label_selector: label_selector.map(Into::into), ..StoreOptions::default() };
        Ok(PodSet { store: tenant.pod_store(namespace, &options)?, made: Mutex::default() })
    }

    /// The ready pods. `None` if they are not known, and do not become known in so long a time.
    pub async fn ready(&self, wait: Duration) -> Option<Arc<Snapshot>> {
        if let Some(latest) = self.latest() {
            return Some(latest);
        }
        timeout(wait, self.store.wait_until_synced()).await.ok()??;
        self.latest()
    }

    /// The ready pods, if they are known.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.store.latest()?;
        let snapshot = match &*made {
            Some((generation, snapshot)) if *generation == stored.generation => return Some(snapshot.clone()),
            before => {
                let mut pods: Vec<_> = stored.ready().iter().filter_map(|pod| Pod::of(pod)).collect();
                pods.sort_by(|a, b| a.name.cmp(&b.name));
                // Most changes of a pod are none of whether it is ready.
                let same = before.as_ref().map(|(_, snapshot)| snapshot).filter(|snapshot| snapshot.pods == pods);
                same.cloned().unwrap_or_else(|| Arc::new(Snapshot::new(pods)))
            }
        };
        *made = Some((stored.generation, snapshot.clone()));
        Some(snapshot)
    }

    /// Waits until they are known.
    pub async fn until_known(&self) {
        let _ = self.store.wait_until_synced().await;
    }

    /// All pods that have an address and have not ended, at this port, and the generation that they are of; once they are known, and if they are
    /// others than those of a generation that is known.
    pub fn endpoints(&self, port: u16, known: Option<u64>) -> Option<(u64, Vec<PodEndpoint>)> {
        let stored = self.store.latest().filter(|stored| known != Some(stored.generation))?;
        // In the same order.
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
        Some((stored.generation, pods))
    }

    /// Waits until the pods are others than those of this generation; 0 is of none.
    pub async fn changed(&self, generation: u64) {
        if self.store.wait_for_change(generation).await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Why they may be out of date.
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
    fn a_snapshot_finds_and_leaves_out_by_name() {
        let pod = |name: &str, last: u8| Pod { name: name.into(), ip: [127, 0, 0, last].into(), node_name: None };
        let first = Snapshot::new(vec![pod("a", 1), pod("b", 2)]);
        assert_eq!(first.pod("b"), Some(&pod("b", 2)));
        let rest = first.without("a");
        assert_eq!((first.pod("c"), &*rest.pods), (None, &[pod("b", 2)][..]));
        assert_ne!(first.generation, rest.generation);
    }
}
