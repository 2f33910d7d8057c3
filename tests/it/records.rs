//! Tests of records as JSON documents and as streams, for use with other crates.

use crate::tenant;
use futures_util::{StreamExt, TryStreamExt};
use incluster::types::{ChangeKind, ListOptions, PagingOptions, PodChange, PodEvent, WatchOptions};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use testbed::{PodApi, PodStore, Testbed};

/// Checks that every value of one document is in the other one.
fn is_part(of: &Value, whole: &Value) -> Result<(), String> {
    match (of, whole) {
        (Value::Object(fields), Value::Object(all)) => fields.iter().try_for_each(|(name, value)| {
            is_part(value, all.get(name).unwrap_or(&Value::Null)).map_err(|why| format!("{name}: {why}"))
        }),
        (Value::Array(items), Value::Array(all)) if items.len() == all.len() => {
            items.iter().zip(all).try_for_each(|(item, other)| is_part(item, other))
        }
        _ if of == whole => Ok(()),
        _ => Err(format!("{of} differs from {whole}")),
    }
}

/// A record serializes to a part of the API server's own JSON, which `k8s_openapi` can read.
#[tokio::test]
async fn a_pod_is_the_api_servers_json() {
    let testbed = Testbed::serving(PodApi::answer).await;
    let tenant = tenant(&testbed);
    let list = tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.unwrap();
    let json = tenant.get_json("/api/v1/namespaces/shop/pods").await.unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    for item in json["items"].as_array_mut().unwrap() {
        // The recorded server is too old for `hostIPs`.
        let host = item["status"]["hostIP"].clone();
        if !host.is_null() && item["status"]["hostIPs"].is_null() {
            item["status"]["hostIPs"] = serde_json::json!([{"ip": host}]);
        }
        // Items of a list come without them.
        (item["apiVersion"], item["kind"]) = ("v1".into(), "Pod".into());
    }
    assert_eq!(list.items.len(), 7);
    is_part(&serde_json::to_value(&list).unwrap(), &json).unwrap();
    for (pod, item) in list.items.iter().zip(json["items"].as_array().unwrap()) {
        let document = serde_json::to_value(pod).unwrap();
        is_part(&document, item).unwrap();
        let read: Pod = serde_json::from_value(document).unwrap();
        assert_eq!(read.metadata.name.as_deref(), Some(&*pod.metadata.name));
        assert_eq!(read.metadata.labels.unwrap().len(), pod.metadata.labels.len());
        assert_eq!(read.status.unwrap().container_statuses.unwrap_or_default().len(), pod.status.container_statuses.len());
    }
}

#[tokio::test]
async fn pages_and_watches_are_streams() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = tenant(&testbed);
    let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
    let pages = tenant.page_namespaced_pods("shop", &options, &PagingOptions::DEFAULT).await.unwrap();
    let sizes: Vec<_> = pages.map_ok(|page| page.items.len()).try_collect().await.unwrap();
    assert_eq!(sizes, [3, 3, 1]);
    let watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    let initial = watch.take_while(|event| std::future::ready(!matches!(event, Ok(PodEvent::Synced(_)))));
    assert_eq!(initial.count().await, 7);
}

#[tokio::test]
async fn an_event_is_as_a_watch_sends_it() {
    let testbed = Testbed::start().await;
    let mut pod = tenant(&testbed).list_namespaced_pods("shop", &ListOptions::ALL).await.unwrap().items.remove(0);
    // A document is always valid: a timestamp with a five-digit year is left out.
    pod.metadata.creation_timestamp = Some(i64::MAX);
    pod.metadata.deletion_timestamp = Some(253_402_300_800);
    let document = serde_json::to_value(PodEvent::Changed(PodChange { kind: ChangeKind::Deleted, pod })).unwrap();
    assert_eq!((&document["type"], &document["object"]["kind"]), (&"DELETED".into(), &"Pod".into()));
    assert!(document["object"]["metadata"]["creationTimestamp"].is_null());
    let synced = serde_json::to_value(PodEvent::Synced("7".into())).unwrap();
    assert_eq!(synced["object"]["metadata"]["resourceVersion"], "7");
    assert_eq!(serde_json::to_value(PodEvent::Ended).unwrap(), Value::Null);
}
