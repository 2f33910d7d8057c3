//! Tests of which connections are made, reused and abandoned.

use crate::caller::Caller;
use crate::faults::{CALLS, Call, lost, passes};
use crate::http_2::frame;
use crate::{answer, tenant, tenant_at};
use incluster::types::{Error, JsonEvent, ListOptions, PodEvent, RetryPolicy, TransportError, WatchOptions};
use incluster::{RequestLimits, Tenant};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testbed::{Answer, Ca, Chunk, Fault, Faults, PodStore, Protocol, Relay, Request, Server, TOKEN, Testbed, Volume};
use tokio::sync::Barrier;
use tokio::sync::mpsc::unbounded_channel;

async fn speaking(protocol: Protocol, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Testbed {
    let ca = Ca::new("kubernetes-ca");
    let server = Server::start(ca.identity(&["127.0.0.1"]), protocol, answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    Testbed { ca, server, volume }
}

/// Lists the pods, and returns their number.
async fn answer_to(tenant: &Tenant) -> usize {
    answer(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await).unwrap().items.len()
}

/// When watches use all streams of a connection, a list does not wait but gets a new connection.
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
    // These watches use a fourth connection.
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    watch.next().await.unwrap().unwrap();
    assert_eq!((answer_to(&tenant).await, answer_to(&tenant).await), (7, 7));
    assert_eq!(testbed.server.connections(), 4);
}

/// Concurrent requests share connections up to the server's limit of streams, from the first request on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_on_connections_of_two_streams() {
    // The server answers no request before all have arrived.
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

/// With HTTP/1.1, each request in progress has a connection, which a later request reuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_http_1_are_reused() {
    let testbed = speaking(Protocol::Http1, PodStore::recorded().handler()).await;
    let tenant = tenant(&testbed);
    // A connection is idle again a moment after its answer has been read: an immediate request may get a new one.
    let takes_one_that_there_is = async || {
        for _ in 0..100 {
            let before = testbed.server.connections();
            assert_eq!(answer_to(&tenant).await, 7);
            if testbed.server.connections() == before {
                return true;
            }
        }
        false
    };
    assert!(takes_one_that_there_is().await);
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    watch.next().await.unwrap().unwrap();
    assert!(takes_one_that_there_is().await);
}

/// A connection that was lost while idle causes no failure.
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

/// After a timeout, the next attempt uses a new connection, because the old one may have gone silent. A watch on the old one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_answer_is_late_is_left() {
    let moment = Duration::from_millis(300);
    let second = Duration::from_secs(1);
    let limits =
        RequestLimits { connect: moment, handshake: second, first_byte: moment, between_bytes: moment, ..RequestLimits::DEFAULT };
    let twice = RetryPolicy { attempts: Some(2), ..RetryPolicy::DEFAULT };
    let (store, faults) = (PodStore::recorded(), Faults::default());
    let testbed = Testbed::disturbed(&faults, store.handler()).await;
    let tenant = tenant(&testbed).with_limits(limits).unwrap().with_retry_policy(twice);
    let options = WatchOptions { resource_version: Some(store.resource_version()), ..WatchOptions::ALL };
    let mut watch = tenant.watch_namespaced_pods("shop", &options).await.unwrap();
    store.add("one");
    watch.next().await.unwrap().unwrap();
    for (connections, fault) in [(2, Fault::NoAnswer), (3, Fault::HalfAnswer)] {
        faults.commit(fault, 1);
        assert_eq!(answer_to(&tenant).await, 8);
        assert_eq!(testbed.server.connections(), connections);
    }
    store.add("two");
    watch.next().await.unwrap().unwrap();
    testbed.server.freeze();
    assert_eq!(answer_to(&tenant).await, 9);
    assert_eq!(testbed.server.connections(), 4);
}

/// HTTP/1.1 has no pings, so a reused connection that does not answer may have gone silent. It is given up after half of the time limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_of_http_1_costs_half_of_the_time_limit() {
    let store = PodStore::recorded();
    let testbed = speaking(Protocol::Http1, store.handler()).await;
    let limits = RequestLimits { first_byte: Duration::from_secs(2), ..RequestLimits::DEFAULT };
    // Each call has one attempt.
    let tenant = tenant(&testbed).with_limits(limits).unwrap();
    assert_eq!(answer_to(&tenant).await, 7);
    testbed.server.freeze();
    assert_eq!((answer_to(&tenant).await, testbed.server.connections()), (7, 2));
    assert_eq!((answer_to(&tenant).await, testbed.server.connections()), (7, 2));
}

/// Dropped calls leave their handshakes behind, but the number of connections is limited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_connections_is_limited() {
    const MOST: usize = 128;
    let (store, faults) = (PodStore::recorded(), Faults::default());
    faults.speak(Protocol::Http1);
    let testbed = Testbed::disturbed(&faults, store.handler()).await;
    let limits = RequestLimits { handshake: Duration::from_secs(600), ..RequestLimits::DEFAULT };
    let briefly = RetryPolicy { attempts: Some(1), deadline: 500 };
    let tenant = tenant(&testbed).with_limits(limits).unwrap();
    assert_eq!(answer_to(&tenant).await, 7);
    faults.commit(Fault::Silent, usize::MAX);
    // Close the existing connection, which would be reused.
    testbed.server.hang_up();
    testbed.server.until_open_connections(0).await;
    let before = testbed.server.connections();
    for count in 1..=MOST {
        tokio::select! {
            answer = tenant.list_namespaced_pods("shop", &ListOptions::ALL) => panic!("{answer:?}"),
            () = testbed.server.until_connections(before + count) => {}
        }
    }
    let error =
        answer(tenant.with_retry_policy(briefly).list_namespaced_pods("shop", &ListOptions::ALL).await).unwrap_err().error;
    assert!(matches!(error, Error::Transport(TransportError::Timeout(_))), "{error:?}");
    assert_eq!(testbed.server.connections(), before + MOST);
}

/// After GOAWAY, a request above the last stream is retried whatever the code, because it was not processed (RFC 9113, section 6.8).
#[tokio::test]
async fn a_request_after_goaway_is_retried_whatever_the_code() {
    for (code, debug) in [(0, ""), (0xb, "too_many_pings"), (0xb, "too_many_internal_resets"), (0x2, ""), (0x1, "")] {
        let goes_away = frame(7, 0, 0, &[&[0, 0, 0, 0, 0, 0, 0, code], debug.as_bytes()].concat());
        passes(Fault::Frames(goes_away, Vec::new()), lost).await;
    }
}

/// A reset stream is retried if its code may mean that the request was not processed.
#[tokio::test]
async fn a_reset_stream_is_retried_by_its_code() {
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

/// Watches that are not read do not block other watches or lists on the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_watches_do_not_block_others() {
    let store = PodStore::recorded().handler();
    // An event, and the beginning of one that is larger than a stream's flow-control window.
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

/// A server that allows no streams may allow some later: a request waits for that within its time limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_allows_no_streams_costs_a_call_only_its_time() {
    let testbed = speaking(Protocol::Http2Streams(0), PodStore::recorded().handler()).await;
    let caller = Arc::new(Caller::impatient(&testbed));
    let calls = (0..6).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move { caller.outcome(Call::Stream).await.unwrap_err() })
    });
    for call in calls.collect::<Vec<_>>() {
        let error = call.await.unwrap();
        // The server refuses a request that was sent before its SETTINGS arrived.
        let is_expected = matches!(error, Error::Transport(TransportError::Timeout(_) | TransportError::ConnectionLost(_)));
        assert!(is_expected, "{error:?}");
    }
    // At most one connection for each attempt.
    assert!(testbed.server.connections() <= 12, "{}", testbed.server.connections());
    assert!(testbed.server.requests().is_empty());
}

/// The next connection may speak another version of HTTP, for example behind a load balancer or after an upgrade of a proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_changes_its_version_of_http() {
    let store = PodStore::recorded();
    let testbed = speaking(Protocol::Http2, store.handler()).await;
    let other = Server::start(testbed.ca.identity(&["127.0.0.1"]), Protocol::Http1, store.handler()).await;
    let servers = [&testbed.server, &other];
    let relay = Relay::to(testbed.server.address()).await;
    let tenant = tenant_at(&relay.url(), &testbed).with_retry_policy(RetryPolicy::DEFAULT);
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    while !matches!(watch.next().await.unwrap().unwrap(), PodEvent::Synced(_)) {}
    for round in 1..=6_usize {
        relay.lead_to(servers[round % 2].address());
        // Other requests are in progress, and are lost with their connection.
        let lists = (0..4).map(|_| {
            let tenant = tenant.clone();
            tokio::spawn(async move { answer_to(&tenant).await })
        });
        let lists: Vec<_> = lists.collect();
        relay.hang_up();
        for list in lists {
            assert_eq!(list.await.unwrap(), 6 + round);
        }
        store.add(&format!("new-{round}"));
        loop {
            match watch.next().await.unwrap().unwrap() {
                PodEvent::Changed(change) => break assert_eq!(change.pod.metadata.name, format!("new-{round}")),
                PodEvent::Bookmark(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(servers.iter().all(|server| !server.requests().is_empty()));
}

/// Pings detect a silent connection within 45 s, and its watches and requests go on over a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes most of a minute, and is a part of `just release-check`"]
async fn a_connection_that_goes_silent() {
    const WITHIN: Duration = Duration::from_secs(50);
    let store = PodStore::recorded();
    let testbed = speaking(Protocol::Http2, store.handler()).await;
    let tenant = tenant(&testbed).with_retry_policy(RetryPolicy::DEFAULT);
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    while !matches!(watch.next().await.unwrap().unwrap(), PodEvent::Synced(_)) {}
    assert_eq!((answer_to(&tenant).await, testbed.server.connections()), (7, 1));
    testbed.server.freeze();
    store.add("new");
    let begun = Instant::now();
    let (pods, event) = tokio::join!(answer_to(&tenant), watch.next());
    assert!(matches!(event.unwrap().unwrap(), PodEvent::Changed(change) if change.pod.metadata.name == "new"));
    assert_eq!((pods, testbed.server.connections()), (8, 2));
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
}
