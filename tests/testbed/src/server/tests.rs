//! Tests of the server with a client.

use super::*;
use crate::answer::Chunk;
use crate::client::{Error, PODS, ask, connect, get};
use crate::{Ca, PodStore, TOKEN, Testbed, Volume};
use http_body_util::BodyExt;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

async fn serving(protocol: Protocol, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
    let ca = Ca::new("ca");
    let server = Server::start(ca.identity(&["127.0.0.1"]), protocol, answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    Testbed { ca, server, volume }
}

#[tokio::test]
async fn streaming_bodies() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let senders = Arc::new(Mutex::new(Vec::new()));
        let keeping = senders.clone();
        let testbed = serving(protocol, move |_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            keeping.lock().unwrap().push(sender);
            Answer::streaming(200, receiver)
        })
        .await;
        let next = async || {
            let body = ask(&testbed, PODS).await.unwrap().into_body();
            (body, senders.lock().unwrap().pop().unwrap())
        };

        let (mut body, sender) = next().await;
        for text in ["one", "two"] {
            sender.send(Chunk::Data(text.into())).unwrap();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), text);
        }
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "", "{protocol:?} ends without an error");

        let (mut body, sender) = next().await;
        sender.send(Chunk::Data("one".into())).unwrap();
        sender.send(Chunk::Abort).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        assert!(body.frame().await.unwrap().is_err(), "{protocol:?} breaks");

        let (body, sender) = next().await;
        drop(body);
        sender.closed().await;
    }
}

#[tokio::test]
async fn connections_are_counted() {
    let testbed = Testbed::start().await;
    let (first, second) = (connect(&testbed).await.unwrap(), connect(&testbed).await.unwrap());
    testbed.server.until_open_connections(2).await;
    drop(first);
    testbed.server.until_open_connections(1).await;
    testbed.server.hang_up();
    testbed.server.until_open_connections(0).await;
    drop(second);
    assert_eq!(get(&testbed, PODS).await.unwrap().0, 200);
    assert_eq!((testbed.server.connections(), testbed.server.requests().len()), (3, 1));
}

#[tokio::test]
async fn a_server_that_leaves_and_comes_back() {
    let testbed = Testbed::start().await;
    let open = connect(&testbed).await.unwrap();
    testbed.server.leave();
    testbed.server.until_open_connections(0).await;
    drop(open);
    let Err(Error::Connect(refused)) = get(&testbed, PODS).await else { panic!() };
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    testbed.server.come_back();
    while get(&testbed, PODS).await.is_err() {}
}

#[tokio::test]
async fn connections_that_freeze() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let mut watch = ask(&testbed, &format!("{PODS}?watch=true")).await.unwrap().into_body();
    watch.frame().await.unwrap().unwrap();
    testbed.server.freeze();
    assert_eq!(get(&testbed, PODS).await.unwrap().0, 200, "on another connection");
    store.delete("web-00000");
    assert!(tokio::time::timeout(Duration::from_millis(50), watch.frame()).await.is_err());
    testbed.server.hang_up();
    assert!(watch.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn answers_may_wait() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let testbed = Testbed::serving_async(move |_| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            Answer::new(200, "late")
        }
    })
    .await;
    let opening = async {
        testbed.server.until_requests(1).await;
        opened.notify_one();
    };
    let (said, ()) = tokio::join!(get(&testbed, PODS), opening);
    assert_eq!(said.unwrap(), (200, "late".into()));
}

#[tokio::test]
async fn rotation_and_restart() {
    let mut testbed = Testbed::start().await;
    let other = Ca::new("other");
    testbed.server.rotate(other.identity(&["127.0.0.1"]));
    assert!(matches!(get(&testbed, PODS).await, Err(Error::Connect(_))));
    testbed.ca = other;
    assert_eq!(get(&testbed, PODS).await.unwrap().0, 200);

    let address = testbed.server.address().to_string();
    testbed.server.stop().await;
    let identity = testbed.ca.identity(&["127.0.0.1"]);
    testbed.server = Server::start_at(&address, identity, Protocol::Any, |_| Answer::new(204, "")).await;
    assert_eq!(get(&testbed, PODS).await.unwrap().0, 204);
}

#[tokio::test]
async fn a_store_is_served() {
    let store = PodStore::with_pods(3);
    let testbed = Testbed::serving(store.handler()).await;
    let mut watch = ask(&testbed, &format!("{PODS}?watch=true")).await.unwrap().into_body();
    for _ in 0..3 {
        assert!(watch.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"{\"type\":\"ADDED\""));
    }
    store.delete("web-00001");
    assert!(watch.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"{\"type\":\"DELETED\""));
    drop(watch);
    store.until_open_watches(0).await;
}
