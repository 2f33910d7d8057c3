//! Tests of the manifests of `deploy/`, as an operator applies them.

use crate::kubectl::{apply, field, get, kubectl, logs, says, tried};
use crate::watchers::Namespace;
use crate::{PAUSE, asked, audit, undisturbed, until, variable};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};

/// The manifests' namespace, with the service account that all of them run as.
pub static SHOP: LazyLock<Namespace> = LazyLock::new(|| {
    file("namespace");
    file("rbac");
    // A pod that names no account needs the default one, which the controller manager creates a moment after the namespace.
    kubectl(&["wait", "--namespace=shop", "--for=create", "serviceaccount/default", "--timeout=60s"]);
    let shop = Namespace("shop".into());
    shop.is_permitted(true);
    shop
});

/// Locks the cluster for a test in the manifests' namespace, which is created first.
pub fn in_shop() -> RwLockReadGuard<'static, ()> {
    let undisturbed = undisturbed();
    LazyLock::force(&SHOP);
    undisturbed
}

pub fn file(name: &str) {
    kubectl(&["apply", "-f", &format!("{}/../../deploy/{name}.yaml", env!("CARGO_MANIFEST_DIR"))]);
}

#[test]
fn jobs_list_pods() {
    let _undisturbed = in_shop();
    for (manifest, job) in [("list", "job/list"), ("wasmtime", "job/wasmtime")] {
        file(manifest);
        kubectl(&["wait", "--namespace=shop", "--for=condition=complete", job, "--timeout=60s"]);
        let log = logs("shop", job);
        assert!(log.starts_with("NAME ") && log.contains(&job[4..]), "{log}");
    }
}

#[test]
fn a_deployment_watches_pods() {
    let _undisturbed = in_shop();
    file("watch");
    kubectl(&["rollout", "status", "--namespace=shop", "deployment/watch", "--timeout=60s"]);
    says("shop", "deployment/watch", "1/1     Running");
    SHOP.step(1);
    says("shop", "deployment/watch", "step-001");
    assert!(get(&pod_ip("app=watch"), 9090, "/metrics").unwrap().1.contains("incluster_requests_total"));

    let pod =
        kubectl(&["get", "pods", "--namespace=shop", "--selector=app=watch", "--output=jsonpath={.items[0].metadata.name}"]);
    assert_eq!(restarts(&pod), "0");
    stop(&pod, "incluster");
    until("liveness fails", || (restarts(&pod) == "1").then_some(()));
}

/// A program that is composed with the client by the README's command lists pods.
#[test]
fn a_composed_program_lists_pods() {
    let _undisturbed = in_shop();
    let dir = tempfile::tempdir().unwrap();
    let [plugin, composed] = ["plugin.wasm", "out.wasm"].map(|name| dir.path().join(name).to_str().unwrap().to_string());
    // The program is small enough for a ConfigMap. It lists pods with the label `tier=edge`.
    std::fs::write(&plugin, extensions::PODS).unwrap();
    let mut edge = SHOP.untouched_pod("edge", "composed");
    edge["metadata"]["labels"]["tier"] = "edge".into();
    apply(&edge);
    let composing = Command::new(variable("INCLUSTER")).args(["compose", "--standalone", &plugin, "-o", &composed]).status();
    assert!(composing.unwrap().success());
    kubectl(&["create", "configmap", "program", "--namespace=shop", &format!("--from-file={composed}")]);
    file("program");
    kubectl(&["wait", "--namespace=shop", "--for=condition=complete", "job/program", "--timeout=60s"]);
    let log = logs("shop", "job/program");
    assert_eq!(log, "edge Pending\n");
}

#[test]
#[ignore = "there is no containerd-shim-wasmtime-v1 on this machine"]
fn a_component_is_the_container() {
    let _undisturbed = in_shop();
    file("component");
    says("shop", "pod/component", "NAME ");
}

fn restarts(pod: &str) -> String {
    field("shop", &format!("pod/{pod}"), ".status.containerStatuses[0].restartCount")
}

/// Stops a pod's processes of this name, so that they no longer answer.
fn stop(pod: &str, program: &str) {
    let script = "for process in /proc/[0-9]*; do grep -qs \"$0\" $process/cpuset $process/cgroup && [ \"$(cat $process/comm)\" = \"$1\" ] && kill -STOP ${process#/proc/}; done; true";
    let uid = field("shop", &format!("pod/{pod}"), ".metadata.uid");
    assert_eq!(uid.len(), "00000000-0000-0000-0000-000000000000".len(), "else it would stop others");
    assert!(Command::new("sh").args(["-c", script, &uid, program]).status().unwrap().success());
}

/// The address of the newest pod of these: an older one may be terminating.
pub fn pod_ip(selector: &str) -> String {
    let newest = ["--sort-by=.metadata.creationTimestamp", "--output=jsonpath={.items[-1:].status.podIP}"];
    kubectl(&[&["get", "pods", "--namespace=shop", "--selector", selector][..], &newest].concat())
}

/// Deploys the gateway, with a pod to send requests to, which answers with its own metrics.
fn gateway() {
    let dir = tempfile::tempdir().unwrap();
    let sticky = dir.path().join("sticky.wasm");
    std::fs::write(&sticky, extensions::STICKY).unwrap();
    let from = format!("--from-file={}", sticky.display());
    kubectl(&["create", "configmap", "gateway-extensions", "--namespace=shop", &from]);
    file("gateway");
    SHOP.pod("web", "incluster:0.1.0", &["--metrics", "0.0.0.0:8080", "pods", "-n", "shop", "--watch", "-o", "name"], &json!({}));
    kubectl(&["wait", "--namespace=shop", "--for=condition=ready", "pod/web", "--timeout=60s"]);
    kubectl(&["rollout", "status", "--namespace=shop", "deployment/gateway", "--timeout=90s"]);
}

/// A thread that sends one request after the other.
pub struct Asking(Arc<AtomicBool>, JoinHandle<Vec<Option<u16>>>);

impl Asking {
    pub fn begin(service: &str) -> Asking {
        let (service, ended) = (service.to_string(), Arc::new(AtomicBool::new(false)));
        let is_ended = ended.clone();
        let asking = thread::spawn(move || {
            let mut answers = Vec::new();
            while !is_ended.load(Relaxed) {
                answers.push(get(&service, 80, "/").map(|(status, _)| status));
                thread::sleep(PAUSE / 10);
            }
            answers
        });
        Asking(ended, asking)
    }

    pub fn every_one_was_answered(self) {
        self.0.store(true, Relaxed);
        let answers = self.1.join().unwrap();
        let others: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| **answer != Some(200)).collect();
        assert!(others.is_empty() && !answers.is_empty(), "of {}, these were not: {others:?}", answers.len());
        println!("{} requests, all of them answered", answers.len());
    }
}

#[test]
fn the_gateway_serves_and_its_budget_and_probes_hold() {
    let _undisturbed = in_shop();
    gateway();
    let service = field("shop", "service/gateway", ".spec.clusterIP");
    until("the Service's answer", || {
        get(&service, 80, "/").filter(|(status, body)| *status == 200 && body.contains("incluster_"))
    });

    // The gateway requests pods as its tenant's account, and never as its own.
    let ours = |user: &String| ["gateway", "shop-extensions"].iter().any(|name| user.ends_with(&format!(":shop:{name}")));
    let users: BTreeSet<_> = audit::requests("shop").into_iter().map(|request| request.user).filter(ours).collect();
    assert_eq!(users, BTreeSet::from(["system:serviceaccount:shop:shop-extensions".into()]));

    // One of two pods may be evicted, but not the second before the first has been replaced.
    let pods =
        kubectl(&["get", "pods", "--namespace=shop", "--selector=app=gateway", "--output=jsonpath={.items[*].metadata.name}"]);
    let evict = |pod: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "shop"}});
        let path = format!("/api/v1/namespaces/shop/pods/{pod}/eviction");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), eviction.to_string()).unwrap();
        tried(&["create", "--raw", &path, "-f", file.path().to_str().unwrap()])
    };
    let (first, second) = pods.split_once(' ').unwrap();
    let asking = Asking::begin(&service);
    // The budget is updated a moment after the pod is ready.
    asked(|| evict(first));
    let refused = evict(second).unwrap_err();
    assert!(refused.contains("disruption budget"), "{refused}");
    kubectl(&["rollout", "status", "--namespace=shop", "deployment/gateway", "--timeout=90s"]);
    asking.every_one_was_answered();

    // A container whose start takes too long is killed.
    let hasty = json!([
        {"op": "replace", "path": "/spec/template/spec/containers/0/startupProbe/failureThreshold", "value": 1},
        {"op": "add", "path": "/spec/template/spec/containers/0/resources/limits/cpu", "value": "10m"},
        {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "10m"}]);
    kubectl(&["patch", "deployment", "gateway", "--namespace=shop", "--type=json", "--patch", &hasty.to_string()]);
    let killed = || kubectl(&["get", "events", "--namespace=shop", "--field-selector=reason=Killing"]);
    until("a start is ended", || killed().contains("failed startup probe").then_some(()));
    kubectl(&["rollout", "undo", "deployment/gateway", "--namespace=shop"]);
    kubectl(&["rollout", "status", "--namespace=shop", "deployment/gateway", "--timeout=90s"]);
    assert_eq!(get(&service, 80, "/").unwrap().0, 200, "the others serve all the while");

    // A stopped process does not answer: its pod is first not ready, and then restarted.
    assert_eq!(restarts(second), "0");
    stop(second, "gateway");
    let not_ready = || field("shop", &format!("pod/{second}"), ".status.containerStatuses[0].ready") == "false";
    until("readiness fails", || not_ready().then_some(()));
    assert_eq!(restarts(second), "0", "it is not ready before it is started anew");
    // kube-proxy learns of it a moment later.
    until("the other one serves", || get(&service, 80, "/").filter(|(status, _)| *status == 200));
    until("liveness fails", || (restarts(second) == "1").then_some(()));

    // An unusable extension does not end the gateway, and the status page names it.
    apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gateway-extensions", "namespace": "shop"},
        "binaryData": {"sticky.wasm": "AGFzbQ0AAQA="}}));
    let page = || get(&pod_ip("app=gateway"), 8081, "/").filter(|(_, page)| page.contains("the version before stays in use"));
    until("the status page says what is wrong", page);
    assert_eq!(get(&service, 80, "/").unwrap().0, 200, "the version before serves");
}
