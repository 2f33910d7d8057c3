//! Tests of incluster in real pods: the manifests of `deploy/`, with the volume that the kubelet mounts. `run.sh` sets up the cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod accounts;
mod audit;
mod authorities;
mod controller;
mod deploy;
mod disturbed;
mod envoy;
mod kubectl;
mod volumes;
mod watchers;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// The lock of the cluster, which concurrent tests share.
static CLUSTER: RwLock<()> = RwLock::new(());

/// Locks the cluster for a test that needs it undisturbed. A test takes the lock first, so that it is released after its namespaces are gone.
fn undisturbed() -> RwLockReadGuard<'static, ()> {
    CLUSTER.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the cluster for a test that disturbs it.
fn alone() -> RwLockWriteGuard<'static, ()> {
    CLUSTER.write().unwrap_or_else(PoisonError::into_inner)
}

/// How long to wait for anything in the cluster.
const PATIENCE: Duration = Duration::from_secs(120);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `./justw test-pods`"))
}

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Calls `ask` until it returns an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    asked(|| ask().ok_or_else(|| what.to_string()))
}

/// Calls `ask` until it succeeds. If it does not in time, the panic has its last error.
fn asked<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(begun.elapsed() < PATIENCE, "not after {PATIENCE:?}: {last}"),
        }
        // Leave the CPU to what the test waits for.
        std::thread::sleep(PAUSE);
    }
}
