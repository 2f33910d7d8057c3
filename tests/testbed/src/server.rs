//! The test server.

#[cfg(test)]
mod tests;

use crate::answer::Answer;
use crate::ca::Identity;
use crate::request::Request;
use crate::tls::{Protocol, Tls};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// A running server. Dropping it stops it and ends its connections.
pub struct Server {
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

/// A server's answer to a request, or the reason why it resets the stream.
pub(crate) type Said = Result<Answer, h2::Reason>;

pub(crate) type Handler = Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Said> + Send>> + Send + Sync>;

impl Server {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start(
        identity: Identity,
        protocol: Protocol,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::start_at("127.0.0.1:0", identity, protocol, answer).await
    }

    /// Starts a server on this address.
    pub async fn start_at(
        address: &str,
        identity: Identity,
        protocol: Protocol,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Server {
        Server::handling(address, identity, protocol, at_once(answer)).await
    }

    /// Starts a server on a free port of 127.0.0.1, with an asynchronous handler.
    pub async fn start_async<F: Future<Output = Answer> + Send + 'static>(
        identity: Identity,
        protocol: Protocol,
        answer: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Server {
        let handler: Handler = Arc::new(move |request| {
            let answer = answer(request);
            Box::pin(async move { Ok(answer.await) })
        });
        Server::handling("127.0.0.1:0", identity, protocol, handler).await
    }

    /// Starts a server that hands over bare TCP connections, for tests of anything but HTTP over TLS.
    pub async fn start_raw<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Server {
        Server::accepting("127.0.0.1:0", None, move |_, stream| serve(stream)).await
    }

    async fn handling(address: &str, identity: Identity, protocol: Protocol, handler: Handler) -> Server {
        let tls = Tls::new(identity);
        Server::accepting(address, Some(tls.clone()), move |seen, stream| {
            serve(seen, stream, tls.clone(), protocol, handler.clone())
        })
        .await
    }

    pub(crate) async fn accepting<F: Future<Output = ()> + Send + 'static>(
        address: &str,
        tls: Option<Arc<Tls>>,
        serve: impl Fn(Arc<Seen>, TcpStream) -> F + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind(address).await.expect("an address to listen on");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let accepting = tokio::spawn(accept(listener, address, seen.clone(), serve));
        Server { address, tls, seen, accepting }
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the server's base URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Returns the requests that have arrived.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.borrow().clone()
    }

    /// Removes and returns the requests that have arrived, so that a long-running server does not keep them all.
    pub fn take_requests(&self) -> Vec<Request> {
        self.seen.requests.send_replace(Vec::new())
    }

    /// Waits until this many requests have arrived.
    pub async fn until_requests(&self, count: usize) {
        let _ = self.seen.requests.subscribe().wait_for(|requests| requests.len() >= count).await;
    }

    /// Returns how many connections were accepted.
    pub fn connections(&self) -> usize {
        *self.seen.connections.borrow()
    }

    /// Waits until this many connections were accepted.
    pub async fn until_connections(&self, count: usize) {
        let _ = self.seen.connections.subscribe().wait_for(|connections| *connections >= count).await;
    }

    /// Returns how many connections are open.
    pub fn open_connections(&self) -> usize {
        *self.seen.open.borrow()
    }

    /// Waits until exactly this many connections are open.
    pub async fn until_open_connections(&self, count: usize) {
        let _ = self.seen.open.subscribe().wait_for(|open| *open == count).await;
    }

    /// Presents another identity in all further handshakes. Sessions of earlier handshakes cannot be resumed.
    ///
    /// # Panics
    ///
    /// Panics if the server was started with [`Server::start_raw`].
    pub fn rotate(&self, identity: Identity) {
        self.tls.as_ref().expect("a server with TLS").rotate(identity);
    }

    /// Breaks all open connections and goes on listening.
    pub fn hang_up(&self) {
        self.seen.hang_up.notify_one();
    }

    /// Breaks all open connections and stops listening, until [`Server::come_back`].
    pub fn leave(&self) {
        self.seen.is_away.send_replace(true);
    }

    /// Listens again, at the same address.
    pub fn come_back(&self) {
        self.seen.is_away.send_replace(false);
    }

    /// Makes all open connections go silent, as if a proxy in between had lost them: the server neither reads nor writes on them. They stay open
    /// until [`Server::hang_up`]. New connections are served.
    pub fn freeze(&self) {
        self.seen.freezes.send_modify(|freezes| *freezes += 1);
    }

    /// Stops the server, and waits until its address can be listened on again.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    connections: watch::Sender<usize>,
    open: watch::Sender<usize>,
    requests: watch::Sender<Vec<Request>>,
    hang_up: Notify,
    is_away: watch::Sender<bool>,
    /// How many times the connections were frozen.
    freezes: watch::Sender<usize>,
}

impl Seen {
    pub(crate) fn request(&self, request: Request) {
        self.requests.send_modify(|requests| requests.push(request));
    }
}

/// A guard that counts an open connection as long as it lives.
struct Open(Arc<Seen>);

impl Open {
    fn new(seen: Arc<Seen>) -> Open {
        seen.connections.send_modify(|connections| *connections += 1);
        seen.open.send_modify(|open| *open += 1);
        Open(seen)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    address: SocketAddr,
    seen: Arc<Seen>,
    serve: impl Fn(Arc<Seen>, TcpStream) -> F + Send + Sync + 'static,
) {
    // The connections are owned here, so that they end with the server.
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    let mut away = seen.is_away.subscribe();
    loop {
        tokio::select! {
            accepted = next_connection(listener.as_ref()) => {
                let Ok((stream, _)) = accepted else { return };
                // Go's servers do this too; without it, each answer would wait for the client's delayed acknowledgement.
                stream.set_nodelay(true).expect("a socket");
                let (open, serving) = (Open::new(seen.clone()), serve(seen.clone(), stream));
                let frozen = seen.freezes.subscribe();
                connections.spawn(async move {
                    until_frozen(serving, frozen).await;
                    drop(open);
                });
            }
            () = seen.hang_up.notified() => connections.abort_all(),
            Ok(()) = away.changed() => {
                listener = None;
                let is_away = *away.borrow_and_update();
                match is_away {
                    true => connections.abort_all(),
                    false => listener = Some(TcpListener::bind(address).await.expect("the address, which is still free")),
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn next_connection(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Serves a connection until it is frozen, and then keeps it open in silence.
async fn until_frozen(serving: impl Future<Output = ()>, mut frozen: watch::Receiver<usize>) {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // Nothing is sent after `freeze` was called.
        biased;
        Ok(()) = frozen.changed() => std::future::pending().await,
        () = &mut serving => {}
    }
}

/// Makes a handler of a function that does not wait.
pub(crate) fn at_once(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Handler {
    Arc::new(move |request| Box::pin(std::future::ready(Ok(answer(&request)))))
}

/// Serves HTTP over TLS.
pub(crate) async fn serve(seen: Arc<Seen>, stream: TcpStream, tls: Arc<Tls>, protocol: Protocol, handler: Handler) {
    // A client that does not trust the server ends the handshake, which is no failure here.
    let Ok(stream) = tls.accept(stream, protocol).await else { return };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let request = Request::of(&request);
        seen.request(request.clone());
        let said = handler(request);
        async move { said.await.map(Answer::into_response).map_err(h2::Error::from) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    if let Protocol::Http2Streams(streams) = protocol {
        http.http2().max_concurrent_streams(streams);
    }
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}
