//! What connections are made, kept and left.

use crate::caller::Caller;
use crate::faults::{CALLS, Call, lost, passes};
use crate::http_2::frame;
use crate::{answer, tenant};
use incluster::Tenant;
use incluster::types::{Error, JsonEvent, ListOptions, PodEvent, RetryPolicy, TransportError, WatchOptions};
use std::sync::Arc;
use testbed::{Answer, Ca, Chunk, Fault, PodStore, Protocol, Request, Server, TOKEN, Testbed, Volume};
use tokio::sync::Barrier;
use tokio::sync::mpsc::unbounded_channel;

async fn speaking(protocol: Protocol, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
    let ca = Ca::new("kubernetes-ca");
    let server = Server::start(ca.identity(&["127.0.0.1"]), protocol, answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    Testbed { ca, server, volume }
}

/// How many pods a list has.
async fn answer_to(tenant: &Tenant) -> usize {
    answer(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await).unwrap().items.len()
}

/// Watches that take all streams of a connection keep nobody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_beside_watches_that_take_all_streams() {
    let testbed = speaking(Protocol::Http2Streams(2), PodStore::recorded().handler()).await;
    let tenant = tenant(&testbed).with_retry_policy(RetryPolicy { attempts: Some(1), ..RetryPolicy::DEFAULT });
    let mut watches = Vec::new();
    for opened in 1..=5_usize {
        let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
        while !matches!(watch.next().await.unwrap().unwrap(), PodEvent::Synced(_)) {}
        watches.push(watch);
        assert_eq!(testbed.server.connections(), opened.div_ceil(2));
    }
    assert_eq!(answer_to(&tenant).await, 7);
    assert_eq!(testbed.server.connections(), 3);
    // On a fourth one.
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!((answer_to(&tenant).await, answer_to(&tenant).await), (7, 7));
    assert_eq!(testbed.server.connections(), 4);
}

/// Those who ask at once share what the server allows, from the first request on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_on_connections_of_two_streams() {
    // None is answered before all have come.
    let all = Arc::new(Barrier::new(6));
    let ca = Ca::new("kubernetes-ca");
    let answer = move |_| {
        let all = all.clone();
        async move {
            all.wait().await;
            Answer::new(200, "{}").header("content-type", "application/json")
        }
    };
    let server = Server::start_async(ca.identity(&["127.0.0.1"]), Protocol::Http2Streams(2), answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    let testbed = Testbed { ca, server, volume };
    let tenant = tenant(&testbed);
    let asked = (0..6).map(|_| {
        let tenant = tenant.clone();
        tokio::spawn(async move { tenant.get_json("/api/v1/nodes").await.unwrap() })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), b"{}");
    }
    assert_eq!(testbed.server.connections(), 3);
}

/// With HTTP/1.1, each request that is under way has a connection, which the next one takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_http_1_are_taken_again() {
    let testbed = speaking(Protocol::Http1, PodStore::recorded().handler()).await;
    let tenant = tenant(&testbed);
    for _ in 0..3 {
        assert_eq!(answer_to(&tenant).await, 7);
    }
    assert_eq!(testbed.server.connections(), 1);
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!((answer_to(&tenant).await, answer_to(&tenant).await), (7, 7));
    assert_eq!(testbed.server.connections(), 2);
}

/// What was lost while it was idle is noticed by nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ended_while_it_was_idle() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let testbed = speaking(protocol, PodStore::recorded().handler()).await;
        let caller = Caller::impatient(&testbed);
        for connections in 1..=3 {
            assert_eq!(caller.answer(Call::Stream).await.unwrap(), 7);
            assert_eq!(testbed.server.connections(), connections, "{protocol:?}");
            testbed.server.hang_up();
            testbed.server.until_open_connections(0).await;
        }
    }
}

/// RFC 9113, section 6.8: what is above the last stream was not processed, whatever the code.
#[tokio::test]
async fn a_server_that_goes_away_is_asked_again_whatever_it_says() {
    for (code, debug) in [(0, ""), (0xb, "too_many_pings"), (0xb, "too_many_internal_resets"), (0x2, ""), (0x1, "")] {
        let goes_away = frame(7, 0, 0, &[&[0, 0, 0, 0, 0, 0, 0, code], debug.as_bytes()].concat());
        passes(Fault::Frames(goes_away, Vec::new()), lost).await;
    }
}

/// A stream that is reset: by what means that it was not, or may not have been, processed.
#[tokio::test]
async fn a_stream_that_is_reset_is_asked_for_again_by_its_code() {
    for code in [0, 2, 7, 8, 0xb] {
        passes(Fault::Frames(frame(3, 0, 1, &[0, 0, 0, code]), Vec::new()), lost).await;
    }
    for call in CALLS {
        let testbed = Testbed::faulty(Fault::Frames(frame(3, 0, 1, &[0, 0, 0, 0xd]), Vec::new())).await;
        let error = Caller::impatient(&testbed).outcome(call).await.unwrap_err();
        assert!(matches!(error, Error::Transport(TransportError::HttpProtocol(_))), "{call:?}: {error:?}");
        assert_eq!(testbed.server.connections(), 1, "{call:?}");
    }
}

/// Whoever does not read a watch keeps nobody else from reading theirs, nor a list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_do_not_read_stop_nobody_else() {
    let store = PodStore::recorded().handler();
    // An event, and the beginning of one that is larger than what a stream may send ahead.
    let event = r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"}}}"#;
    let much = format!("{event}\n{{\"type\":\"ADDED\",\"object\":{{\"a\":\"{}", "x".repeat(2 << 20));
    let answer = move |request: &Request| {
        if !request.path_and_query.contains("configmaps") {
            return store(request);
        }
        let (sender, receiver) = unbounded_channel();
        sender.send(Chunk::Data(much.clone().into())).unwrap();
        Answer::streaming(200, receiver).header("content-type", "application/json")
    };
    let testbed = speaking(Protocol::Http2, answer).await;
    let tenant = tenant(&testbed);
    let mut watches = Vec::new();
    for _ in 0..12 {
        let options = WatchOptions { resource_version: Some("1".into()), ..WatchOptions::ALL };
        let mut watch = tenant.watch_json("/api/v1/namespaces/shop/configmaps", &options).await.unwrap();
        assert!(matches!(watch.next().await.unwrap().unwrap(), JsonEvent::Changed(_)));
        watches.push(watch);
    }
    assert_eq!(answer_to(&tenant).await, 7);
    assert_eq!(testbed.server.connections(), 1);
}
