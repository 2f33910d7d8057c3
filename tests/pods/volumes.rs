//! Volumes that are not as they should be, and what a person then reads.

use crate::kubectl::{field, kubectl, says};
use crate::until;
use crate::watchers::Namespace;
use serde_json::{Value, json};

/// What a pod of this specification says.
fn failing(namespace: &Namespace, name: &str, change: &Value, text: &str) {
    namespace.pod(name, "incluster:0.1.0", &["pods", "-n", &namespace.0], change);
    let log = says(&namespace.0, name, text);
    println!("{name}: {}", log.trim());
}

/// A volume of these sources in place of the usual one.
fn volume(sources: &Value, mode: u32) -> Value {
    json!({
        "automountServiceAccountToken": false,
        "volumes": [{"name": "account", "projected": {"defaultMode": mode, "sources": sources}}],
        "containers": [{"volumeMounts": [
            {"name": "account", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]}],
    })
}

#[test]
fn what_is_wrong_with_a_volume_is_said() {
    let namespace = Namespace::new("volumes");
    let token = |more: &Value| {
        let mut token = json!({"path": "token", "expirationSeconds": 600});
        token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"serviceAccountToken": token})
    };
    let ca = json!({"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}});
    failing(&namespace, "no-volume", &json!({"automountServiceAccountToken": false}), "automountServiceAccountToken");
    failing(&namespace, "token-alone", &volume(&json!([token(&json!({}))]), 0o644), "ca.crt");
    failing(&namespace, "other-audience", &volume(&json!([token(&json!({"audience": "other"})), ca]), 0o644), "Unauthorized");
    // Another user's, which is root.
    failing(&namespace, "of-root", &volume(&json!([token(&json!({})), ca]), 0o400), "ermission denied");
    // It has what it needs, for ten minutes, and no namespace file.
    failing(&namespace, "brief", &volume(&json!([token(&json!({})), ca]), 0o644), "NAME ");
}

#[test]
fn on_the_nodes_own_network() {
    let namespace = Namespace::new("host-network");
    kubectl(&["label", "--overwrite", "namespace", "host-network", "pod-security.kubernetes.io/enforce=privileged"]);
    failing(&namespace, "node", &json!({"hostNetwork": true}), "NAME ");
}

#[test]
#[ignore = "there are no user namespaces for pods here: they take containerd 2 and runc 1.2"]
fn in_a_user_namespace() {
    let namespace = Namespace::new("user-namespace");
    failing(&namespace, "mapped", &json!({"hostUsers": false}), "NAME ");
}

/// From 24 MiB on, 60 pods and more are listed.
#[test]
fn little_memory_is_enough() {
    let namespace = Namespace::new("memory");
    let limit =
        |memory: &str| json!({"containers": [{"resources": {"requests": {"memory": memory}, "limits": {"memory": memory}}}]});
    failing(&namespace, "enough", &limit("24Mi"), "NAME ");
    // With less, the kernel ends it at some point, and Kubernetes says why.
    namespace.pod("too-little", "incluster:0.1.0", &["pods", "-n", "memory"], &limit("4Mi"));
    let state = || field("memory", "pod/too-little", ".status.containerStatuses[0].state");
    let ended = until("it ends", || Some(state()).filter(|state| state.contains("OOMKilled") || state.contains("StartError")));
    println!("with 4 MiB: {ended}");
}
