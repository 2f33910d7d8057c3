//! Disturbs the components of a real cluster.

use super::admin::{Admin, output, variable};
use crate::ledger::{Deed, Ledger};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testbed::Volume;
use tokio::time::{Instant, sleep};

/// How long the cluster is left alone between two disturbances, in milliseconds.
const REST: std::ops::Range<u64> = 500..4000;

/// How long the API server stays away, in milliseconds.
const ABSENCE: std::ops::Range<u64> = 1000..10_000;

/// How long a run must be for each kind of disturbance to be required.
const ALL: Duration = Duration::from_secs(300);

/// A kind of disturbance.
#[derive(Clone, Copy)]
enum Kind {
    ApiServerRestarted,
    ApiServerAway,
    EtcdRestarted,
    Compaction,
    Restarted(&'static str),
    TokenRotation,
}

/// Each kind, its name, and how many times it is in a deck.
const CARDS: [(Kind, &str, usize); 10] = [
    (Kind::ApiServerRestarted, "API server restarted", 2),
    (Kind::ApiServerAway, "API server stopped for up to 10 s", 1),
    (Kind::EtcdRestarted, "etcd restarted", 1),
    (Kind::Compaction, "compactions", 4),
    (Kind::Restarted("kubelet"), "kubelet restarted", 1),
    (Kind::Restarted("controllers"), "controller manager restarted", 1),
    (Kind::Restarted("scheduler"), "scheduler restarted", 1),
    (Kind::Restarted("containerd"), "containerd restarted", 1),
    (Kind::Restarted("proxy"), "kube-proxy restarted", 1),
    (Kind::TokenRotation, "token rotations", 3),
];

pub struct Disturbances {
    admin: Arc<Admin>,
    volume: Arc<Volume>,
    ledger: Arc<Ledger>,
    namespace: &'static str,
    random: Rng,
}

/// How many times each disturbance was done.
#[derive(Default)]
pub struct Done {
    pub counts: BTreeMap<&'static str, usize>,
}

impl Done {
    /// Reports the disturbances that a run of this length should have had and did not.
    pub fn missing(&self, time: Duration) -> Vec<String> {
        let missing = CARDS.iter().filter(|(_, name, _)| time >= ALL && !self.counts.contains_key(name));
        missing.map(|(_, name, _)| format!("in {} s this disturbance never occurred: {name}", time.as_secs())).collect()
    }
}

impl Disturbances {
    pub fn new(
        admin: &Arc<Admin>,
        volume: &Arc<Volume>,
        ledger: &Arc<Ledger>,
        namespace: &'static str,
        random: Rng,
    ) -> Disturbances {
        Disturbances { admin: admin.clone(), volume: volume.clone(), ledger: ledger.clone(), namespace, random }
    }

    /// Disturbs the cluster for that time, then waits until the API server is ready.
    pub async fn run(mut self, time: Duration) -> Done {
        let end = Instant::now() + time;
        let (mut done, mut deck) = (Done::default(), Vec::new());
        while Instant::now() < end {
            if deck.is_empty() {
                deck = CARDS.iter().flat_map(|(kind, name, count)| std::iter::repeat_n((*kind, *name), *count)).collect();
                self.random.shuffle(&mut deck);
            }
            let Some((kind, name)) = deck.pop() else { continue };
            self.disturb(kind).await;
            *done.counts.entry(name).or_default() += 1;
            sleep(Duration::from_millis(self.random.u64(REST))).await;
        }
        self.admin.until_ready().await;
        done
    }

    async fn disturb(&mut self, kind: Kind) {
        match kind {
            Kind::ApiServerRestarted => {
                let deed = self.ledger.begin(Deed::Restarted);
                component("restart", "apiserver").await;
                self.is_back(deed).await;
            }
            Kind::ApiServerAway => {
                let deed = self.ledger.begin(Deed::Restarted);
                component("stop", "apiserver").await;
                sleep(Duration::from_millis(self.random.u64(ABSENCE))).await;
                component("start", "apiserver").await;
                self.is_back(deed).await;
            }
            Kind::EtcdRestarted => {
                let deed = self.ledger.begin(Deed::Restarted);
                component("restart", "etcd").await;
                self.is_back(deed).await;
            }
            Kind::Compaction => {
                let deed = self.ledger.begin(Deed::Compacted);
                compact().await;
                self.ledger.end(deed);
            }
            Kind::Restarted(name) => component("restart", name).await,
            Kind::TokenRotation => self.volume.set("token", self.admin.token(self.namespace).await.as_bytes()),
        }
    }

    async fn is_back(&self, deed: usize) {
        self.admin.until_ready().await;
        self.ledger.end(deed);
    }
}

/// Stops, starts or restarts a component of the cluster.
async fn component(verb: &str, name: &str) {
    output(&variable("CLUSTER"), &[verb, name]).await.unwrap_or_else(|error| panic!("{verb} {name}: {error}"));
}

/// Compacts etcd: it forgets all revisions but the latest.
async fn compact() {
    let status = output("etcdctl", &["endpoint", "status", "--write-out=json"]).await.expect("etcd");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let revision = status[0]["Status"]["header"]["revision"].to_string();
    if let Err(error) = output("etcdctl", &["compact", &revision]).await {
        // The API server may have compacted it in between.
        assert!(error.contains("compacted"), "{error}");
    }
}
