//! Tests of the store without a network.

use super::*;
use bytes::Bytes;
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use prost::Message;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

const PODS: &str = "/api/v1/namespaces/shop/pods";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn ask(store: &PodStore, query: &str, accept: &str) -> Answer {
    ask_at(store, &format!("{PODS}{query}"), accept)
}

fn ask_at(store: &PodStore, path_and_query: &str, accept: &str) -> Answer {
    let request = Request::get(path_and_query);
    store.answer(&request.with("authorization", &format!("Bearer {TOKEN}")).with("accept", accept))
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn message<M: Message + Default>(bytes: &[u8]) -> M {
    let unknown = Unknown::decode(bytes.strip_prefix(encoding::MAGIC).unwrap()).unwrap();
    M::decode(&*unknown.raw.unwrap()).unwrap()
}

fn names(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_string()).collect()
}

/// Returns the bytes received so far, and whether the stream broke.
fn heard(receiver: &mut UnboundedReceiver<Chunk>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Ok(chunk) = receiver.try_recv() {
        match chunk {
            Chunk::Data(data) => bytes.extend(data),
            Chunk::Abort => return (bytes, true),
        }
    }
    (bytes, false)
}

fn json_events(bytes: &[u8]) -> Vec<Value> {
    std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn protobuf_events(mut bytes: &[u8]) -> Vec<(String, core::Pod)> {
    let mut events = Vec::new();
    while let Some((length, after)) = bytes.split_at_checked(4) {
        let (frame, after) = after.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize);
        let event = meta::WatchEvent::decode(frame).unwrap();
        events.push((event.r#type.unwrap(), message(&event.object.unwrap().raw.unwrap())));
        bytes = after;
    }
    events
}

fn watch(store: &PodStore, query: &str, accept: &str) -> UnboundedReceiver<Chunk> {
    let answer = ask(store, &format!("?watch=true{query}"), accept);
    assert_eq!(answer.status, 200);
    answer.chunks.unwrap().take()
}

#[test]
fn says_what_was_recorded() {
    let store = PodStore::recorded();
    for (name, accept) in [
        ("list-json", JSON),
        ("list-protobuf", PROTOBUF),
        ("list-table", TABLE),
        ("list-page-1", JSON),
        ("list-page-1-protobuf", PROTOBUF),
        ("list-page-2", JSON),
        ("list-continue-expired", JSON),
        ("list-continue-with-resource-version", JSON),
        ("list-limit-invalid", JSON),
        ("list-unauthorized", JSON),
        ("watch-forbidden", JSON),
    ] {
        let recorded = Recording::read(name);
        store.accept_token(if name == "list-unauthorized" { "another" } else { TOKEN });
        let (said, recorded) = (ask_at(&store, &recorded.path_and_query, accept), recorded.answer);
        assert_eq!(said.status, recorded.status, "{name}");
        match accept {
            // The recording has an empty `clusterName`, which Kubernetes has since removed.
            PROTOBUF => assert!(message::<core::PodList>(&said.body) == message(&recorded.body), "{name}"),
            _ => assert!(said.body == recorded.body, "{name}"),
        }
        assert_eq!(said.headers["content-type"], recorded.headers["content-type"], "{name}");
    }
}

#[test]
fn pages_are_of_one_snapshot() {
    let store = PodStore::with_pods(10);
    let first = json(&ask(&store, "?limit=4", JSON));
    let before = store.resource_version();
    store.delete("web-00005");
    store.add("web-00005a");
    store.modify("web-00006", "tier", "other");
    let mut found = names(&first["items"]);
    let mut page = first;
    for remaining in [6, 2] {
        assert_eq!(page["metadata"]["remainingItemCount"], remaining);
        let token = page["metadata"]["continue"].as_str().unwrap();
        page = json(&ask(&store, &format!("?limit=4&continue={token}"), JSON));
        assert_eq!(page["metadata"]["resourceVersion"], before);
        found.extend(names(&page["items"]));
    }
    assert_eq!(page["metadata"].get("continue"), None);
    assert_eq!(found, (0..10).map(|number| format!("web-{number:05}")).collect::<Vec<_>>());
    let now = json(&ask(&store, "", JSON));
    assert_eq!(names(&now["items"]), store.state().into_keys().collect::<Vec<_>>());
}

#[test]
fn both_encodings_say_the_same() {
    let store = PodStore::with_pods(9);
    store.modify("web-00003", "color", "a \"blue\"");
    store.set_phase("web-00004", "Failed");
    let list: core::PodList = message(&ask(&store, "?limit=5", PROTOBUF).body);
    let same = json(&ask(&store, "?limit=5", JSON));
    let metadata = list.metadata.unwrap();
    assert_eq!(metadata.r#continue(), same["metadata"]["continue"]);
    assert_eq!(metadata.remaining_item_count(), 4);
    for (protobuf, json) in list.items.into_iter().zip(same["items"].as_array().unwrap()) {
        let metadata = protobuf.metadata.unwrap();
        assert_eq!(metadata.name(), json["metadata"]["name"]);
        assert_eq!(metadata.uid(), json["metadata"]["uid"]);
        assert_eq!(metadata.resource_version(), json["metadata"]["resourceVersion"]);
        assert_eq!(serde_json::to_value(&metadata.labels).unwrap(), json["metadata"]["labels"]);
        assert_eq!(protobuf.status.unwrap().phase(), json["status"]["phase"]);
        assert_eq!(protobuf.spec.unwrap().node_name(), json["spec"]["nodeName"]);
    }
    let table = json(&ask(&store, "?limit=5&includeObject=None", TABLE));
    assert_eq!(table["metadata"], same["metadata"]);
    assert_eq!(table["rows"][4], serde_json::json!({ "cells": table["rows"][4]["cells"], "object": null }));
    assert_eq!(table["rows"][4]["cells"][2], "Failed");
}

#[test]
fn expired_tokens_can_go_on() {
    let store = PodStore::with_pods(6);
    let token = json(&ask(&store, "?limit=2", JSON))["metadata"]["continue"].as_str().unwrap().to_string();
    store.compact();
    store.delete("web-00003");
    let expired = ask(&store, &format!("?limit=2&continue={token}"), JSON);
    let recorded = Recording::read("list-continue-expired").answer;
    assert_eq!((expired.status, &json(&expired)["message"]), (410, &json(&recorded)["message"]));
    let other = json(&expired)["metadata"]["continue"].as_str().unwrap().to_string();
    let status: meta::Status = message(&ask(&store, &format!("?limit=2&continue={token}"), PROTOBUF).body);
    assert_eq!((status.code(), status.metadata.unwrap().r#continue()), (410, &*other));
    let page = json(&ask(&store, &format!("?limit=2&continue={other}"), JSON));
    assert_eq!(names(&page["items"]), ["web-00002", "web-00004"]);
    assert_eq!(page["metadata"]["remainingItemCount"], 1);
    store.compact_without_token();
    let expired = ask(&store, &format!("?limit=2&continue={token}"), JSON);
    assert_eq!((expired.status, &json(&expired)["metadata"]), (410, &serde_json::json!({})));
}

#[tokio::test]
async fn watches_hear_changes_in_json() {
    let store = PodStore::recorded();
    let from = store.resource_version();
    store.add("one");
    let mut watch = watch(&store, &format!("&resourceVersion={from}&allowWatchBookmarks=true"), JSON);
    store.modify("one", "tier", "edge");
    store.set_phase("one", "Succeeded");
    store.delete("one");
    store.bookmark();
    let events = json_events(&heard(&mut watch).0);
    let seen: Vec<_> =
        events.iter().map(|e| (e["type"].as_str().unwrap(), &e["object"]["metadata"]["resourceVersion"])).collect();
    let expected = [("ADDED", 10488), ("MODIFIED", 10489), ("MODIFIED", 10490), ("DELETED", 10491), ("BOOKMARK", 10491)];
    assert_eq!(seen.len(), expected.len());
    for ((kind, version), (expected_kind, expected_version)) in seen.into_iter().zip(expected) {
        assert_eq!((kind, version), (expected_kind, &Value::from(expected_version.to_string())));
    }
    assert_eq!(events[2]["object"]["status"]["phase"], "Succeeded");
    assert_eq!(events[2]["object"]["kind"], "Pod");
    let recorded = Recording::read("watch-changes").answer;
    let mut bookmark = json_events(&recorded.body).pop().unwrap();
    bookmark["object"]["metadata"]["resourceVersion"] = "10491".into();
    assert_eq!(events[4], bookmark);
}

#[tokio::test]
async fn watches_hear_changes_in_protobuf() {
    let store = PodStore::recorded();
    let query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = watch(&store, query, "application/vnd.kubernetes.protobuf;stream=watch");
    store.add("one");
    let events = protobuf_events(&heard(&mut watch).0);
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, [vec!["ADDED"; 7], vec!["BOOKMARK", "ADDED"]].concat());
    let metadata = |place: usize| events[place].1.metadata.clone().unwrap();
    assert_eq!(metadata(7).annotations["k8s.io/initial-events-end"], "true");
    assert_eq!((metadata(8).name(), metadata(8).resource_version()), ("one", "10488"));
    let recorded = protobuf_events(&Recording::read("watch-initial-protobuf").answer.body);
    assert!(recorded.len() == 7 && recorded.iter().all(|event| events.contains(event)));
}

#[tokio::test]
async fn watches_of_tables() {
    let store = PodStore::recorded();
    let mut watch = watch(&store, "&resourceVersion=10487&includeObject=None", TABLE);
    store.add("one");
    store.delete("one");
    let events = json_events(&heard(&mut watch).0);
    assert_eq!(events[0]["object"]["columnDefinitions"].as_array().unwrap().len(), 9);
    assert_eq!(events[1]["object"]["columnDefinitions"], Value::Null);
    for event in events {
        assert_eq!(event["object"]["rows"][0]["cells"][0], "one");
        assert_eq!(event["object"]["rows"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn one_pod_is_served_by_its_name() {
    let store = PodStore::with_pods(3);
    let path = format!("{PODS}/web-00001");
    let pod = ask_at(&store, &path, JSON);
    assert_eq!((pod.status, &json(&pod)["kind"], &json(&pod)["metadata"]["name"]), (200, &"Pod".into(), &"web-00001".into()));
    let pod: core::Pod = message(&ask_at(&store, &path, PROTOBUF).body);
    assert_eq!(pod.metadata.unwrap().name(), "web-00001");
    let table = json(&ask_at(&store, &path, TABLE));
    assert_eq!(names(&Value::Array(vec![table["rows"][0]["object"].clone()])), ["web-00001"]);
    assert_eq!((&table["rows"][0]["cells"][0], table["rows"].as_array().unwrap().len()), (&"web-00001".into(), 1));
    assert_eq!(table["metadata"]["resourceVersion"], store.state()["web-00001"].as_str());
    let absent = ask_at(&store, &format!("{PODS}/web"), JSON);
    assert_eq!((absent.status, &json(&absent)["message"]), (404, &"pods \"web\" not found".into()));

    let one = "fieldSelector=metadata.name%3Dweb-00001";
    assert_eq!(names(&json(&ask(&store, &format!("?{one}&limit=1"), JSON))["items"]), ["web-00001"]);
    let mut watched = watch(&store, &format!("&{one}&resourceVersion={}", store.resource_version()), JSON);
    store.modify("web-00002", "color", "blue");
    store.modify("web-00001", "color", "blue");
    let events = json_events(&heard(&mut watched).0);
    assert_eq!((events.len(), &events[0]["object"]["metadata"]["name"]), (1, &"web-00001".into()));
}

#[tokio::test]
async fn watches_end() {
    let store = PodStore::recorded();
    let mut broken = watch(&store, "&resourceVersion=10487", JSON);
    let _open = watch(&store, "&resourceVersion=10487", JSON);
    assert_eq!(store.open_watches(), 2);
    store.drop_watches();
    assert_eq!((heard(&mut broken), store.open_watches()), ((vec![], true), 0));

    let mut closed = watch(&store, "&resourceVersion=10487", JSON);
    store.close_watches();
    assert_eq!(closed.recv().await, None);

    drop(watch(&store, "&resourceVersion=10487", JSON));
    store.until_open_watches(0).await;

    store.cut_watches_after(100);
    let mut cut = watch(&store, "", JSON);
    let (bytes, aborted) = heard(&mut cut);
    assert_eq!((bytes.len(), aborted, store.open_watches()), (100, true, 0));

    let mut timed = watch(&store, "&resourceVersion=10487&timeoutSeconds=0", JSON);
    assert_eq!(timed.recv().await, None);
}

#[tokio::test]
async fn watches_that_fail() {
    let store = PodStore::recorded();
    let mut expired = watch(&store, "&resourceVersion=3", JSON);
    let recorded = Recording::read("watch-rv-expired").answer.body;
    let said = String::from_utf8(heard(&mut expired).0).unwrap();
    assert_eq!(Bytes::from(said.replace("10487", "10409")), recorded);
    assert_eq!(expired.recv().await, None);
    store.compact();
    assert!(!heard(&mut watch(&store, "&resourceVersion=10487", JSON)).0.is_empty());
    assert!(heard(&mut watch(&store, "&resourceVersion=10488", JSON)).0.is_empty());

    store.know_initial_events(false);
    let query = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let refused = ask(&store, query, JSON);
    assert_eq!((refused.status, &json(&refused)["details"]["causes"][0]["field"]), (422, &"sendInitialEvents".into()));
    store.fail_next(1, Answer::new(429, "slow down"));
    assert_eq!([ask(&store, "", JSON).status, ask(&store, "", JSON).status], [429, 200]);
}

/// The ways in which a server may answer a watch from a forgotten version.
#[tokio::test]
async fn watches_that_are_forgotten() {
    let store = PodStore::recorded();
    store.compact();
    let query = "?watch=true&resourceVersion=10487";
    store.answer_forgotten(Forgotten::Status);
    assert_eq!(ask(&store, query, JSON).status, 410);
    store.answer_forgotten(Forgotten::Silently);
    let silent = ask(&store, query, JSON);
    assert_eq!((silent.status, silent.body.len(), silent.chunks.is_none()), (200, 0, true));
    store.fail_next_watches(1, Answer::new(504, "later"));
    let later = "?watch=true&resourceVersion=10488";
    assert_eq!(ask(&store, "", JSON).status, 200);
    assert_eq!([ask(&store, later, JSON).status, ask(&store, later, JSON).status], [504, 200]);
}

#[tokio::test]
async fn watches_that_stall_hurry_or_fail() {
    let store = PodStore::recorded();
    let mut failed = watch(&store, "&resourceVersion=10487", JSON);
    let mut in_protobuf = watch(&store, "&resourceVersion=10487", PROTOBUF);
    store.fail_watches(Some(3));
    let event = json_events(&heard(&mut failed).0).remove(0);
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &500.into()));
    assert_eq!(event["object"]["details"]["retryAfterSeconds"], 3);
    assert_eq!(failed.recv().await, None);
    let bytes = heard(&mut in_protobuf).0;
    let event = meta::WatchEvent::decode(&bytes[4..]).unwrap();
    let status: meta::Status = message(&event.object.unwrap().raw.unwrap());
    assert_eq!((status.code(), status.details.unwrap().retry_after_seconds), (500, Some(3)));

    let mut stalled = watch(&store, "&resourceVersion=10487&timeoutSeconds=0", JSON);
    store.stall_watches();
    store.add("one");
    store.close_watches();
    assert!(heard(&mut stalled).0.is_empty());
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), stalled.recv());
    assert!(nothing.await.is_err(), "the watch does not end either");
    drop(stalled);

    store.hurry_watches(true);
    let mut hurried = watch(&store, "&resourceVersion=10488", JSON);
    store.add("two");
    assert!(hurried.recv().await.is_some());
    assert_eq!(hurried.recv().await, None);
}
