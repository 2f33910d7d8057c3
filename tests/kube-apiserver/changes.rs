//! Changes that the cluster's administrator makes during a test.

use crate::{kubectl, succeeded, variable};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// The namespace in which tests change pods. Each test labels its pods, so that it sees no other test's.
pub fn namespace() -> String {
    format!("{}-watch", crate::namespace())
}

/// Creates a pod that no scheduler touches in any cluster, so that only the test changes it.
pub fn run(name: &str, test: &str) {
    let labels = format!("--labels=test={test}");
    let overrides = r#"--overrides={"spec":{"schedulerName":"nobody"}}"#;
    kubectl(&["run", name, "--namespace", &namespace(), "--image=registry.example.com/none", &labels, overrides]);
}

/// Sets a label.
pub fn label(name: &str, label: &str) {
    kubectl(&["label", "pod", name, label, "--overwrite", "--namespace", &namespace()]);
}

/// Deletes a pod at once.
pub fn delete(name: &str) {
    kubectl(&["delete", "pod", name, "--force", "--grace-period=0", "--namespace", &namespace()]);
}

/// Makes the server forget all states but the latest: those in etcd, and those that the API server itself keeps since Kubernetes 1.34 to
/// serve pages and lists of past states.
pub fn forget(test: &str) {
    // Create a state that is later than any that a test has seen.
    kubectl(&["annotate", "namespace", &namespace(), &format!("compacted-for={test}"), "--overwrite"]);
    let etcdctl = |args: &[&str]| succeeded(Command::new("etcdctl").args(args).output().unwrap());
    let endpoints: Value = serde_json::from_str(&etcdctl(&["endpoint", "status", "--write-out=json"])).unwrap();
    let revision = endpoints[0]["Status"]["header"]["revision"].as_u64().unwrap();
    etcdctl(&["compact", &revision.to_string()]);
    restart();
}

/// Restarts the API server, and waits until it is ready.
fn restart() {
    /// How long to wait for the start.
    const PATIENCE: Duration = Duration::from_secs(120);
    let command = variable("REAL_RESTART");
    succeeded(Command::new("sh").args(["-c", &command]).output().unwrap());
    let begun = Instant::now();
    let is_ready = || Command::new(variable("KUBECTL")).args(["get", "--raw", "/readyz"]).output().unwrap().status.success();
    while !is_ready() {
        assert!(begun.elapsed() < PATIENCE, "the API server is not ready");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Creates a token of a service account in the tests' own namespace.
pub fn token(account: &str) -> String {
    kubectl(&["create", "token", account, "--duration=10m", "--namespace", &variable("REAL_NAMESPACE")]).trim().into()
}
