//! Tests of `incluster-extension` in a sandbox, by the program `tests/extensions/guest/src/bin/library.rs`.

use crate::command::{Output, in_testbed};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use testbed::{Answer, PodStore, Request, Testbed};

const POLICY: &str =
    r#"{"rules": [{"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}"#;

async fn run(testbed: &Testbed, what: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("library.wasm"), extensions::LIBRARY).unwrap();
    std::fs::write(at("policy.json"), POLICY).unwrap();
    in_testbed(testbed, &["run", "--policy", &at("policy.json"), &at("library.wasm"), what]).await
}

async fn prints(testbed: &Testbed, what: &str, expected: &str) {
    let ran = run(testbed, what).await;
    assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (0, expected, ""), "{what}");
}

/// A store that is compacted once, at the first request for a next page.
async fn forgetful() -> Testbed {
    let (store, has_forgotten) = (PodStore::with_pods(5), AtomicBool::new(false));
    let answer = move |request: &Request| {
        if request.query("continue").is_some() && !has_forgotten.swap(true, Relaxed) {
            store.compact();
        }
        store.answer(request)
    };
    Testbed::serving(answer).await
}

#[tokio::test]
async fn pods_come_in_one_piece_or_several() {
    let testbed = Testbed::serving(PodStore::with_pods(5).handler()).await;
    prints(&testbed, "pages", "3 false false\n2 false false\n").await;
    prints(&testbed, "stream", "5 false false\n").await;
    prints(&testbed, "list", "web-00000 web-00001 web-00002 web-00003 web-00004\n").await;
}

#[tokio::test]
async fn a_list_that_begins_again_has_nothing_twice() {
    prints(&forgetful().await, "list", "web-00000 web-00001 web-00002 web-00003 web-00004\n").await;
    prints(&forgetful().await, "resume", "3 false false\n2 false true\n").await;
    // By default, pages of two lists are never mixed silently: the list fails, and the error says what to do.
    let failed = run(&forgetful().await, "pages").await;
    assert!(
        failed.status == 1 && failed.stdout == "3 false false\n" && failed.stderr.contains("list again"),
        "{}",
        failed.stderr
    );
}

#[tokio::test]
async fn options_reach_the_server() {
    let testbed = Testbed::serving(PodStore::with_pods(5).handler()).await;
    prints(&testbed, "options", "5 pods\n").await;
    let query = "?labelSelector=a%3Db%2Cc&fieldSelector=d%3De&limit=500&resourceVersion=1&timeoutSeconds=2";
    let request = testbed.server.requests().remove(0);
    let sorted = |query: &str| {
        let mut parameters: Vec<_> = query.split(['?', '&']).map(String::from).collect();
        parameters.sort();
        parameters
    };
    assert_eq!(sorted(&request.path_and_query), sorted(&format!("/api/v1/namespaces/shop/pods{query}")));
}

#[tokio::test]
async fn objects_are_of_the_types_of_k8s_openapi() {
    let store = PodStore::with_pods(2);
    let answer = move |request: &Request| match request.path() {
        "/api/v1/namespaces/shop/pods/web-00000" => {
            Answer::new(200, r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-00000"}}"#)
                .header("content-type", "application/json")
        }
        _ => store.answer(request),
    };
    let all = "web-00000 web-00001\nSome(\"web-00000\")\nadded Some(\"web-00000\")\nadded Some(\"web-00001\")\n";
    prints(&Testbed::serving(answer).await, "typed", all).await;
}

#[tokio::test]
async fn failures_say_what_was_done_and_why_not() {
    let store = PodStore::with_pods(2);
    let missing = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404}"#;
    let answer = move |request: &Request| match request.path() {
        "/api/v1/namespaces/shop/pods" => store.answer(request),
        _ => Answer::new(404, missing).header("content-type", "application/json"),
    };
    let ran = run(&Testbed::serving(answer).await, "failures").await;
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let lines: Vec<_> = ran.stdout.lines().collect();
    for (line, begins, says) in [
        (lines[0], "true false 1: failed to get /api/v1/namespaces/shop/pods/none: 404 NotFound: not found", "check"),
        (lines[1], "false false 0: failed to get /api/v1/namespaces/%252A/pods/web-00000: ", "namespace"),
        (lines[2], "true false 1: failed to get /api/v1/nodes/none: 404", ""),
        (lines[3], "false true 0: failed to list /api/v1/namespaces/shop/pods: shop/web-00000 is not of the type", "API version"),
        (lines[4], "false false 0: failed to list pods in namespace shop: ", "limit"),
    ] {
        assert!(line.starts_with(begins) && line.contains(says), "{line}");
    }
}

#[tokio::test]
async fn watches_are_waited_for_together_and_come_to_an_end() {
    let testbed = Testbed::serving(PodStore::with_pods(2).handler()).await;
    prints(&testbed, "wait", "[1]\n[] []\n3 events, and an end\n").await;
}
