//! Dropping a call, a list, a watch or a tenant frees its streams, sandboxes and connections.

use crate::tenant;
use incluster::policy::Policy;
use incluster::types::{ListOptions, PagingOptions, WatchOptions};
use incluster::{Pool, Runtime, Tenant, TenantLimits};
use std::time::Duration;
use testbed::{Answer, Chunk, PodStore, Recording, Testbed};
use tokio::sync::mpsc;

/// A server that sends the beginning of each answer, and hands the rest to the test.
async fn slow() -> (Testbed, mpsc::UnboundedReceiver<mpsc::UnboundedSender<Chunk>>) {
    let (asked, asking) = mpsc::unbounded_channel();
    let testbed = Testbed::serving(move |_| {
        let recorded = Recording::read("list-json").answer;
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(Chunk::Data(recorded.body.slice(..1000))).unwrap();
        asked.send(sender).unwrap();
        Answer { headers: recorded.headers, ..Answer::streaming(200, receiver) }
    })
    .await;
    (testbed, asking)
}

#[tokio::test]
async fn a_dropped_list_frees_its_stream() {
    let (testbed, mut asking) = slow().await;
    let tenant = tenant(&testbed);
    let body = tokio::select! {
        biased;
        list = tenant.list_namespaced_pods("shop", &ListOptions::ALL) => panic!("{list:?}"),
        body = asking.recv() => body.unwrap(),
    };
    // Returns when the server notices that the client has gone.
    body.closed().await;
}

#[tokio::test]
async fn dropped_pages_and_watches_free_theirs() {
    let (testbed, mut asking) = slow().await;
    let tenant = tenant(&testbed);
    let mut pages = tenant.page_namespaced_pods("shop", &ListOptions::ALL, &PagingOptions::DEFAULT).await.unwrap();
    let body = tokio::select! {
        biased;
        page = pages.next() => panic!("{page:?}"),
        body = asking.recv() => body.unwrap(),
    };
    assert!(!body.is_closed());
    drop(pages);
    body.closed().await;

    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let options = WatchOptions { resource_version: Some(store.resource_version()), ..WatchOptions::ALL };
    let mut watch = crate::tenant(&testbed).watch_namespaced_pods("shop", &options).await.unwrap();
    tokio::select! {
        biased;
        event = watch.next() => panic!("{event:?}"),
        () = store.until_open_watches(1) => {}
    }
    drop(watch);
    store.until_open_watches(0).await;
}

/// The pool has 100 places: if they were not given back, the 101st call would wait forever.
#[tokio::test]
async fn a_dropped_call_gives_its_place_back_at_once() {
    let runtime = Runtime::builder().pool(Pool { places: 100, ..Pool::default() }).build().unwrap();
    let (testbed, mut asking) = slow().await;
    let server = incluster::Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(&runtime, "test").server(server).service_account_dir(testbed.volume.path());
    let limits = TenantLimits { concurrent_calls: 200, instances: 200, open_streams: 200, ..TenantLimits::default() };
    let tenant = tenant.policy(Policy::allow_all()).limits(limits).build().unwrap();
    for _ in 0..2 {
        let mut calls: Vec<_> = (0..100).map(|_| Box::pin(tenant.list_namespaced_pods("shop", &ListOptions::ALL))).collect();
        // Keep the senders: dropping one would end its answer.
        let mut answers = Vec::new();
        while answers.len() < 100 {
            tokio::select! {
                biased;
                (list, ..) = futures_util::future::select_all(&mut calls) => panic!("{list:?}"),
                body = asking.recv() => answers.extend(body),
            }
        }
        let full = tokio::time::timeout(Duration::ZERO, runtime.admit()).await;
        assert!(full.is_err(), "all places are taken");
        drop(calls);
        let permits = futures_util::future::join_all((0..100).map(|_| runtime.admit()));
        assert_eq!(tokio::time::timeout(Duration::ZERO, permits).await.map(|p| p.len()).ok(), Some(100));
    }
}

/// Connections are closed when their tenant is dropped.
#[tokio::test]
async fn a_dropped_cluster_closes_its_connections() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed);
    crate::list_shop(&tenant).await.unwrap();
    assert_eq!(testbed.server.open_connections(), 1);
    drop(tenant);
    testbed.server.until_open_connections(0).await;
}
