//! Tests waiting for several watches at once. Each transport's tests compile this file, and give it a sandbox.

use incluster::bindings::Plugin;
use incluster::bindings::exports::incluster::kubernetes::client::Watch;
use incluster::types::{ChangeKind, JsonEvent, ListOptions, PagingOptions, PodEvent, WatchOptions};
use std::collections::BTreeSet;
use testbed::PodStore;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

const PODS: &str = "/api/v1/namespaces/shop/pods";

/// Tests `wait` in a sandbox whose configuration leads to a server of these pods.
pub async fn watches_are_waited_for<T: Send>(
    store: &mut Store<T>,
    plugin: &Plugin,
    config: ResourceAny,
    pods: &PodStore,
) -> wasmtime::Result<()> {
    let client = plugin.incluster_kubernetes_client();
    let from = WatchOptions { resource_version: Some(pods.resource_version()), ..WatchOptions::ALL };
    let brief = WatchOptions { timeout_seconds: Some(1), ..from.clone() };
    let typed = client.call_watch_namespaced_pods(&mut *store, config, "shop", &from).await?.unwrap();
    let json = client.call_watch_json(&mut *store, config, PODS, &from).await?.unwrap();
    let brief = client.call_watch_namespaced_pods(&mut *store, config, "*", &brief).await?.unwrap();
    let pages =
        client.call_page_namespaced_pods(&mut *store, config, "shop", &ListOptions::ALL, PagingOptions::DEFAULT).await?.unwrap();
    // Pages and watches outlive their configuration.
    config.resource_drop_async(&mut *store).await?;
    assert!(client.pod_pages().call_next(&mut *store, pages).await?.unwrap().is_some());
    assert!(client.pod_pages().call_next(&mut *store, pages).await?.unwrap().is_none());

    let both = [Watch::Pods(typed), Watch::Json(json)];
    let none = Vec::<u32>::new();
    assert_eq!(client.call_wait(&mut *store, &both, Some(0)).await?, none);
    assert_eq!(client.call_wait(&mut *store, &both, Some(20)).await?, none);
    assert_eq!(client.pod_watch().call_next(&mut *store, typed, Some(0)).await?.unwrap(), None);
    assert_eq!(client.json_watch().call_next(&mut *store, json, Some(20)).await?.unwrap(), None);

    pods.add("new");
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        heard.extend(client.call_wait(&mut *store, &both, None).await?);
    }
    let Some(PodEvent::Changed(change)) = client.pod_watch().call_next(&mut *store, typed, Some(0)).await?.unwrap() else {
        panic!()
    };
    assert_eq!((change.kind, &*change.pod.metadata.name), (ChangeKind::Added, "new"));
    let Some(JsonEvent::Changed(change)) = client.json_watch().call_next(&mut *store, json, Some(0)).await?.unwrap() else {
        panic!()
    };
    let object: serde_json::Value = serde_json::from_slice(&change.object)?;
    assert_eq!((change.kind, &object["metadata"]["name"], &object["kind"]), (ChangeKind::Added, &"new".into(), &"Pod".into()));
    assert_eq!(client.call_wait(&mut *store, &both, Some(0)).await?, none);

    // A broken connection is made again without an event.
    pods.drop_watches();
    assert_eq!(client.call_wait(&mut *store, &both, Some(50)).await?, none);
    pods.modify("new", "a", "b");
    // A watch that is named twice is reported twice.
    let twice = [Watch::Pods(typed), Watch::Pods(typed)];
    assert_eq!(client.call_wait(&mut *store, &twice, None).await?, [0, 1]);
    assert!(client.pod_watch().call_next(&mut *store, typed, Some(0)).await?.unwrap().is_some());

    // The end of a watch is reported like an event.
    assert_eq!(
        client.pod_watch().call_next(&mut *store, brief, None).await?.unwrap().map(|event| event == PodEvent::Ended),
        Some(false)
    );
    let mut last = None;
    while last != Some(PodEvent::Ended) {
        assert_eq!(client.call_wait(&mut *store, &[Watch::Pods(brief)], None).await?, [0]);
        last = client.pod_watch().call_next(&mut *store, brief, Some(0)).await?.unwrap();
    }

    assert_eq!(client.call_wait(&mut *store, &[], Some(1)).await?, none);
    assert_eq!(client.call_wait(&mut *store, &[], None).await?, none);
    Ok(())
}
