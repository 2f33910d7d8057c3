//! Pods that list or watch, and pods that come meanwhile.

use crate::kubectl::{applied, apply, kubectl, logs, says};
use crate::until;
use serde_json::{Value, json};

/// Those who watch: the image, and what comes before the arguments of the command.
pub const KINDS: [(&str, &str, &[&str]); 2] = [
    ("binary", "incluster:0.1.0", &[]),
    (
        "standalone",
        "incluster-wasmtime:0.1.0",
        &[
            "run",
            "--allow-precompiled",
            "-Ccache=n",
            "-Sinherit-network",
            "-Sinherit-env",
            "--dir=/var/run/secrets/kubernetes.io/serviceaccount",
            "/incluster-standalone.cwasm",
        ],
    ),
];

/// A namespace, removed when it is dropped, with an account that may list and watch pods.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(name: &str) -> Namespace {
        apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}));
        kubectl(&["create", "serviceaccount", "lister", "--namespace", name]);
        let namespace = Namespace(name.into());
        namespace.grant();
        namespace
    }

    pub fn grant(&self) {
        let name = &*self.0;
        kubectl(&["create", "role", "lister", "--namespace", name, "--verb=list,watch", "--resource=pods"]);
        let account = format!("--serviceaccount={name}:lister");
        kubectl(&["create", "rolebinding", "lister", "--namespace", name, "--role=lister", &account]);
    }

    /// A pod of the image with these arguments; `change` is what its specification has beside, or in place of, the usual.
    pub fn pod(&self, name: &str, image: &str, args: &[&str], change: &Value) {
        let mut spec = json!({
            "serviceAccountName": "lister",
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": image, "args": args,
                "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
            }],
        });
        merge(&mut spec, change);
        let metadata = json!({"name": name, "namespace": self.0, "labels": {"app": name}});
        apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    }

    /// A watcher of each kind, of pods with the label `test=step`. They have seen the first pod.
    pub fn watch(&self) {
        for (kind, image, before) in KINDS {
            // Six attempts, which are the default, are used up in 3 s, and 90 s are soon over where this machine is busy.
            let args = [
                before,
                &["pods", "-n", &self.0, "-l", "test=step", "--watch", "-o", "name", "--attempts", "1000", "--timeout", "600"],
            ]
            .concat();
            self.pod(kind, image, &args, &json!({}));
        }
        self.step(0);
        for (kind, ..) in KINDS {
            says(&self.0, kind, "pod/step-000\n");
        }
    }

    /// A pod that no scheduler touches: there is one event of it, that it was added.
    pub fn step(&self, number: usize) {
        let object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("step-{number:03}"), "namespace": self.0, "labels": {"test": "step"}},
        "spec": {
            "schedulerName": "nobody",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "none", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        }});
        until("a step", || applied(&object).ok());
    }

    /// Each watcher has printed each of so many steps once, and in their order. An API server that was started anew may have forgotten
    /// what comes after the last one that a watcher has seen: then that says so, and prints all that there are first.
    pub fn all_were_seen(&self, steps: usize) {
        let all: Vec<String> = (0..steps).map(|number| format!("pod/step-{number:03}")).collect();
        for (kind, ..) in KINDS {
            says(&self.0, kind, all.last().unwrap());
            let log = logs(&self.0, kind);
            for part in log.split("listing again") {
                let seen: Vec<&str> = part.lines().filter(|line| line.starts_with("pod/")).collect();
                assert_eq!(seen, all[..seen.len()], "{kind}: {log}");
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        kubectl(&["delete", "namespace", &self.0, "--wait=false", "--ignore-not-found"]);
    }
}

/// Puts what is in `change` over what is in `value`: objects are merged, lists item by item.
fn merge(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (name, change) in change {
                merge(value.entry(name).or_insert(Value::Null), change);
            }
        }
        (Value::Array(value), Value::Array(change)) if value.len() == change.len() => {
            value.iter_mut().zip(change).for_each(|(value, change)| merge(value, change));
        }
        (value, change) => *value = change.clone(),
    }
}
