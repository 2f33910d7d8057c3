//! Lists: options, pages, both encodings, and refusals.

use crate::{kubectl, list, list_as, namespace, status, tenant, variable, volume};
use incluster::types::{ListOptions, ResourceVersionMatch};
use serde_json::Value;

/// A list's records, which come in protobuf, have the same fields as the JSON that `get_json` returns.
#[tokio::test]
async fn both_encodings_say_the_same() {
    let volume = volume(&variable("REAL_TOKEN"));
    let tenant = tenant(&volume);
    let list = tenant.list_namespaced_pods(&namespace(), &ListOptions::ALL).await.unwrap();
    let json = tenant.get_json(&format!("/api/v1/namespaces/{}/pods", namespace())).await.unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let kubectls: Value = serde_json::from_str(&kubectl(&["get", "pods", "-o", "json", "-n", &namespace()])).unwrap();
    let names = kubectls["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap());
    assert!(names.eq(list.items.iter().map(|pod| pod.metadata.name.as_str())));
    assert_eq!(json["items"].as_array().unwrap().len(), list.items.len());
    for (item, pod) in json["items"].as_array().unwrap().iter().zip(&list.items) {
        assert_eq!(item["metadata"]["name"], *pod.metadata.name);
        assert_eq!(item["metadata"]["uid"], *pod.metadata.uid);
        assert_eq!(item["metadata"]["resourceVersion"], *pod.metadata.resource_version);
        assert_eq!(item["metadata"]["labels"].as_object().unwrap().len(), pod.metadata.labels.len());
        assert_eq!(item["spec"]["nodeName"].as_str(), pod.spec.node_name.as_deref());
        assert_eq!(item["spec"]["containers"][0]["image"].as_str(), pod.spec.containers[0].image.as_deref());
        assert_eq!(item["status"]["podIPs"][0]["ip"], *pod.status.pod_ips[0]);
        assert_eq!(item["status"]["containerStatuses"][0]["restartCount"], pod.status.container_statuses[0].restart_count);
        assert_eq!(item["status"]["conditions"].as_array().unwrap().len(), pod.status.conditions.len());
    }
}

#[tokio::test]
async fn list_options() {
    let all = list(ListOptions::ALL).await.unwrap();
    assert_eq!(all.items.len(), 60);
    let edge = list(ListOptions { label_selector: Some("tier in (edge)".into()), ..ListOptions::ALL }).await.unwrap();
    assert_eq!(edge.items.len(), 20);
    let none = list(ListOptions { field_selector: Some("status.phase=Failed".into()), ..ListOptions::ALL }).await.unwrap();
    assert!(none.items.is_empty());
    let any =
        list(ListOptions { resource_version: Some("0".into()), timeout_seconds: Some(30), ..ListOptions::ALL }).await.unwrap();
    assert_eq!(any.items.len(), 60);
    let same = ListOptions {
        resource_version: Some(all.resource_version.clone()),
        resource_version_match: Some(ResourceVersionMatch::Exact),
        ..ListOptions::ALL
    };
    assert_eq!(list(same).await.unwrap(), all);
}

#[tokio::test]
async fn pages_add_up() {
    let mut names = Vec::new();
    let mut options = ListOptions { limit: Some(25), ..ListOptions::ALL };
    let mut left = Vec::new();
    loop {
        let page = list(options.clone()).await.unwrap();
        names.extend(page.items.into_iter().map(|pod| pod.metadata.name));
        left.push(page.remaining_item_count);
        match page.continue_token {
            Some(token) => options.continue_token = Some(token),
            None => break,
        }
    }
    assert_eq!(left, [Some(35), Some(10), None]);
    let all = list(ListOptions::ALL).await.unwrap();
    assert_eq!(names, all.items.into_iter().map(|pod| pod.metadata.name).collect::<Vec<_>>());
}

#[tokio::test]
async fn refusals() {
    let forbidden = status(list_as(&variable("REAL_TOKEN"), "kube-system", ListOptions::ALL).await);
    assert_eq!((forbidden.code, forbidden.reason.as_deref()), (403, Some("Forbidden")));
    let unauthorized = status(list_as("not-a-token", &namespace(), ListOptions::ALL).await);
    assert_eq!((unauthorized.code, unauthorized.reason.as_deref()), (401, Some("Unauthorized")));
    let bad = status(list(ListOptions { label_selector: Some("a in (".into()), ..ListOptions::ALL }).await);
    assert_eq!((bad.code, bad.reason.as_deref()), (400, Some("BadRequest")));
    let token = status(list(ListOptions { continue_token: Some("nonsense".into()), ..ListOptions::ALL }).await);
    assert_eq!(token.code, 400);
    let lone = ListOptions { resource_version_match: Some(ResourceVersionMatch::Exact), ..ListOptions::ALL };
    assert_eq!(status(list(lone).await).code, 422);
}
