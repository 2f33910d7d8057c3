//! Tests of faulty volumes and the resulting messages, and of little memory.

use crate::kubectl::{apply, field, kubectl, says};
use crate::watchers::{KINDS, Namespace, ca, token, volume};
use crate::{undisturbed, until};
use serde_json::{Value, json};

/// Creates a pod of each kind for each case (name, change of the specification, expected text), and waits until it has printed the text. If
/// the folder is missing, the wasmtime CLI fails by itself before the component begins.
fn say(namespace: &Namespace, cases: &[(&str, Value, &str)]) {
    for (name, change, _) in cases {
        for (kind, image, before) in KINDS {
            let args = [before, &["pods", "-n", &namespace.0][..]].concat();
            namespace.pod(&format!("{name}-{kind}"), image, &args, change);
        }
    }
    for (name, _, text) in cases {
        for (kind, ..) in KINDS {
            let text = if (*name, kind) == ("no-volume", "standalone") { "No such file or directory" } else { text };
            let log = says(&namespace.0, &format!("{name}-{kind}"), text);
            println!("{name}-{kind}: {}", log.lines().next().unwrap_or_default());
        }
    }
}

#[test]
fn what_is_wrong_with_a_volume_is_said() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("volumes");
    let usual = || json!([token(&json!({})), ca()]);
    let other_audience = json!([token(&json!({"audience": "other"})), ca()]);
    say(
        &namespace,
        &[
            ("no-volume", json!({"automountServiceAccountToken": false}), "automountServiceAccountToken"),
            ("token-alone", volume(&json!([token(&json!({}))]), 0o644), "ca.crt"),
            ("other-audience", volume(&other_audience, 0o644), "Unauthorized"),
            // Readable only by root.
            ("of-root", volume(&usual(), 0o400), "ermission denied"),
            // A namespace file is not needed.
            ("no-namespace", volume(&usual(), 0o644), "NAME "),
        ],
    );
}

/// A gateway without a volume goes on running, and says on its status page what to check.
#[test]
fn a_gateway_says_what_is_wrong_with_its_volume() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("no-volume");
    namespace.gateway(&json!({"automountServiceAccountToken": false}));
    namespace.gateway_says("automountServiceAccountToken");
}

#[test]
fn on_the_nodes_own_network() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("host-network");
    kubectl(&["label", "--overwrite", "namespace", "host-network", "pod-security.kubernetes.io/enforce=privileged"]);
    say(&namespace, &[("node", json!({"hostNetwork": true}), "NAME ")]);
}

#[test]
#[ignore = "there are no user namespaces for pods here: they take containerd 2 and runc 1.2"]
fn in_a_user_namespace() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("user-namespace");
    say(&namespace, &[("mapped", json!({"hostUsers": false}), "NAME ")]);
}

/// 24 MiB is enough for a list of 60 pods.
#[test]
fn little_memory_is_enough() {
    let _undisturbed = undisturbed();
    let namespace = Namespace::new("memory");
    let many: Vec<Value> = (0..60).map(|number| namespace.untouched_pod(&format!("one-of-many-{number}"), "many")).collect();
    apply(&json!({"apiVersion": "v1", "kind": "List", "items": many}));
    let limit = |memory: &str| {
        let resources = json!({"requests": {"memory": memory}, "limits": {"memory": memory}});
        json!({"containers": [{"name": "main", "resources": resources}]})
    };
    say(&namespace, &[("enough", limit("24Mi"), "one-of-many-59")]);
    // With much less, the kernel kills the process at some point, and Kubernetes says why.
    namespace.pod("too-little", "incluster:0.1.0", &["pods", "-n", "memory"], &limit("4Mi"));
    let state = || field("memory", "pod/too-little", ".status.containerStatuses[0].state");
    let ended = until("it ends", || Some(state()).filter(|state| state.contains("OOMKilled") || state.contains("StartError")));
    println!("with 4 MiB: {ended}");
}
