//! The callers, and those of them that make one call after the other.

use crate::ledger::{Call, Ledger};
use crate::{paging, watching};
use fastrand::Rng;
use incluster::Tenant;
use incluster::types::{ListOptions, Pod};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testbed::PodStore;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

const LISTS: u64 = 6;
const PAGES: u64 = 5;
const WATCHES: u64 = 6;
const GETS: u64 = 3;

/// The pod that is made last: a watch that knows it knows all.
pub const LAST_POD: &str = "zz-last";

/// How long the callers may take to come to an end.
const PATIENCE: Duration = Duration::from_secs(90);

/// One caller, with randomness of its own.
pub struct Caller {
    pub tenant: Tenant,
    pub store: PodStore,
    pub ledger: Arc<Ledger>,
    pub random: Rng,
    stopping: channel::Receiver<bool>,
}

pub struct Callers {
    tasks: JoinSet<()>,
    stop: channel::Sender<bool>,
}

impl Callers {
    pub fn start(tenant: &Tenant, store: &PodStore, ledger: &Arc<Ledger>, seed: u64) -> Callers {
        let (stop, stopping) = channel::channel(false);
        let mut tasks = JoinSet::new();
        for number in 0..LISTS + PAGES + WATCHES + GETS {
            let caller = Caller {
                tenant: tenant.clone(),
                store: store.clone(),
                ledger: ledger.clone(),
                random: Rng::with_seed(seed ^ (number + 1)),
                stopping: stopping.clone(),
            };
            match number {
                n if n < LISTS => tasks.spawn(lists(caller)),
                n if n < LISTS + PAGES => tasks.spawn(paging::pages(caller)),
                n if n < LISTS + PAGES + WATCHES => tasks.spawn(watching::watches(caller)),
                _ => tasks.spawn(gets(caller)),
            };
        }
        Callers { tasks, stop }
    }

    /// Lets the callers finish what they do; the watches go on until they know all.
    pub async fn stop(mut self, store: &PodStore) -> Vec<String> {
        store.add(LAST_POD);
        self.stop.send_replace(true);
        let mut problems = Vec::new();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                problems.extend(ended.err().map(|panicked| format!("a caller ended: {panicked}")));
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            problems.push(format!("{} callers did not come to an end in {PATIENCE:?}", self.tasks.len()));
        }
        problems
    }
}

impl Caller {
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// What the store's latest version is, as a number.
    pub fn version(&self) -> u64 {
        number(&self.store.resource_version())
    }

    pub fn wrong(&self, what: String) {
        self.ledger.wrong(what);
    }
}

/// A resource version of the testbed's, which are numbers.
pub fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

/// The names in ascending order, each once.
pub fn is_in_order(pods: &[Pod]) -> bool {
    pods.is_sorted_by(|a, b| a.metadata.name < b.metadata.name)
}

async fn lists(caller: Caller) {
    while !caller.is_stopping() {
        let (begun, before) = (Instant::now(), caller.version());
        match caller.tenant.list_namespaced_pods("shop", &ListOptions::ALL).await {
            Ok(list) => {
                let (version, after) = (number(&list.resource_version), caller.version());
                if version < before || version > after {
                    caller.wrong(format!("a list of version {version}, asked for between {before} and {after}"));
                }
                if !is_in_order(&list.items) || list.items.len() < 100 || list.continue_token.is_some() {
                    caller.wrong(format!("a list of {} pods, in order: {}", list.items.len(), is_in_order(&list.items)));
                }
                caller.ledger.count("lists");
            }
            Err(error) => caller.ledger.failed(Call::List, begun, &error),
        }
    }
}

async fn gets(mut caller: Caller) {
    while !caller.is_stopping() {
        let begun = Instant::now();
        let limit = caller.random.usize(1..50);
        match caller.tenant.get_json(&format!("/api/v1/namespaces/shop/pods?limit={limit}")).await {
            Ok(json) => {
                let list: Value = serde_json::from_slice(&json).unwrap_or_default();
                if list["items"].as_array().map(Vec::len) != Some(limit) {
                    caller.wrong(format!("not a JSON list of {limit} pods, but {} bytes", json.len()));
                }
                caller.ledger.count("get-json");
            }
            Err(error) => caller.ledger.failed(Call::GetJson, begun, &error),
        }
    }
}
