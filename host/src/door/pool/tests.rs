//! Requests on connections that end or go silent.

use super::super::connections::Connections;
use super::super::wasi_error;
use super::*;
use crate::limits::RequestLimits;
use incluster_core::Server;

/// A connection that goes silent both ways, without ending, is detected: requests that wait on it must be sent on another one.
#[tokio::test(start_paused = true)]
async fn a_connection_that_goes_silent_is_lost_and_not_refused() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (client, server) = tokio::join!(of_http2().handshake(TokioIo::new(near)), h2::server::handshake(far));
    let (mut sender, connection) = client.unwrap();
    // Nobody drives the server any more.
    let _server = server.unwrap();
    tokio::spawn(connection);
    let begun = Instant::now();
    let error = sender.try_send_request(Request::get("https://10.0.0.1/api").body(Sent::default()).unwrap()).await;
    let error = RequestError::Http(error.unwrap_err().into_error());
    assert!(begun.elapsed() <= PING_INTERVAL + PING_TIMEOUT + Duration::from_secs(1));
    let text = wasi_error::text(&wasi_error::of_request(&error, &Server::parse("https://10.0.0.1").unwrap()));
    assert!(text.contains("does not answer any more"), "{text}");
}

/// A request that waits for room on a connection that ends was not sent, and must be sent on another one.
#[tokio::test]
async fn a_request_that_waits_for_a_stream_of_a_connection_that_ends_is_lost() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut serving = h2::server::Builder::new();
    let serving = serving.max_concurrent_streams(1).handshake::<_, Bytes>(far);
    let (client, server) = tokio::join!(of_http2().handshake(TokioIo::new(near)), serving);
    let ((sender, connection), mut server) = (client.unwrap(), server.unwrap());
    tokio::spawn(connection);
    let ask = || {
        let mut sender = sender.clone();
        let request = Request::get("https://10.0.0.1/api").body(Sent::default()).unwrap();
        tokio::spawn(async move { sender.try_send_request(request).await.map(drop) })
    };
    let first = ask();
    let answering = server.accept().await.unwrap().unwrap();
    let second = ask();
    // By now the connection has taken the request.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop((server, answering));
    assert!(first.await.unwrap().is_err());
    let mut error = second.await.unwrap().unwrap_err();
    assert!(error.take_message().is_none(), "the request is lost");
    let error = error.into_error();
    assert!(error.is_user(), "hyper classifies it as the user's: {error:?}");
    let error = RequestError::Http(error);
    let text = wasi_error::text(&wasi_error::of_request(&error, &Server::parse("https://10.0.0.1").unwrap()));
    assert!(text.starts_with("connection-terminated"), "{text}");
}

#[test]
fn http_1_asks_the_origin_by_its_path() {
    let request = to_origin(Request::get("https://10.0.0.1:6443/api?x=1").body(Sent::default()).unwrap());
    assert_eq!((&*request.uri().to_string(), &request.headers()["host"] == "10.0.0.1:6443"), ("/api?x=1", true));
}

/// An embedder may have several runtimes. If one ends while it connects, the others make their own connections.
#[test]
fn a_runtime_that_ends_while_it_connects_does_not_block_others() {
    // The server accepts, and sends nothing in the handshake.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let ca = testbed::Ca::new("kubernetes-ca").pem();
    let read = Box::new(move || Ok(ca.clone().into_bytes()));
    let server = Server::parse(&url).unwrap();
    let connections = Connections::new(server, "ca.crt".into(), read, &RequestLimits::DEFAULT, Arc::default());
    let ask = || async {
        let request = Request::get(format!("{url}/api")).body(Sent::default()).unwrap();
        let brief = Duration::from_millis(200);
        let patience = Patience { until: Instant::now() + brief, first_byte: brief, own: brief };
        connections.request(request, patience).await.map(drop)
    };
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The request waits for the handshake, which is left unfinished when the runtime ends.
        assert!(matches!(runtime.block_on(ask()), Err(RequestError::Late)));
        let _accepted = listener.accept().unwrap();
    }
}
