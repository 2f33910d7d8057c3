//! Tests of `deploy/envoy.yaml`: a stock Envoy and `incluster-envoy` in a pod, with requests through them all the time.

use crate::deploy::{Asking, SHOP, file, in_shop, pod_ip};
use crate::kubectl::{api_server_is_back, component, field, get, kubectl};
use crate::{alone, asked, audit, until};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

/// Its Service's address. Backends, which answer with their own metrics, are there before it.
static SERVICE: LazyLock<String> = LazyLock::new(|| {
    let args = ["--metrics", "0.0.0.0:8080", "pods", "-n", "shop", "--watch", "-o", "name"];
    // A deleted pod goes on serving until Envoy has learned of it.
    let change = json!({"terminationGracePeriodSeconds": 10, "containers": [{
        "name": "main",
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "readinessProbe": {"httpGet": {"path": "/metrics", "port": 8080}, "periodSeconds": 1},
    }]});
    SHOP.deployment("backend", 2, "incluster:0.1.0", &args, &change);
    let dir = tempfile::tempdir().unwrap();
    let picker = dir.path().join("sticky.wasm");
    std::fs::write(&picker, extensions::STICKY).unwrap();
    let create =
        |name: &str, from: &str| kubectl(&["create", "configmap", name, "--namespace=shop", &format!("--from-file={from}")]);
    create("envoy", concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/envoy/envoy.yaml"));
    create("envoy-extensions", &format!("picker.wasm={}", picker.display()));
    file("envoy");
    kubectl(&["rollout", "status", "--namespace=shop", "deployment/envoy", "--timeout=120s"]);
    field("shop", "service/envoy", ".spec.clusterIP")
});

/// Returns how many requests the processors have picked a pod for.
fn picked() -> f64 {
    let (_, text) = get(&pod_ip("app=envoy"), 9902, "/metrics").unwrap();
    let lines = text.lines().filter(|line| line.starts_with("gateway_requests_total") && line.contains("outcome=\"picked\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
#[ignore = "it needs an image of Envoy, which takes a minute to make: `./justw test-pods-slow`"]
fn requests_through_envoy_go_on_while_backends_and_envoys_come_and_go() {
    let _undisturbed = in_shop();
    let service = SERVICE.clone();
    until("the Service's answer", || {
        get(&service, 80, "/").filter(|(status, body)| *status == 200 && body.contains("incluster_"))
    });
    let asking = Asking::begin(&service);
    let before = picked();
    for replicas in ["5", "1", "3"] {
        kubectl(&["scale", "deployment/backend", "--namespace=shop", &format!("--replicas={replicas}")]);
        kubectl(&["rollout", "status", "--namespace=shop", "deployment/backend", "--timeout=90s"]);
        asked(|| {
            let pods = kubectl(&["get", "pods", "--namespace=shop", "--selector=app=backend", "--output=name"]);
            if pods.lines().count().to_string() == replicas { Ok(()) } else { Err(pods) }
        });
    }
    assert!(picked() > before, "the processor has picked for these");
    kubectl(&["rollout", "restart", "--namespace=shop", "deployment/envoy"]);
    kubectl(&["rollout", "status", "--namespace=shop", "deployment/envoy", "--timeout=120s"]);
    asking.every_one_was_answered();

    // The processor requests pods as its tenant's account, and never as its own.
    let ours = |user: &String| ["envoy", "envoy-tenant"].iter().any(|name| user.ends_with(&format!(":shop:{name}")));
    let users: BTreeSet<_> = audit::requests("shop").into_iter().map(|request| request.user).filter(ours).collect();
    assert_eq!(users, BTreeSet::from(["system:serviceaccount:shop:envoy-tenant".into()]));
}

#[test]
#[ignore = "it takes a minute: `./justw test-pods-slow`"]
fn a_minute_without_an_api_server_fails_no_request_through_envoy() {
    const MINUTE: Duration = Duration::from_secs(60);
    drop(in_shop());
    let _alone = alone();
    let service = SERVICE.clone();
    let pod = pod_ip("app=envoy");
    let asking = Asking::begin(&service);
    component("stop", "apiserver");
    std::thread::sleep(MINUTE);
    let (_, metrics) = get(&pod, 9902, "/metrics").unwrap();
    assert!(metrics.contains("incluster_stale_stores{tenant=\"shop\"} 1"), "it says so");
    component("start", "apiserver");
    api_server_is_back();
    asking.every_one_was_answered();
}
