//! Watches, while kubectl changes pods.

use crate::{changes, tenant, variable, volume};
use incluster::PodWatch;
use incluster::types::{ChangeKind, Error as Kubernetes, ListOptions, PodEvent, WatchOptions};
use std::time::Duration;

/// How long to wait for an event.
const PATIENCE: Duration = Duration::from_secs(30);

fn selector(test: &str) -> Option<String> {
    Some(format!("test={test}"))
}

async fn next(watch: &mut PodWatch) -> Option<PodEvent> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event").unwrap()
}

/// Returns the next change. Bookmarks may come at any time, and are skipped.
async fn change(watch: &mut PodWatch) -> (ChangeKind, String) {
    loop {
        match next(watch).await {
            Some(PodEvent::Changed(change)) => return (change.kind, change.pod.metadata.name),
            Some(PodEvent::Bookmark(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Waits for the deletion of a pod. Changes to it may come first.
async fn deleted(watch: &mut PodWatch, name: &str) {
    while change(watch).await != (ChangeKind::Deleted, name.into()) {}
}

#[tokio::test]
async fn a_watch_goes_on_from_a_list() {
    let volume = volume(&variable("REAL_TOKEN"));
    let tenant = tenant(&volume);
    let (test, namespace) = ("from-list", changes::namespace());
    changes::run("list-a", test);
    let options = ListOptions { label_selector: selector(test), ..ListOptions::ALL };
    let list = tenant.list_namespaced_pods(&namespace, &options).await.unwrap();
    assert_eq!(list.items.len(), 1);
    changes::run("list-b", test);
    changes::label("list-a", "color=blue");
    let options =
        WatchOptions { label_selector: selector(test), resource_version: Some(list.resource_version), ..WatchOptions::ALL };
    let mut watch = tenant.watch_namespaced_pods(&namespace, &options).await.unwrap();
    assert_eq!(change(&mut watch).await, (ChangeKind::Added, "list-b".into()));
    assert_eq!(change(&mut watch).await, (ChangeKind::Modified, "list-a".into()));
    changes::label("list-b", "color=green");
    let Some(PodEvent::Changed(labelled)) = next(&mut watch).await else { panic!("not a change") };
    assert_eq!((labelled.kind, &*labelled.pod.metadata.name), (ChangeKind::Modified, "list-b"));
    assert!(labelled.pod.metadata.labels.contains(&("color".into(), "green".into())));
    changes::delete("list-a");
    deleted(&mut watch, "list-a").await;
    // The pod no longer matches the selector, which a watch reports as a deletion.
    changes::label("list-b", "test=another");
    assert_eq!(change(&mut watch).await, (ChangeKind::Deleted, "list-b".into()));
    changes::delete("list-b");
}

#[tokio::test]
async fn a_watch_begins_with_the_existing_pods() {
    let volume = volume(&variable("REAL_TOKEN"));
    let test = "from-start";
    changes::run("start-a", test);
    changes::run("start-b", test);
    let options = WatchOptions { label_selector: selector(test), ..WatchOptions::ALL };
    let mut watch = tenant(&volume).watch_namespaced_pods(&changes::namespace(), &options).await.unwrap();
    assert_eq!(change(&mut watch).await, (ChangeKind::Added, "start-a".into()));
    assert_eq!(change(&mut watch).await, (ChangeKind::Added, "start-b".into()));
    let synced = next(&mut watch).await;
    assert!(matches!(&synced, Some(PodEvent::Synced(version)) if !version.is_empty()), "{synced:?}");
    changes::label("start-b", "color=blue");
    assert_eq!(change(&mut watch).await, (ChangeKind::Modified, "start-b".into()));
    changes::delete("start-a");
    deleted(&mut watch, "start-a").await;
    changes::delete("start-b");
    deleted(&mut watch, "start-b").await;
}

#[tokio::test]
#[ignore = "it restarts the API server: not that of KUBECONFIG, which may be too young to have forgotten anything"]
async fn a_watch_from_a_forgotten_version_expires() {
    changes::forget("expired-watch");
    let volume = volume(&variable("REAL_TOKEN"));
    let options = WatchOptions { resource_version: Some("1".into()), ..WatchOptions::ALL };
    let mut watch = tenant(&volume).watch_namespaced_pods(&changes::namespace(), &options).await.unwrap();
    let expired = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event").unwrap_err();
    let says = |why: &Kubernetes| matches!(why, Kubernetes::Expired(expired) if expired.message.contains("too old"));
    assert!(expired.kubernetes().is_some_and(says), "{expired:?}");
    assert_eq!(next(&mut watch).await, None);
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let volume = volume(&variable("REAL_TOKEN"));
    let options = WatchOptions { label_selector: selector("none"), timeout_seconds: Some(1), ..WatchOptions::ALL };
    let mut watch = tenant(&volume).watch_namespaced_pods(&changes::namespace(), &options).await.unwrap();
    assert!(matches!(next(&mut watch).await, Some(PodEvent::Synced(_))));
    assert_eq!(next(&mut watch).await, None);
}
