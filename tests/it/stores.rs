//! Tests of collections that a tenant keeps up to date: `Tenant::pod_store` and `Tenant::json_store`.

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
async fn a_store_shows_the_objects_and_reports_changes() {
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
    assert_eq!(synced.objects.len(), 3, "a snapshot does not change");
}

#[tokio::test]
async fn equal_stores_share_one_watch_which_ends_with_the_last_store() {
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
    // A new store begins a new watch.
    let again = tenant.pod_store("shop", &all).unwrap();
    again.wait_until_synced().await.unwrap();
    assert_eq!(watches(&testbed), 3);
}

#[tokio::test]
async fn a_collection_that_is_too_large_is_not_shown_and_the_store_says_why() {
    let testbed = Testbed::serving(PodStore::with_pods(3).handler()).await;
    let tenant = tenant(&testbed);
    for (options, says) in [
        (StoreOptions { max_objects: 2, ..StoreOptions::default() }, "more than 2 objects"),
        (StoreOptions { max_bytes: 100, ..StoreOptions::default() }, "more than 100 bytes"),
    ] {
        let store = tenant.pod_store("shop", &options).unwrap();
        until_fresh(&store, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(why) } if why.contains(says))).await;
        assert!(store.latest().is_none());
    }
}

#[tokio::test]
async fn a_tenant_with_a_narrower_policy_has_stores_of_its_own() {
    let testbed = Testbed::serving(PodStore::with_pods(3).handler()).await;
    let tenant = tenant(&testbed);
    let store = tenant.pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    let narrow = tenant.with_policy(Policy::deny_all()).pod_store("shop", &StoreOptions::default()).unwrap();
    until_fresh(&narrow, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(why) } if why.contains("does not permit")))
        .await;
    assert!(narrow.latest().is_none());
    // A tenant that is denied at first gets permission later.
    let later = tenant.with_policy(Policy::deny_all());
    let store = later.pod_store("shop", &StoreOptions::default()).unwrap();
    until_fresh(&store, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(_) })).await;
    later.set_policy(Policy::allow_all());
    assert_eq!(store.wait_until_synced().await.unwrap().objects.len(), 3);
    let mut changes = store.changes();
    for _ in 0..3 {
        assert!(matches!(changes.next().await, Some(Change::Added(_))));
    }
    // When the permission is revoked, the store no longer shows what it knew, and tells its followers.
    later.set_policy(Policy::deny_all());
    for _ in 0..3 {
        assert!(matches!(changes.next().await, Some(Change::Deleted(_))));
    }
    until_fresh(&store, |fresh| matches!(fresh, Freshness::NotSynced { problem: Some(_) })).await;
    assert!(store.latest().is_none());
    assert!(later.pod_store("shop", &StoreOptions::default()).unwrap().latest().is_none());
}

#[tokio::test]
async fn a_store_keeps_its_objects_and_is_stale_while_the_server_is_away() {
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
async fn objects_that_went_while_a_watch_expired_are_reported_as_deleted() {
    let pods = PodStore::with_pods(5);
    let testbed = Testbed::serving(pods.handler()).await;
    let store = tenant(&testbed).pod_store("shop", &StoreOptions::default()).unwrap();
    store.wait_until_synced().await.unwrap();
    let mut changes = store.changes();
    for _ in 0..5 {
        changes.next().await.unwrap();
    }
    // The connection ends, and while the server is away, it forgets the next changes.
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
async fn a_writer_can_wait_for_the_version_that_it_wrote() {
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
        // The watch stays open.
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
