//! Collections that a tenant keeps fresh: `Tenant::pod_store` and `Tenant::json_store`.

use crate::tenant;
use futures_util::StreamExt;
use incluster::policy::Policy;
use incluster::{Change, Freshness, PodStore as Store, Runtime, Server, StoreOptions, Tenant};
use std::time::Duration;
use testbed::{Answer, Chunk, PodStore, Request, Testbed};

fn names(store: &Store) -> Vec<String> {
    store.latest().unwrap().objects.iter().map(|pod| pod.metadata.name.clone()).collect()
}

/// Waits until the store shows this many pods.
async fn until(store: &Store, count: usize) {
    let mut changes = store.changes();
    while store.latest().is_none_or(|latest| latest.objects.len() != count) {
        changes.next().await.expect("a change");
    }
}

async fn until_fresh(store: &Store, is_so: impl Fn(&Freshness) -> bool) {
    let so = async {
        while !is_so(&store.freshness()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), so).await.unwrap_or_else(|_| panic!("{:?}", store.freshness()));
}

fn watches(testbed: &Testbed) -> usize {
    testbed.server.requests().iter().filter(|request| request.query("watch").is_some()).count()
}

#[tokio::test]
async fn a_store_shows_what_there_is_and_tells_what_changes() {
    let pods = PodStore::with_pods(3);
    let testbed = Testbed::serving(pods.handler()).await;
    let store = tenant(&testbed).pod_store("shop", &StoreOptions::default()).unwrap();
    assert!(store.latest().is_none() && store.freshness() == Freshness::NotSynced { problem: None });
    let synced = store.wait_until_synced().await.unwrap();
    assert_eq!((synced.objects.len(), &*synced.resource_version), (3, &*pods.resource_version()));
    assert!(matches!(store.freshness(), Freshness::Current { .. }));
    let mut changes = store.changes();
    for pod in &synced.objects {
        assert!(matches!(changes.next().await, Some(Change::Added(added)) if std::sync::Arc::ptr_eq(&added, pod)));
    }
    pods.modify("web-00001", "tier", "edge");
    assert!(matches!(changes.next().await, Some(Change::Modified(pod)) if pod.metadata.name == "web-00001"));
    pods.delete("web-00001");
    assert!(matches!(changes.next().await, Some(Change::Deleted(pod)) if pod.metadata.name == "web-00001"));
    pods.add("last");
    assert!(matches!(changes.next().await, Some(Change::Added(pod)) if pod.metadata.name == "last"));
    assert_eq!(names(&store), pods.state().into_keys().collect::<Vec<_>>());
    assert_eq!(synced.objects.len(), 3, "a snapshot stays what it is");
}

#[tokio::test]
async fn one_watch_is_for_all_who_ask_for_the_same_and_ends_with_the_last() {
    let pods = PodStore::with_pods(3);
    let testbed = Testbed::serving(pods.handler()).await;
    let tenant = tenant(&testbed);
    let all = StoreOptions::default();
    let stores: Vec<_> = (0..200).map(|_| tenant.clone().pod_store("shop", &all).unwrap()).collect();
    for store in &stores {
        assert_eq!(store.wait_until_synced().await.unwrap().objects.len(), 3);
    }
    assert_eq!((watches(&testbed), pods.open_watches()), (1, 1));
    let edge = StoreOptions { label_selector: Some("tier=edge".into()), ..all.clone() };
    let other = tenant.pod_store("shop", &edge).unwrap();
    other.wait_until_synced().await.unwrap();
    assert_eq!((watches(&testbed), pods.open_watches()), (2, 2));
    drop(stores);
    pods.until_open_watches(1).await;
    // Another one begins anew.
    let again = tenant.pod_store("shop", &all).unwrap();
    again.wait_until_synced().await.unwrap();
    assert_eq!(watches(&testbed), 3);
}

#[tokio::test]
async fn a_tenant_that_may_less_has_stores_of_its_own() {
    let testbed = Testbed::serving(PodStore::with_pods(3).handler()).await;
    let tenant = tenant(&testbed);
    let store = tenant.pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    let narrow = tenant.with_policy(Policy::deny_all()).pod_store("shop", &StoreOptions::default()).unwrap();
    until_fresh(&narrow, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(why) } if why.contains("does not permit")))
        .await;
    assert!(narrow.latest().is_none());
    // What it may is given back.
    let later = tenant.with_policy(Policy::deny_all());
    let store = later.pod_store("shop", &StoreOptions::default()).unwrap();
    until_fresh(&store, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(_) })).await;
    later.set_policy(Policy::allow_all());
    assert_eq!(store.wait_until_synced().await.unwrap().objects.len(), 3);
    // And taken again: what was known is not shown any more.
    later.set_policy(Policy::deny_all());
    until_fresh(&store, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(_) })).await;
    assert!(store.latest().is_none());
    assert!(later.pod_store("shop", &StoreOptions::default()).unwrap().latest().is_none());
}

#[tokio::test]
async fn what_was_known_stays_while_the_server_is_away_and_the_store_says_so() {
    let pods = PodStore::with_pods(3);
    let testbed = Testbed::serving(pods.handler()).await;
    let store = tenant(&testbed).pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    testbed.server.leave();
    testbed.server.hang_up();
    until_fresh(&store, |fresh| matches!(fresh, Freshness::Stale { problem, .. } if problem.contains("connect"))).await;
    assert_eq!(names(&store).len(), 3);
    pods.delete("web-00002");
    pods.add("last");
    testbed.server.come_back();
    until_fresh(&store, |fresh| matches!(fresh, Freshness::Current { .. })).await;
    until(&store, 3).await;
    assert_eq!(names(&store), pods.state().into_keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_went_while_a_watch_expired_is_deleted_and_nobody_sees_a_part() {
    let pods = PodStore::with_pods(5);
    let testbed = Testbed::serving(pods.handler()).await;
    let store = tenant(&testbed).pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    let mut changes = store.changes();
    for _ in 0..5 {
        changes.next().await.unwrap();
    }
    // Its connection ends, and while it is away, what came next is forgotten.
    testbed.server.leave();
    testbed.server.hang_up();
    until_fresh(&store, |fresh| matches!(fresh, Freshness::Stale { .. })).await;
    pods.delete("web-00003");
    pods.compact();
    testbed.server.come_back();
    assert!(matches!(changes.next().await, Some(Change::Deleted(pod)) if pod.metadata.name == "web-00003"));
    assert_eq!(names(&store).len(), 4);
    assert!(watches(&testbed) > 1);
}

#[tokio::test]
async fn whoever_has_written_waits_for_what_they_wrote() {
    let pods = PodStore::with_pods(3);
    let testbed = Testbed::serving(pods.handler()).await;
    let store = tenant(&testbed).pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    pods.add("written");
    let version = pods.resource_version();
    let latest = store.wait_for_version(&version).await.unwrap();
    assert!(latest.get("shop", "written").is_some());
    assert!(store.wait_for_version("yesterday").await.is_none());
}

#[tokio::test]
async fn objects_of_any_kind_are_kept_as_json() {
    let lines = concat!(
        r#"{"type":"ADDED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"7"},"spec":{"clusterIP":"10.0.0.7"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"Service","apiVersion":"v1","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n",
    );
    let testbed = Testbed::serving(move |request: &Request| {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        if request.query("watch").is_none() {
            return Answer::new(404, "");
        }
        let _ = sender.send(Chunk::Data(lines.into()));
        // It stays open.
        std::mem::forget(sender);
        Answer::streaming(200, receiver).header("content-type", "application/json")
    })
    .await;
    let store = tenant(&testbed).json_store("/api/v1/namespaces/shop/services", &StoreOptions::default()).unwrap();
    let services = store.wait_until_synced().await.unwrap();
    let web = services.get("shop", "web").unwrap();
    assert_eq!((&*web.uid, &*web.resource_version, services.objects.len(), &*services.resource_version), ("u1", "7", 1, "9"));
    let json: serde_json::Value = serde_json::from_slice(&web.json).unwrap();
    assert_eq!(json["spec"]["clusterIP"], "10.0.0.7");
}

#[tokio::test]
async fn a_store_ends_with_its_runtime_and_says_so() {
    let testbed = Testbed::serving(PodStore::with_pods(3).handler()).await;
    let runtime = Runtime::new().unwrap();
    let tenant = Tenant::builder(&runtime, "ending").server(Server::parse(&testbed.server.url()).unwrap());
    let tenant = tenant.service_account_dir(testbed.volume.path()).policy(Policy::allow_all()).build().unwrap();
    let store = tenant.pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    let mut changes = store.changes();
    for _ in 0..3 {
        changes.next().await.unwrap();
    }
    assert!(runtime.shutdown(Duration::from_secs(10)).await);
    assert!(changes.next().await.is_none());
    assert!(matches!(store.freshness(), Freshness::Stale { problem, .. } if problem.contains("has ended")));
    assert_eq!(names(&store).len(), 3);
    let unsynced = tenant.pod_store("other", &StoreOptions::default()).unwrap();
    assert!(unsynced.wait_until_synced().await.is_none());
    let outside = std::thread::spawn(move || tenant.pod_store("shop", &StoreOptions::default()).err()).join().unwrap();
    assert!(matches!(outside, Some(incluster::Error::NoTokio)), "{outside:?}");
}
