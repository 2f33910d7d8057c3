//! incluster in real pods: the manifests of `deploy/`, on the volume that the kubelet mounts. `run.sh` sets it up.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod accounts;
mod audit;
mod authorities;
mod controller;
mod deploy;
mod disturbed;
mod kubectl;
mod volumes;
mod watchers;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// There is one cluster, and tests run beside each other.
static CLUSTER: RwLock<()> = RwLock::new(());

/// For a test that needs the cluster as it is. It is the first that it has, so that it has it until its namespaces are gone.
fn undisturbed() -> RwLockReadGuard<'static, ()> {
    CLUSTER.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that disturbs the cluster.
fn alone() -> RwLockWriteGuard<'static, ()> {
    CLUSTER.write().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `./justw test-pods`"))
}

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    asked(|| ask().ok_or_else(|| what.to_string()))
}

/// The same, with what the last answer said.
fn asked<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(begun.elapsed() < PATIENCE, "not after {PATIENCE:?}: {last}"),
        }
        // What is waited for needs the processor, too.
        std::thread::sleep(PAUSE);
    }
}
