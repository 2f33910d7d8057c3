//! The soak's callers, and the two kinds that make single calls: lists and `get_json`.

use crate::ledger::{Call, Ledger};
use crate::{paging, watching};
use fastrand::Rng;
use incluster::Tenant;
use incluster::types::{ListOptions, Pod};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

/// The resource version of each pod, by name.
pub type State = BTreeMap<String, String>;

/// The namespace that the callers use, and what they may expect in it.
#[derive(Clone)]
pub struct Bed {
    pub namespace: &'static str,
    /// The smallest number of pods at any time.
    pub fewest: usize,
    /// The range of page sizes.
    pub pages_of: Range<u32>,
    /// Returns the latest resource version, if it is known.
    pub version: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    /// How many callers there are of each kind.
    pub lists: usize,
    pub pages: usize,
    pub watches: usize,
    pub gets: usize,
}

/// The pod that is made last: a watch that has seen it has seen everything.
pub const LAST_POD: &str = "zz-last";

/// How long the callers may take to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// One caller, with its own random numbers.
pub struct Caller {
    pub tenant: Tenant,
    pub bed: Bed,
    pub ledger: Arc<Ledger>,
    pub random: Rng,
    /// The final pods, once the run is over.
    stopping: channel::Receiver<Option<State>>,
}

pub struct Callers {
    tasks: JoinSet<()>,
    stop: channel::Sender<Option<State>>,
}

impl Callers {
    pub fn start(tenant: &Tenant, bed: &Bed, ledger: &Arc<Ledger>, seed: u64) -> Callers {
        let (stop, stopping) = channel::channel(None);
        let mut tasks = JoinSet::new();
        let mut number = 0;
        let mut caller = || {
            number += 1;
            Caller {
                tenant: tenant.clone(),
                bed: bed.clone(),
                ledger: ledger.clone(),
                random: Rng::with_seed(seed ^ number),
                stopping: stopping.clone(),
            }
        };
        (0..bed.lists).for_each(|_| drop(tasks.spawn(lists(caller()))));
        (0..bed.pages).for_each(|_| drop(tasks.spawn(paging::pages(caller()))));
        (0..bed.watches).for_each(|_| drop(tasks.spawn(watching::watches(caller()))));
        (0..bed.gets).for_each(|_| drop(tasks.spawn(gets(caller()))));
        Callers { tasks, stop }
    }

    /// Lets the callers finish their current work. The watches go on until they have seen everything, including [`LAST_POD`].
    pub async fn stop(mut self, state: State) -> Vec<String> {
        self.stop.send_replace(Some(state));
        let mut problems = Vec::new();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                problems.extend(ended.err().map(|panicked| format!("a caller panicked: {panicked}")));
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            problems.push(format!("{} callers did not end within {PATIENCE:?}", self.tasks.len()));
        }
        problems
    }
}

impl Caller {
    pub fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Waits for the end of the run, and returns the final pods.
    pub async fn last_state(&mut self) -> State {
        let stopping = self.stopping.wait_for(Option::is_some).await;
        stopping.ok().and_then(|state| state.clone()).unwrap_or_default()
    }

    pub fn wrong(&self, what: String) {
        self.ledger.wrong(what);
    }
}

/// Parses a resource version as a number.
pub fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

/// Whether the names are in ascending order, each once.
pub fn is_in_order(pods: &[Pod]) -> bool {
    pods.is_sorted_by(|a, b| a.metadata.name < b.metadata.name)
}

async fn lists(caller: Caller) {
    // A list that begins after another one has ended must not be older.
    let mut last = 0;
    while !caller.is_stopping() {
        let begun = Instant::now();
        let before = (caller.bed.version)().unwrap_or(last);
        match caller.tenant.list_namespaced_pods(caller.bed.namespace, &ListOptions::ALL).await {
            Ok(list) => {
                let (version, after) = (number(&list.resource_version), (caller.bed.version)().unwrap_or(u64::MAX));
                if version < before || version > after {
                    caller.wrong(format!("a list has version {version}, requested between versions {before} and {after}"));
                }
                last = version;
                if !is_in_order(&list.items) || list.items.len() < caller.bed.fewest || list.continue_token.is_some() {
                    caller.wrong(format!("a list has {} pods, in order: {}", list.items.len(), is_in_order(&list.items)));
                }
                caller.ledger.count("lists");
            }
            Err(error) => caller.ledger.failed(Call::List, begun, &error),
        }
    }
}

async fn gets(mut caller: Caller) {
    let path = format!("/api/v1/namespaces/{}/pods", caller.bed.namespace);
    while !caller.is_stopping() {
        let begun = Instant::now();
        let limit = caller.random.usize(1..=caller.bed.fewest.min(50));
        match caller.tenant.get_json(&format!("{path}?limit={limit}")).await {
            Ok(json) => {
                let list: Value = serde_json::from_slice(&json).unwrap_or_default();
                if list["items"].as_array().map(Vec::len) != Some(limit) {
                    caller.wrong(format!("expected a JSON list of {limit} pods, got {} bytes", json.len()));
                }
                caller.ledger.count("get-json");
            }
            Err(error) => caller.ledger.failed(Call::GetJson, begun, &error),
        }
    }
}
