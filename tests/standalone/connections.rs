//! Tests of how connections are made and reused.

use crate::caller::Caller;
use crate::faults::Call;
use incluster::types::{Error, PodEvent, RetryPolicy, TransportError};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testbed::{Ca, Fault, PodStore, Protocol, Request, Server, TOKEN, Testbed, Volume};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

fn once(testbed: &Testbed) -> Caller {
    Caller::at(&testbed.server.url(), testbed)
}

#[tokio::test]
async fn pages_come_over_one_connection() {
    let testbed = Testbed::serving(PodStore::recorded().handler()).await;
    assert_eq!(once(&testbed).outcome(Call::Page).await, Ok(7));
    assert_eq!((testbed.server.requests().len(), testbed.server.connections()), (3, 1));
}

#[tokio::test]
async fn several_watches_are_waited_for() {
    let pods = PodStore::with_pods(3);
    let testbed = Testbed::serving(pods.handler()).await;
    once(&testbed).load().await.waits(&pods).await;
}

#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_not_used_again() {
    let testbed = Testbed::start().await;
    let mut loaded = once(&testbed).load().await;
    for (idle, connections) in [(0, 1), (40, 1), (60, 2)] {
        loaded.clock().skip(Duration::from_secs(idle));
        assert_eq!(loaded.outcome(Call::List).await, Ok(7));
        assert_eq!(testbed.server.connections(), connections, "after {idle} s");
    }
}

/// The unread rest of an answer is never taken for the answer to the next request.
#[tokio::test]
async fn a_connection_with_an_answer_left_on_it_is_not_used_again() {
    let testbed = Testbed::serving(PodStore::recorded().handler()).await;
    let mut loaded = once(&testbed).load().await;
    // The call ends at the first event that is not a pod, while the watch is still open.
    assert_eq!(loaded.outcome(Call::Watch).await, Ok(7));
    assert_eq!(loaded.outcome(Call::List).await, Ok(7));
    assert_eq!(loaded.outcome(Call::List).await, Ok(7));
    assert_eq!((testbed.server.requests().len(), testbed.server.connections()), (3, 2));
}

/// A server closes the connection after the first page without announcing it: the next request uses a new connection.
#[tokio::test]
async fn an_idle_connection_that_the_server_ends_is_no_failure() {
    let store = PodStore::recorded();
    let first = Request::get("/api/v1/namespaces/shop/pods?limit=3").with("accept", "application/json");
    let body = store.answer(&first.with("authorization", &format!("Bearer {TOKEN}"))).body;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let page = [head.as_bytes(), &body].concat();
    let testbed = Testbed::faulty_then(Fault::Raw(page), 1, store.handler()).await;
    assert_eq!(once(&testbed).outcome(Call::Page).await, Ok(7));
    assert_eq!((testbed.server.requests().len(), testbed.server.connections()), (3, 2));
}

/// Relays between clients and a server. Counts the clients' packets, and calls `before` for each connection.
async fn relay(to: SocketAddr, packets: Arc<AtomicUsize>, before: impl Fn() + Send + Sync + 'static) -> Server {
    let before = Arc::new(before);
    Server::start_raw(move |client| {
        let (packets, before) = (packets.clone(), before.clone());
        async move {
            before();
            let (mut client, mut answering) = client.into_split();
            let (mut answers, mut server) = TcpStream::connect(to).await.unwrap().into_split();
            let back = tokio::spawn(async move { copy(&mut answers, &mut answering).await });
            let mut packet = vec![0; 65536];
            while let Ok(1..) = client.read(&mut packet).await.inspect(|count| packet.truncate(*count)) {
                packets.fetch_add(1, Ordering::SeqCst);
                server.write_all(&packet).await.unwrap();
                packet = vec![0; 65536];
            }
            back.abort();
        }
    })
    .await
}

/// The client sends its Finished and the request in one packet: a separate request would wait for the first packet's acknowledgement.
#[tokio::test]
async fn the_end_of_the_handshake_and_the_request_are_one_packet() {
    let testbed = Testbed::start().await;
    let packets = Arc::new(AtomicUsize::new(0));
    let relay = relay(testbed.server.address(), packets.clone(), || {}).await;
    assert_eq!(Caller::at(&relay.url(), &testbed).outcome(Call::List).await, Ok(7));
    assert_eq!(packets.load(Ordering::SeqCst), 2, "ClientHello; Finished and the request");
}

/// When the CA is rotated between the reading of ca.crt and the handshake, the client reads ca.crt again.
#[tokio::test]
async fn ca_crt_is_read_again_after_an_untrusted_certificate() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let server = Server::start(new.identity(&["127.0.0.1"]), Protocol::Any, testbed::PodApi::answer).await;
    let volume = Arc::new(Volume::new(TOKEN, &old.pem(), "shop"));
    let rotated = volume.clone();
    let relay = relay(server.address(), Arc::default(), move || rotated.set("ca.crt", new.pem().as_bytes())).await;
    let caller = Caller::new(&relay.url(), volume.path(), RetryPolicy::NEVER);
    assert_eq!(caller.outcome(Call::List).await, Ok(7));
    assert_eq!(relay.connections(), 2);

    volume.set("ca.crt", old.pem().as_bytes());
    let caller = Caller::new(&server.url(), volume.path(), RetryPolicy::NEVER);
    let error = caller.outcome(Call::List).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Certificate(_))), "{error:?}");
}

/// A guest whose clock is two days ahead refuses the server's certificate, which is valid for a day.
#[tokio::test]
async fn certificates_are_judged_by_the_guests_own_clock() {
    let testbed = Testbed::start().await;
    let tomorrow = once(&testbed).ahead(Duration::from_secs(2 * 86_400));
    let error = tomorrow.outcome(Call::List).await.unwrap_err();
    assert!(matches!(&error, Error::Transport(TransportError::Certificate(why)) if why.contains("expired at")), "{error:?}");
    assert_eq!(testbed.server.requests().len(), 0);
    assert_eq!(once(&testbed).outcome(Call::List).await, Ok(7));
}

/// A dead address of a load balancer costs only a moment: the other addresses are tried.
#[tokio::test]
async fn an_address_that_does_not_answer_is_passed_by() {
    let ca = Ca::new("kubernetes-ca");
    let server = Server::start(ca.identity(&["localhost"]), Protocol::Any, testbed::PodApi::answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    let port = server.address().port();
    // The second address answers no connection, because its queue is full. Nothing listens at the third one.
    let full = TcpSocket::new_v4().unwrap();
    full.bind(([127, 0, 0, 2], port).into()).unwrap();
    let full = full.listen(0).unwrap();
    let _first = TcpStream::connect(full.local_addr().unwrap()).await.unwrap();
    let [good, dead, refusing] = [1, 2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
    for addresses in [vec![dead, good], vec![refusing, dead, good], vec![good, dead], vec![refusing, good]] {
        let caller = Caller::new(&format!("https://localhost:{port}"), volume.path(), RetryPolicy::NEVER);
        let mut loaded = caller.resolving_to(addresses).load().await;
        assert_eq!(loaded.outcome(Call::List).await, Ok(7));
        assert!(!loaded.clock().has_skipped(), "a time limit passed");
    }
}

#[tokio::test]
async fn a_host_without_a_network_is_reported_as_such() {
    let testbed = Testbed::start().await;
    let failure = async |url: &str| Caller::at(url, &testbed).without_network().outcome(Call::List).await.unwrap_err();
    let error = failure(&testbed.server.url()).await;
    assert!(matches!(&error, Error::Denied(text) if text.contains("-S inherit-network permits it")), "{error:?}");
    let error = failure("https://localhost:1").await;
    let Error::Transport(TransportError::NameNotResolved(text)) = &error else { panic!("{error:?}") };
    assert!(text.contains("-S allow-ip-name-lookup"), "{text}");
    assert_eq!(testbed.server.connections(), 0);
}

/// HTTP/1.1 has no pings, so a watch counts as silent when two bookmarks are missing.
#[tokio::test]
async fn a_watch_that_goes_silent_is_noticed_when_two_bookmarks_are_missing() {
    let store = PodStore::with_pods(1);
    let testbed = Testbed::serving(store.handler()).await;
    let mut loaded = once(&testbed).load().await;
    let from = store.resource_version();
    let first = tokio::spawn({
        let store = store.clone();
        async move {
            store.until_open_watches(1).await;
            store.bookmark();
        }
    });
    let (mut bookmarks, mut silent_since) = (0, None);
    loaded
        .watch(&from, |event, clock| match event {
            PodEvent::Bookmark(_) => {
                bookmarks += 1;
                if bookmarks < 3 {
                    clock.skip(Duration::from_secs(60));
                    store.bookmark();
                } else {
                    testbed.server.freeze();
                    store.add("new");
                    silent_since = Some(clock.now());
                }
                false
            }
            PodEvent::Changed(change) => {
                assert_eq!(change.pod.metadata.name, "new");
                let noticed_after = clock.now() - silent_since.unwrap();
                assert!((120..130).contains(&noticed_after.as_secs()), "{noticed_after:?}");
                true
            }
            other => panic!("{other:?}"),
        })
        .await;
    first.await.unwrap();
    assert_eq!((bookmarks, testbed.server.connections()), (3, 2));
}

/// A load balancer without servers accepts connections and does not answer the handshake: the next attempt uses another address.
#[tokio::test]
async fn an_address_without_a_handshake_is_tried_after_the_others() {
    let ca = Ca::new("kubernetes-ca");
    let server = Server::start(ca.identity(&["localhost"]), Protocol::Any, testbed::PodApi::answer).await;
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    let port = server.address().port();
    let deaf = TcpListener::bind((IpAddr::from([127, 0, 0, 2]), port)).await.unwrap();
    let addresses = [2, 1].map(|last| IpAddr::from([127, 0, 0, last]));
    let twice = RetryPolicy { attempts: Some(2), ..RetryPolicy::DEFAULT };
    let caller = Caller::new(&format!("https://localhost:{port}"), volume.path(), twice);
    let mut loaded = caller.resolving_to(addresses.to_vec()).load().await;
    assert_eq!(loaded.outcome(Call::List).await, Ok(7));
    drop(deaf);
}

/// HTTP/1.1 has no pings, so a reused connection that does not answer may have gone silent: the request is sent again on a new one.
#[tokio::test]
async fn a_connection_that_went_silent_is_left_for_a_new_one() {
    let testbed = Testbed::start().await;
    let mut loaded = once(&testbed).load().await;
    assert_eq!(loaded.outcome(Call::List).await, Ok(7));
    testbed.server.freeze();
    assert_eq!((loaded.outcome(Call::List).await, testbed.server.connections()), (Ok(7), 2));
}
