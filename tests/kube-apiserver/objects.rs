//! Collections of any kind as JSON (services, ConfigMaps, a custom resource), and pods of all namespaces.

use crate::{changes, kubectl, kubernetes, status, tenant, variable, volume};
use incluster::types::{ChangeKind, Error as Kubernetes, JsonEvent, JsonPage, ListOptions, PagingOptions, WatchOptions};
use incluster::{JsonPages, JsonWatch, Tenant};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use testbed::Volume;

/// How long to wait for an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates a tenant whose service account may list and watch these resources in the namespace in which tests change objects.
fn account(name: &str, resources: &str) -> (Tenant, Volume) {
    let (home, namespace) = (variable("REAL_NAMESPACE"), changes::namespace());
    kubectl(&["create", "serviceaccount", name, "--namespace", &home]);
    kubectl(&["create", "role", name, "--verb=list,watch", "--resource", resources, "--namespace", &namespace]);
    let subject = format!("--serviceaccount={home}:{name}");
    kubectl(&["create", "rolebinding", name, "--role", name, &subject, "--namespace", &namespace]);
    let volume = volume(&changes::token(name));
    (tenant(&volume), volume)
}

fn apply(object: &Value) {
    let mut kubectl = Command::new(variable("KUBECTL")).args(["apply", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    kubectl.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    assert!(kubectl.wait().unwrap().success());
}

fn names(objects: &[Vec<u8>]) -> Vec<String> {
    let name =
        |object: &Vec<u8>| serde_json::from_slice::<Value>(object).unwrap()["metadata"]["name"].as_str().unwrap().to_string();
    objects.iter().map(name).collect()
}

async fn all(mut pages: JsonPages) -> Result<Vec<JsonPage>, Kubernetes> {
    let mut all = Vec::new();
    while let Some(page) = kubernetes(pages.next().await)? {
        all.push(page);
    }
    Ok(all)
}

/// Returns the next change. Bookmarks may come at any time, and are skipped.
async fn change(watch: &mut JsonWatch) -> (ChangeKind, Value) {
    loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event").unwrap() {
            Some(JsonEvent::Changed(change)) => return (change.kind, serde_json::from_slice(&change.object).unwrap()),
            Some(JsonEvent::Bookmark(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A tenant pages and watches the collections that RBAC permits, and is refused the others.
#[tokio::test]
async fn collections_are_paged_and_watched() {
    let (tenant, _volume) = account("collections", "services,configmaps");
    let namespace = changes::namespace();
    for number in 0..5 {
        kubectl(&["create", "configmap", &format!("any-{number}"), "--from-literal=a=b", "--namespace", &namespace]);
        kubectl(&["label", "configmap", &format!("any-{number}"), "test=any", "--namespace", &namespace]);
    }
    kubectl(&["create", "service", "clusterip", "any", "--tcp=80:8080", "--namespace", &namespace]);

    let options = ListOptions { label_selector: Some("test=any".into()), limit: Some(2), ..ListOptions::ALL };
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let pages = all(tenant.page_json(&path, &options, &PagingOptions::DEFAULT).await.unwrap()).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(pages.iter().all(|page| (&*page.api_version, &*page.kind) == ("v1", "ConfigMapList")));
    let found: Vec<_> = pages.iter().flat_map(|page| names(&page.items)).collect();
    assert_eq!(found, ["any-0", "any-1", "any-2", "any-3", "any-4"]);

    let version = pages.last().unwrap().resource_version.clone();
    let options = WatchOptions { label_selector: Some("test=any".into()), resource_version: Some(version), ..WatchOptions::ALL };
    let mut watch = tenant.watch_json(&path, &options).await.unwrap();
    kubectl(&["label", "configmap", "any-3", "color=blue", "--namespace", &namespace]);
    let (kind, object) = change(&mut watch).await;
    assert_eq!((kind, &object["metadata"]["labels"]["color"]), (ChangeKind::Modified, &"blue".into()));
    assert_eq!((&object["kind"], &object["data"]["a"]), (&"ConfigMap".into(), &"b".into()));
    kubectl(&["delete", "configmap", "any-3", "--namespace", &namespace]);
    assert_eq!(change(&mut watch).await.0, ChangeKind::Deleted);

    // A watch that begins with the existing objects.
    let options = WatchOptions { field_selector: Some("metadata.name=any".into()), ..WatchOptions::ALL };
    let mut watch = tenant.watch_json(&format!("/api/v1/namespaces/{namespace}/services"), &options).await.unwrap();
    let (kind, service) = change(&mut watch).await;
    assert_eq!((kind, &service["spec"]["ports"][0]["targetPort"]), (ChangeKind::Added, &8080.into()));
    let synced = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event").unwrap();
    assert!(matches!(&synced, Some(JsonEvent::Synced(version)) if !version.is_empty()), "{synced:?}");

    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let refused = all(tenant.page_json(&slices, &ListOptions::ALL, &PagingOptions::DEFAULT).await.unwrap()).await;
    assert_eq!(status(refused).code, 403);
    assert_eq!(status(kubernetes(tenant.watch_json(&slices, &WatchOptions::ALL).await.unwrap().next().await)).code, 403);
}

#[tokio::test]
#[ignore = "it gives a service account a cluster role: not in the cluster of KUBECONFIG"]
async fn pods_of_all_namespaces() {
    let home = variable("REAL_NAMESPACE");
    let everywhere = || ListOptions { limit: Some(2000), ..ListOptions::ALL };
    let forbidden = tenant(&volume(&variable("REAL_TOKEN"))).list_namespaced_pods("*", &everywhere()).await;
    assert_eq!(status(kubernetes(forbidden)).code, 403);
    kubectl(&["create", "serviceaccount", "everywhere", "--namespace", &home]);
    kubectl(&["create", "clusterrole", "everywhere", "--verb=list,watch", "--resource=pods"]);
    kubectl(&[
        "create",
        "clusterrolebinding",
        "everywhere",
        "--clusterrole=everywhere",
        &format!("--serviceaccount={home}:everywhere"),
    ]);
    let volume = volume(&changes::token("everywhere"));
    let tenant = tenant(&volume);
    let list = tenant.list_namespaced_pods("*", &ListOptions::ALL).await.unwrap();
    let of = |namespace: &str| list.items.iter().filter(|pod| pod.metadata.namespace == namespace).count();
    assert_eq!((of(&home), of(&format!("{home}-load"))), (60, 5000));

    // The same list, as a stream of a few hundred pods at a time.
    let mut parts = tenant.list_namespaced_pods_stream("*", &ListOptions::ALL).await.unwrap();
    let (mut sizes, mut versions) = (Vec::new(), Vec::new());
    while let Some(page) = parts.next().await.unwrap() {
        sizes.push(page.items.len());
        versions.push(page.resource_version);
    }
    assert!(sizes.iter().sum::<usize>() >= list.items.len() && sizes.len() > 5, "{sizes:?}");
    assert!(versions.iter().all(|version| *version == versions[0]));
}

/// A custom resource with two versions, between which the server converts.
#[tokio::test]
#[ignore = "it defines a custom resource: not in the cluster of KUBECONFIG"]
async fn a_resource_of_ones_own() {
    let schema = serde_json::json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version =
        |name: &str, storage: bool| serde_json::json!({"name": name, "served": true, "storage": storage, "schema": schema});
    apply(&serde_json::json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [version("v1", true), version("v2", false)]},
    }));
    kubectl(&["wait", "--for=condition=established", "--timeout=60s", "crd/widgets.example.com"]);
    let (tenant, _volume) = account("widgets", "widgets.example.com");
    let namespace = changes::namespace();
    let widget = |name: &str| {
        let metadata = serde_json::json!({"name": name, "namespace": namespace});
        serde_json::json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1.5}})
    };
    apply(&widget("one"));
    let mut version = String::new();
    for served in ["v1", "v2"] {
        let path = format!("/apis/example.com/{served}/namespaces/{namespace}/widgets");
        let pages = all(tenant.page_json(&path, &ListOptions::ALL, &PagingOptions::DEFAULT).await.unwrap()).await.unwrap();
        assert_eq!((pages.len(), &*pages[0].api_version, &*pages[0].kind), (1, &*format!("example.com/{served}"), "WidgetList"));
        assert_eq!(names(&pages[0].items), ["one"]);
        version.clone_from(&pages[0].resource_version);
    }
    let options = WatchOptions { resource_version: Some(version), ..WatchOptions::ALL };
    let path = format!("/apis/example.com/v2/namespaces/{namespace}/widgets");
    let mut watch = tenant.watch_json(&path, &options).await.unwrap();
    apply(&widget("two"));
    let (kind, two) = change(&mut watch).await;
    assert_eq!((kind, &two["apiVersion"], &two["spec"]["size"]), (ChangeKind::Added, &"example.com/v2".into(), &1.5.into()));
}
