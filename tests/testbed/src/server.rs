//! The server.

use crate::ca::Identity;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request that arrived. Its body is not kept: the client has none.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path and query, as they were on the wire.
    pub path_and_query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The version of HTTP.
    pub version: http::Version,
}

impl Request {
    /// The path.
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether the body goes on after that, with nothing, for ever.
    pub stalls: bool,
    /// Whether the body comes in drops: a hundred pieces, 10 ms apart.
    pub drips: bool,
}

impl Answer {
    /// An answer without headers.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.into(), stalls: false, drips: false }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }
}

/// Which versions of HTTP the server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 and HTTP/1.1.
    Any,
    /// HTTP/1.1 alone.
    Http1,
}

/// A running server. It stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
}

impl Server {
    /// Serves on 127.0.0.1, on a port of its own.
    pub async fn start(
        identity: Identity,
        protocol: Protocol,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::start_at("127.0.0.1:0", identity, protocol, answer).await
    }

    /// Serves on an address.
    pub async fn start_at(
        address: &str,
        identity: Identity,
        protocol: Protocol,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)
            .expect("an identity");
        tls.alpn_protocols = match protocol {
            Protocol::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
        };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let answer: Arc<dyn Fn(&Request) -> Answer + Send + Sync> = Arc::new(answer);
        Server::accepting(address, move |seen, stream| {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            async move {
                // A client that does not trust us ends the handshake: that is its right.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| respond(seen.clone(), answer.clone(), request));
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// Serves bare connections, for what is not HTTP over TLS.
    pub async fn start_raw<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Server {
        Server::accepting("127.0.0.1:0", move |_, stream| serve(stream)).await
    }

    async fn accepting<F: Future<Output = ()> + Send + 'static>(
        address: &str,
        serve: impl Fn(Arc<Seen>, TcpStream) -> F + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind(address).await.expect("an address to listen on");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let accepting = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    // As Go's servers do; otherwise each answer would wait for the client's delayed acknowledgement.
                    stream.set_nodelay(true).expect("a socket");
                    tokio::spawn(serve(seen.clone(), stream));
                }
            }
        });
        Server { address, seen, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The requests that arrived.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn respond(
    seen: Arc<Seen>,
    answer: Arc<dyn Fn(&Request) -> Answer + Send + Sync>,
    request: http::Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let request = Request {
        method: request.method().clone(),
        path_and_query: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: request.headers().clone(),
        version: request.version(),
    };
    let Answer { status, headers, body, stalls, drips } = answer(&request);
    seen.requests.lock().unwrap().push(request);
    let body = match stalls {
        false if drips => {
            let pieces: Vec<Bytes> = body.chunks(body.len() / 100 + 1).map(Bytes::copy_from_slice).collect();
            let pace = tokio::time::interval(Duration::from_millis(10));
            let drops = stream::unfold((pace, pieces.into_iter()), |(mut pace, mut pieces)| async {
                pace.tick().await;
                pieces.next().map(|piece| (Ok(Frame::data(piece)), (pace, pieces)))
            });
            BodyExt::boxed(StreamBody::new(Box::pin(drops)))
        }
        false => Full::new(body).boxed(),
        true => {
            let first = stream::once(std::future::ready(Ok(Frame::data(body))));
            StreamBody::new(first.chain(stream::pending())).boxed()
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().expect("a status");
    *response.headers_mut() = headers;
    Ok(response)
}
