//! Tests of watchers while the cluster is disturbed: no event is lost, and none comes twice.

use crate::audit::{Request, requests};
use crate::kubectl::{api_server_is_back, component, field, kubectl};
use crate::watchers::{Namespace, WATCHERS, ca, token, volume};
use crate::{alone, until};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Checks that all requests had a token of the watchers' account, and returns them.
fn all_had_a_token(namespace: &str) -> Vec<Request> {
    let account = format!("system:serviceaccount:{namespace}:lister");
    let requests = requests(namespace);
    // The audit log leaves out the requests of the cluster itself and of its administrator.
    assert!(requests.iter().all(|request| request.user == account && request.token.is_some()), "{requests:#?}");
    requests
}

/// The kubelet writes new tokens into running pods when it starts. Open watches go on, and begin again with the new token after the API
/// server was away.
#[test]
fn the_kubelet_rotates_tokens_and_the_api_server_is_away_for_30_s() {
    let disturbing = alone();
    // Twice this time passes between the rotation and the next request: a watcher uses a token that it has read for at most a minute.
    const HALF_A_MINUTE: Duration = Duration::from_secs(31);
    let namespace = Namespace::new("rotates");
    namespace.watch();
    component("restart", "kubelet");
    for step in 1..3 {
        namespace.step(step);
    }
    namespace.all_have_listed();
    let rotated = unix_now();
    drop(disturbing);
    std::thread::sleep(HALF_A_MINUTE);
    let _alone = alone();
    component("stop", "apiserver");
    std::thread::sleep(HALF_A_MINUTE);
    component("start", "apiserver");
    api_server_is_back();
    for step in 3..6 {
        namespace.step(step);
    }
    // Another test may have run in between, and restarted the API server.
    namespace.all_were_seen(6, 2);
    another_token_after(&namespace, rotated + 60.0);
}

/// Checks that from this time on (in seconds) each watcher has sent requests, and none with the token that it began with.
fn another_token_after(namespace: &Namespace, time: f64) {
    let requests = all_had_a_token(&namespace.0);
    for kind in WATCHERS {
        let uid = field(&namespace.0, &format!("pod/{kind}"), ".metadata.uid");
        let of_pod: Vec<&Request> = requests.iter().filter(|request| request.pod.as_deref() == Some(&uid)).collect();
        let old = &of_pod.first().unwrap().token;
        let mut later = of_pod.iter().filter(|request| request.at >= time).peekable();
        assert!(later.peek().is_some() && later.all(|request| request.token != *old), "{kind}: {of_pod:#?}");
    }
}

/// A watch outlives the token that it began with, because the API server checks it only at the beginning. A new watch has the next token.
#[test]
#[ignore = "it takes minutes, and is a part of `just release-check`"]
fn a_token_of_ten_minutes_expires_under_a_watch() {
    const MINUTE: Duration = Duration::from_secs(60);
    let _alone = alone();
    let namespace = Namespace::new("ten-minutes");
    namespace.watch_with(&volume(&json!([token(&json!({})), ca()]), 0o644));
    let made = unix_now();
    for step in 1..12 {
        std::thread::sleep(MINUTE);
        namespace.change(step);
    }
    namespace.all_were_seen(12, 0);
    component("restart", "apiserver");
    api_server_is_back();
    namespace.step(12);
    namespace.all_were_seen(13, 1);
    another_token_after(&namespace, made + 600.0);
}

/// Watchers survive an API server that restarts ten times in about a minute, like one that fails again and again soon after its start.
#[test]
#[ignore = "it takes minutes, and is a part of `just release-check`"]
fn the_api_server_is_started_anew_ten_times() {
    let _alone = alone();
    let namespace = Namespace::new("ten-times");
    namespace.watch();
    for _ in 0..10 {
        component("restart", "apiserver");
        api_server_is_back();
    }
    for step in 1..4 {
        namespace.step(step);
    }
    namespace.all_were_seen(4, 10);
    all_had_a_token(&namespace.0);
}

#[test]
fn etcd_forgets_and_the_node_is_disturbed() {
    let _alone = alone();
    let namespace = Namespace::new("disturbed");
    namespace.watch();
    let etcdctl = |args: &[&str]| {
        let done = Command::new("etcdctl").args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let status: serde_json::Value = serde_json::from_str(&etcdctl(&["endpoint", "status", "--write-out=json"])).unwrap();
    etcdctl(&["compact", &status[0]["Status"]["header"]["revision"].to_string()]);
    namespace.step(1);
    namespace.all_have_listed();
    component("restart", "containerd");
    component("restart", "kubelet");
    namespace.step(2);
    let is_ready = || kubectl(&["get", "node", "--output=jsonpath={.items[0].status.conditions[?(@.type==\"Ready\")].status}"]);
    until("the node", || (is_ready() == "True").then_some(()));
    namespace.step(3);
    namespace.all_were_seen(4, 0);
    all_had_a_token(&namespace.0);
}
