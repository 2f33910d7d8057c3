//! Tests of lists and of the requests that they send.

use crate::{kubernetes, list_shop, tenant};
use incluster::types::{Error, ListOptions, PodList, ResourceVersionMatch};
use testbed::{Ca, Identity, PodApi, Protocol, Recording, Server, TOKEN, Testbed};

/// A testbed whose server does not know protobuf.
async fn json_only() -> Testbed {
    Testbed::serving(|request| {
        let mut request = request.clone();
        request.headers.insert("accept", "application/json".parse().unwrap());
        PodApi::answer(&request)
    })
    .await
}

#[tokio::test]
async fn both_encodings_give_the_same_pods() {
    let (any, json) = (Testbed::start().await, json_only().await);
    let from_protobuf = list_shop(&tenant(&any)).await.unwrap();
    let from_json = list_shop(&tenant(&json)).await.unwrap();
    assert_eq!(from_protobuf, from_json);
    assert_eq!(from_json.items.len(), 7);
    let pod = &from_json.items[1];
    assert_eq!(pod.metadata.name, "checkout-177627f91a-f31940");
    assert_eq!(pod.metadata.owner_references[0].kind, "ReplicaSet");
    assert_eq!(pod.spec.containers[0].ports[0].container_port, 8080);
    assert_eq!(pod.status.pod_ips, ["10.1.0.0"]);
}

#[tokio::test]
async fn a_list_is_one_request_with_the_token() {
    let testbed = Testbed::start().await;
    list_shop(&tenant(&testbed)).await.unwrap();
    let [request] = &testbed.server.requests()[..] else { panic!() };
    assert_eq!(request.method, "GET");
    assert_eq!(request.path_and_query, "/api/v1/namespaces/shop/pods");
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    assert_eq!(request.header("accept"), Some("application/vnd.kubernetes.protobuf,application/json"));
    assert_eq!(request.header("user-agent"), Some("incluster/0.1.0"));
    assert_eq!(request.header("accept-encoding"), None);
}

#[tokio::test]
async fn every_option_reaches_the_wire_as_kubernetes_spells_it() {
    let testbed = Testbed::start().await;
    let options = ListOptions {
        label_selector: Some("app in (web, api),!old".into()),
        field_selector: Some("status.phase=Running".into()),
        limit: Some(500),
        continue_token: Some("a+b/c==".into()),
        resource_version: Some("10487".into()),
        resource_version_match: Some(ResourceVersionMatch::NotOlderThan),
        timeout_seconds: Some(30),
    };
    tenant(&testbed).list_namespaced_pods("shop", &options).await.unwrap();
    assert_eq!(
        testbed.server.requests()[0].path_and_query,
        "/api/v1/namespaces/shop/pods?labelSelector=app%20in%20%28web%2C%20api%29%2C%21old&fieldSelector=status.phase%3DRunning\
         &limit=500&continue=a%2Bb%2Fc%3D%3D&resourceVersion=10487&resourceVersionMatch=NotOlderThan&timeoutSeconds=30"
    );
}

#[tokio::test]
async fn pages_say_what_follows() {
    let testbed = Testbed::serving(|_| Recording::read("list-page-1-protobuf").answer).await;
    let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
    let list = tenant(&testbed).list_namespaced_pods("shop", &options).await.unwrap();
    let PodList { items, continue_token, remaining_item_count, .. } = list;
    assert_eq!((items.len(), remaining_item_count), (3, Some(4)));
    assert!(continue_token.is_some());
}

#[tokio::test]
async fn an_invalid_namespace_is_refused_before_anything_is_sent() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed);
    for namespace in ["../other", "a/b", "a%2Fb", "", &"a".repeat(64), "shop?watch=true", "Shop"] {
        let answer = kubernetes(tenant.list_namespaced_pods(namespace, &ListOptions::ALL).await);
        assert!(matches!(answer, Err(Error::InvalidArgument(_))), "{namespace:?}: {answer:?}");
    }
    assert_eq!(testbed.server.connections(), 0);
}

#[tokio::test]
async fn get_json_gives_the_text_that_the_server_sent() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed);
    let json = tenant.get_json("/api/v1/namespaces/shop/pods?limit=7").await.unwrap();
    assert_eq!(json, Recording::read("list-json").answer.body);
    assert_eq!(testbed.server.requests()[0].path_and_query, "/api/v1/namespaces/shop/pods?limit=7");
    for path in ["/version", "/api/v1/../../metrics", "/api/v1/pods?watch=1", "//evil/api", "/api/v1/namespaces/a%2fb/pods"] {
        assert!(matches!(kubernetes(tenant.get_json(path).await), Err(Error::InvalidArgument(_))), "{path}");
    }
    assert_eq!(testbed.server.requests().len(), 1);
}

#[tokio::test]
async fn the_namespace_is_the_volumes() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed);
    assert_eq!(tenant.namespace().await.unwrap().as_deref(), Some("shop"));
    testbed.volume.remove("namespace");
    assert_eq!(tenant.namespace().await.unwrap(), None);
}

async fn version_spoken(identity: Identity, protocol: Protocol, ca: &Ca) -> (http::Version, usize) {
    let server = Server::start(identity, protocol, PodApi::answer).await;
    let testbed = Testbed { ca: Ca::new("unused"), server, volume: testbed::Volume::new(TOKEN, &ca.pem(), "shop") };
    let tenant = tenant(&testbed);
    for _ in 0..3 {
        list_shop(&tenant).await.unwrap();
    }
    (testbed.server.requests()[2].version, testbed.server.connections())
}

#[tokio::test]
async fn http_2_and_1_1_by_what_the_server_offers_over_one_connection() {
    let ca = Ca::new("ca");
    let both = version_spoken(ca.identity(&["127.0.0.1"]), Protocol::Any, &ca).await;
    assert_eq!(both, (http::Version::HTTP_2, 1));
    let old = version_spoken(ca.identity(&["127.0.0.1"]), Protocol::Http1, &ca).await;
    assert_eq!(old, (http::Version::HTTP_11, 1));
}
