//! What is done to the cluster meanwhile, by its administrator.

use crate::{kubectl, succeeded, variable};
use serde_json::Value;
use std::process::Command;

/// The namespace in which tests change pods. Each has a label of its own, so that none sees another's.
pub fn namespace() -> String {
    format!("{}-watch", crate::namespace())
}

/// Makes a pod that no scheduler touches, whatever the cluster: what happens to it is what the test does.
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

/// The server's etcd. `None`, and a line that says so, if it is out of reach: then
/// nobody knows what the server has forgotten.
pub fn etcd(test: &str) -> Option<String> {
    let etcd = std::env::var("REAL_ETCD").ok();
    if etcd.is_none() {
        println!("{test}: skipped: the etcd of KUBECONFIG's cluster is out of reach");
    }
    etcd
}

/// Makes the server forget all states but the latest. `false` if etcd is out of reach.
pub fn compact(test: &str) -> bool {
    let Some(etcd) = etcd(test) else { return false };
    // There is a later state than any that a test has seen.
    kubectl(&["annotate", "namespace", &namespace(), &format!("compacted-for={test}"), "--overwrite"]);
    let etcdctl = |args: &[&str]| {
        let mut command = Command::new("etcdctl");
        succeeded(command.env("ETCDCTL_API", "3").arg(format!("--endpoints={etcd}")).args(args).output().unwrap())
    };
    let endpoints: Value = serde_json::from_str(&etcdctl(&["endpoint", "status", "--write-out=json"])).unwrap();
    let revision = endpoints[0]["Status"]["header"]["revision"].as_u64().unwrap();
    etcdctl(&["compact", &revision.to_string()]);
    true
}

/// A token of a service account in the tests' own namespace.
pub fn token(account: &str) -> String {
    kubectl(&["create", "token", account, "--duration=10m", "--namespace", &variable("REAL_NAMESPACE")]).trim().into()
}
