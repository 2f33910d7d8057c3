//! Pods that list or watch, and the pods that tests add in the meantime.

use crate::kubectl::{applied, apply, field, get, kubectl, logs, says, tried};
use crate::{asked, until};
use serde_json::{Value, json};

/// The watchers, by the names of their pods.
pub const WATCHERS: [&str; 3] = ["binary", "standalone", "gateway"];

/// The kinds of pods that list and print: the name, the image, and the arguments that come before the command's own.
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

/// A namespace with a service account that may list and watch pods. It is removed when this is dropped.
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
        self.is_permitted(true);
    }

    /// Waits until the API server's authorizer knows that the account may list pods, or may not.
    pub fn is_permitted(&self, permitted: bool) {
        let account = format!("--as=system:serviceaccount:{0}:lister", self.0);
        let may = || tried(&["auth", "can-i", "list", "pods", "--namespace", &self.0, &account]);
        asked(|| match may() {
            answer if answer.is_ok() == permitted => Ok(()),
            answer => Err(format!("the account may list pods: {answer:?}, not {permitted}")),
        });
    }

    /// Creates a pod of the image with these arguments; `change` is merged into its usual specification.
    pub fn pod(&self, name: &str, image: &str, args: &[&str], change: &Value) {
        let metadata = json!({"name": name, "namespace": self.0, "labels": {"app": name}});
        let mut spec = spec(image, args, change);
        spec["restartPolicy"] = "Never".into();
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        asked(|| applied(&object));
    }

    /// Creates a Deployment of such pods.
    pub fn deployment(&self, name: &str, replicas: u32, image: &str, args: &[&str], change: &Value) {
        let labels = json!({"app": name});
        let template = json!({"metadata": {"labels": labels}, "spec": spec(image, args, change)});
        apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": self.0},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }));
    }

    /// Starts a watcher of each kind, and waits until each has seen the first pod.
    pub fn watch(&self) {
        self.watch_with(&json!({}));
    }

    /// Starts watchers like [`Namespace::watch`], with `change` merged into their specification.
    pub fn watch_with(&self, change: &Value) {
        self.watchers(change);
        self.step(0);
        for (kind, ..) in KINDS {
            says(&self.0, kind, "pod/step-000\n");
        }
        self.gateway_knows(1);
        // A later disturbance of the cluster would also affect a container that has not started yet.
        self.all_have_listed();
    }

    /// Creates a watcher of each kind, with `change` merged into its specification.
    pub fn watchers(&self, change: &Value) {
        for (kind, image, before) in KINDS {
            let args = [before, &pods_of_steps(&self.0), &["--watch"]].concat();
            self.pod(kind, image, &args, change);
        }
        self.gateway(change);
    }

    /// Creates a gateway with a route to the ready pods.
    pub fn gateway(&self, change: &Value) {
        let configuration = json!({
            "listen": "0.0.0.0:8080",
            "status": "0.0.0.0:8081",
            "tenants": {"steps": {"policy": {"rules": [
                {"verbs": ["watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": [self.0]}]}}},
            "routes": [{"tenant": "steps", "namespace": self.0, "labelSelector": "test=ready", "port": 8080}],
        });
        let metadata = json!({"name": "gateway", "namespace": self.0});
        apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"gateway.yaml": configuration.to_string()}}));
        let mount = json!([{"name": "configuration", "mountPath": "/etc/gateway", "readOnly": true}]);
        let mut own = json!({
            "volumes": [{"name": "configuration", "configMap": {"name": "gateway"}}],
            "containers": [{"name": "main", "volumeMounts": mount}],
        });
        merge(&mut own, change);
        self.pod("gateway", "incluster-gateway:0.1.0", &["/etc/gateway/gateway.yaml"], &own);
    }

    /// Waits until the gateway's status page contains this text. Returns the page.
    pub fn gateway_says(&self, text: &str) -> String {
        asked(|| match self.status_page() {
            Some(page) if page.contains(text) => Ok(page),
            page => Err(format!("the gateway says {text:?}, and not {page:?}")),
        })
    }

    fn status_page(&self) -> Option<String> {
        get(&field(&self.0, "pod/gateway", ".status.podIP"), 8081, "/").map(|(_, page)| page)
    }

    /// Waits until the gateway's ready pods are those of the first `steps` steps.
    pub fn gateway_knows(&self, steps: usize) {
        let all: Vec<String> = (0..steps).map(|number| format!("ready-{number:03}")).collect();
        asked(|| {
            let page = self.status_page().unwrap_or_default();
            let known: Vec<&str> =
                page.match_indices("ready-").filter_map(|(at, _)| page.get(at..at + "ready-000".len())).collect();
            if known == all { Ok(()) } else { Err(format!("the gateway knows {known:?}, not {all:?}: {page}")) }
        });
    }

    /// Adds the pods of one step, and pods that list them.
    pub fn step(&self, number: usize) {
        self.change(number);
        for (kind, image, before) in KINDS {
            let args = [before, &pods_of_steps(&self.0)].concat();
            self.pod(&format!("list-{kind}-{number}"), image, &args, &json!({}));
        }
    }

    /// Adds two pods: one with no event but that it was added, and one that is ready.
    pub fn change(&self, number: usize) {
        self.untouched(&format!("step-{number:03}"), "step");
        let ready = format!("ready-{number:03}");
        self.untouched(&ready, "ready");
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": "True"}], "podIPs": [{"ip": "192.0.2.250"}], "podIP": "192.0.2.250"}});
        let patch = ["--subresource=status", "--type=merge", "--patch", &status.to_string()];
        asked(|| tried(&[&["patch", "pod", &ready, "--namespace", &self.0], &patch[..]].concat()));
    }

    fn untouched(&self, name: &str, test: &str) {
        let object = self.untouched_pod(name, test);
        asked(|| applied(&object));
    }

    /// The manifest of a pod that no scheduler touches.
    pub fn untouched_pod(&self, name: &str, test: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": self.0, "labels": {"test": test}},
        "spec": {
            "schedulerName": "nobody",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "none", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        }})
    }

    /// Checks that each watcher has printed each step once and in order, that the gateway knows each ready pod, and that each list has
    /// the pods that existed when its own pod was made. A restarted API server may have forgotten the version that a watcher goes on
    /// from. The watcher then says so and prints all existing pods again, at most once for each of `relists` restarts.
    pub fn all_were_seen(&self, steps: usize, relists: usize) {
        let all = steps_until(steps);
        for (kind, ..) in KINDS {
            says(&self.0, kind, all.last().unwrap());
            let log = logs(&self.0, kind);
            // Split the log where the watcher lists again, which is where the first pod appears again. (Lines of stdout and stderr are not in order.)
            let seen = names(&log);
            let parts: Vec<&[&str]> = seen.chunk_by(|_, next| *next != all[0]).collect();
            assert_eq!(parts.len(), 1 + log.matches("listing again").count(), "{kind}: {log}");
            assert!(parts.len() <= 1 + relists, "{kind}: {log}");
            for part in parts {
                assert!(all.starts_with(&part.iter().map(ToString::to_string).collect::<Vec<_>>()), "{kind}: {log}");
            }
        }
        self.gateway_knows(steps);
        self.all_have_listed();
    }

    /// Waits until each listing pod has ended, and checks that it has listed the pods that existed when it was made.
    pub fn all_have_listed(&self) {
        let pods = kubectl(&["get", "pods", "--namespace", &self.0, "--output=name"]);
        for pod in pods.lines().filter(|pod| pod.starts_with("pod/list-")) {
            let number: usize = pod.rsplit('-').next().unwrap().parse().unwrap();
            let has_ended = |phase: &String| phase == "Succeeded" || phase == "Failed";
            let phase = until("a list", || Some(field(&self.0, pod, ".status.phase")).filter(has_ended));
            let log = logs(&self.0, pod);
            let listed = names(&log);
            assert!(phase == "Succeeded" && listed.len() > number && listed == steps_until(listed.len()), "{pod} {phase}: {log}");
        }
    }
}

/// A change of a specification: a volume of these sources in place of the usual one.
pub fn volume(sources: &Value, mode: u32) -> Value {
    json!({
        "automountServiceAccountToken": false,
        "volumes": [{"name": "account", "projected": {"defaultMode": mode, "sources": sources}}],
        "containers": [{"name": "main", "volumeMounts": [
            {"name": "account", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]}],
    })
}

/// A volume source: a token that expires after 10 minutes, the minimum, with `more` merged into its description.
pub fn token(more: &Value) -> Value {
    let mut token = json!({"path": "token", "expirationSeconds": 600});
    merge(&mut token, more);
    json!({"serviceAccountToken": token})
}

pub fn ca() -> Value {
    json!({"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}})
}

/// The arguments to list the steps, with a longer time limit: the default of 90 s is too short on a busy machine.
fn pods_of_steps(namespace: &str) -> [&str; 9] {
    ["pods", "-n", namespace, "-l", "test=step", "-o", "name", "--timeout", "600"]
}

fn steps_until(end: usize) -> Vec<String> {
    (0..end).map(|number| format!("pod/step-{number:03}")).collect()
}

fn names(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.starts_with("pod/")).collect()
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test that fails while the API server is away must not make the others fail.
        let _ = tried(&["delete", "namespace", &self.0, "--wait=false", "--ignore-not-found"]);
    }
}

/// A pod's specification, with this change.
fn spec(image: &str, args: &[&str], change: &Value) -> Value {
    let mut spec = json!({
        "serviceAccountName": "lister",
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
    spec
}

/// Merges `change` into `value` as Kubernetes does: members of objects, and items of lists, that have the same name are merged.
fn merge(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (name, change) in change {
                merge(value.entry(name).or_insert(Value::Null), change);
            }
        }
        (Value::Array(value), Value::Array(change)) => {
            for change in change {
                match value.iter_mut().find(|value| value["name"] == change["name"]) {
                    Some(value) => merge(value, change),
                    None => value.push(change.clone()),
                }
            }
        }
        (value, change) => *value = change.clone(),
    }
}
