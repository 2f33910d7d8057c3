//! Connections that are kept for the next requests: of HTTP/2 as many as the server's limits for streams ask for, of HTTP/1.1 one for each
//! request that is under way.
//!
//! Our own, over hyper's connections: hyper-util's has one of HTTP/2 to a server, on which a request waits while watches take all streams.

#[cfg(test)]
mod tests;

use super::answer::{Answer, InUse, Uses};
use super::connections::{ConnectError, Connector};
use super::quiet::{self, Quiet};
use super::tls_stream::Tls;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::instrument::WithSubscriber;

/// A flow-control window that a list of thousands of pods does not wait for.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// How many streams a connection has at most, however many the server allows. Its window has room for what the server sends ahead on all of them, so that
/// streams that nobody reads do not stop the others.
const MOST_STREAMS: u32 = 64;
const CONNECTION_WINDOW_BYTES: u32 = (MOST_STREAMS + 1) * STREAM_WINDOW_BYTES;

/// How long an unused connection is kept: a little less than load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often a connection of HTTP/2 is asked whether it still works, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a request waits for the server to say how many streams a new connection may have. Servers say so before all else.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);

/// How many connections may end, one after the other, before the request is sent on one of them.
const MOST_LOST: u32 = 5;

/// A request's body.
type Sent = Full<Bytes>;

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// There is no connection.
    Connect(Arc<ConnectError>),
    /// The connection failed, or what came by it is not HTTP.
    Http(hyper::Error),
    /// Connections ended, one after the other, before the request was sent.
    Lost,
    /// The answer's head did not come in time.
    Late,
}

/// Connections to one server.
pub(crate) struct Pool {
    connector: Connector,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many connections there have been.
    count: u64,
    http2: Vec<Http2>,
    /// Those of HTTP/1.1 that no request is under way on.
    http1: Vec<Http1>,
    /// Whether the last connection was one of HTTP/1.1, so that each request needs one of its own.
    is_http1: bool,
    /// A connection that is being made, for all who wait.
    connecting: Option<watch::Receiver<Connected>>,
}

/// Whether a connection has been made.
type Connected = Option<Result<(), Arc<ConnectError>>>;

/// A connection, to ask how many streams the server allows. The task that runs it keeps it: with it end the requests that it has not sent.
type Running = Weak<Mutex<http2::Connection<TokioIo<Tls>, Sent, QuietExecutor>>>;

struct Http2 {
    number: u64,
    sender: http2::SendRequest<Sent>,
    connection: Running,
    in_use: Arc<Uses>,
    /// Whether the server has said how many streams it allows.
    is_settled: watch::Receiver<bool>,
}

struct Http1 {
    number: u64,
    sender: http1::SendRequest<Sent>,
    in_use: Arc<Uses>,
}

/// What there is for a request.
enum Next {
    Http2(Http2, InUse),
    Http1(Http1, InUse),
    /// This one, when the server has said how many streams it allows.
    Settling(watch::Receiver<bool>),
    /// One that is being made.
    Connecting(watch::Receiver<Connected>),
    /// None.
    Nothing,
}

impl Clone for Http2 {
    fn clone(&self) -> Http2 {
        let Http2 { number, sender, connection, in_use, is_settled } = self;
        let (sender, connection, in_use, is_settled) = (sender.clone(), connection.clone(), in_use.clone(), is_settled.clone());
        Http2 { number: *number, sender, connection, in_use, is_settled }
    }
}

impl Http2 {
    /// Whether the server allows another stream.
    fn has_room(&self) -> bool {
        let in_use = *self.in_use.count().borrow();
        if !*self.is_settled.borrow() {
            return in_use == 0;
        }
        // A server that allows none for now may allow some later: one request waits for that.
        let most = self.connection.upgrade().map(|running| lock(&running).current_max_send_streams());
        most.is_some_and(|most| in_use < most.clamp(1, MOST_STREAMS as usize))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Arc<Pool> {
        Arc::new(Pool { connector, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sends a request, and waits for the answer's head until then.
    pub(crate) async fn request(
        self: &Arc<Pool>,
        request: Request<Sent>,
        until: Instant,
    ) -> Result<Response<Answer>, RequestError> {
        for _ in 0..MOST_LOST {
            let connection = timeout_at(until, self.connection()).await.unwrap_or(Err(RequestError::Late))?;
            let sent = match connection {
                Next::Http2(mut connection, in_use) => {
                    let number = connection.number;
                    match timeout_at(until, connection.sender.try_send_request(request.clone())).await {
                        Ok(Ok(answer)) => return Ok(answer.map(|body| Answer::new(body, Some(in_use)))),
                        Ok(Err(error)) => (number, error),
                        Err(_late) => {
                            in_use.mark_late();
                            return Err(RequestError::Late);
                        }
                    }
                }
                Next::Http1(mut connection, in_use) => {
                    let number = connection.number;
                    match timeout_at(until, connection.sender.try_send_request(to_origin(request.clone()))).await {
                        Ok(Ok(answer)) => {
                            self.keep(connection, in_use);
                            return Ok(answer.map(|body| Answer::new(body, None)));
                        }
                        Ok(Err(error)) => (number, error),
                        // It ends with the request.
                        Err(_late) => return Err(RequestError::Late),
                    }
                }
                // `connection` waits for these.
                Next::Settling(_) | Next::Connecting(_) | Next::Nothing => return Err(RequestError::Lost),
            };
            // What was not sent before the connection ended is sent on another.
            let (number, mut error) = sent;
            self.state().http2.retain(|connection| connection.number != number);
            // As it was: the next connection may speak another version of HTTP.
            if error.take_message().is_none() {
                return Err(RequestError::Http(error.into_error()));
            }
        }
        Err(RequestError::Lost)
    }

    /// A connection with room for a request: one that there is, or a new one.
    async fn connection(self: &Arc<Pool>) -> Result<Next, RequestError> {
        loop {
            let next = self.state().next();
            match next {
                Next::Settling(mut is_settled) => {
                    if !matches!(timeout(SETTINGS_TIMEOUT, is_settled.wait_for(|settled| *settled)).await, Ok(Ok(_))) {
                        self.state().settle(&is_settled);
                    }
                }
                Next::Connecting(mut connecting) => {
                    let connected = connecting.wait_for(Option::is_some).await.map(|connected| connected.clone());
                    match connected {
                        Ok(Some(Err(error))) => return Err(RequestError::Connect(error)),
                        Ok(_) => {}
                        // The runtime is ending.
                        Err(_) => return Err(RequestError::Lost),
                    }
                }
                Next::Nothing => self.connect().await.map_err(RequestError::Connect)?,
                found => return Ok(found),
            }
        }
    }

    /// Makes a connection. It is made to its end, whoever still waits for it.
    async fn connect(self: &Arc<Pool>) -> Result<(), Arc<ConnectError>> {
        let (told, mut connecting) = watch::channel(None);
        {
            let mut state = self.state();
            if !state.is_http1 {
                state.connecting = Some(connecting.clone());
            }
        }
        let (pool, outer) = (self.clone(), quiet::outer());
        tokio::spawn(async move {
            let connected = pool.make().with_subscriber(outer).await.map_err(Arc::new);
            pool.state().connecting = None;
            told.send_replace(Some(connected));
        });
        match connecting.wait_for(Option::is_some).await {
            Ok(connected) => connected.clone().unwrap_or(Ok(())),
            Err(_) => Err(Arc::new(ConnectError::TcpTimeout)),
        }
    }

    async fn make(self: &Arc<Pool>) -> Result<(), ConnectError> {
        let tls = self.connector.connect().await?;
        let in_use = Arc::new(Uses::default());
        let (is_http2, is_settled) = (tls.is_http2(), tls.settings());
        let io = TokioIo::new(tls);
        let number = {
            let mut state = self.state();
            state.is_http1 = !is_http2;
            state.count += 1;
            state.count
        };
        if is_http2 {
            let (sender, connection) = of_http2().handshake(io).await.map_err(ConnectError::Http)?;
            let running = Arc::new(Mutex::new(connection));
            let connection = Arc::downgrade(&running);
            self.state().http2.push(Http2 { number, sender, connection, in_use: in_use.clone(), is_settled });
            self.run(number, poll_fn(move |cx| Pin::new(&mut *lock(&running)).poll(cx)), &in_use);
        } else {
            let (mut sender, connection) = http1::handshake(io).await.map_err(ConnectError::Http)?;
            self.run(number, connection, &in_use);
            sender.ready().await.map_err(ConnectError::Http)?;
            self.state().http1.push(Http1 { number, sender, in_use });
        }
        Ok(())
    }

    /// Runs a connection to its end, which comes when it has not been used for a while, or when the pool is gone.
    fn run(self: &Arc<Pool>, number: u64, connection: impl Future<Output = hyper::Result<()>> + Send + 'static, in_use: &Uses) {
        let (pool, mut uses) = (Arc::downgrade(self), in_use.count().subscribe());
        tokio::spawn(async move {
            let mut connection = Quiet::new(Box::pin(connection));
            tokio::select! {
                // What is wrong with it, its requests are told.
                _ended = &mut connection => remove(&pool, number),
                () = until_unused(&mut uses) => {
                    remove(&pool, number);
                    let _ended = connection.await;
                }
            }
        });
    }

    /// Keeps a connection of HTTP/1.1 for the next request, once the answer has been read.
    fn keep(self: &Arc<Pool>, mut connection: Http1, in_use: InUse) {
        let pool = Arc::downgrade(self);
        tokio::spawn(Quiet::new(Box::pin(async move {
            if connection.sender.ready().await.is_ok()
                && let Some(pool) = pool.upgrade()
            {
                drop(in_use);
                pool.state().http1.push(connection);
            }
        })));
    }
}

fn of_http2() -> http2::Builder<QuietExecutor> {
    let mut builder = http2::Builder::new(QuietExecutor);
    builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT);
    builder.initial_stream_window_size(STREAM_WINDOW_BYTES).initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

fn remove(pool: &Weak<Pool>, number: u64) {
    if let Some(pool) = pool.upgrade() {
        let mut state = pool.state();
        state.http2.retain(|connection| connection.number != number);
        state.http1.retain(|connection| connection.number != number);
    }
}

/// Until no request has been under way for a while. (A connection whose pool is gone ends by itself.)
async fn until_unused(uses: &mut watch::Receiver<usize>) {
    loop {
        if uses.wait_for(|uses| *uses == 0).await.is_err() {
            return std::future::pending().await;
        }
        tokio::select! {
            () = sleep(IDLE_TIMEOUT) => return,
            _changed = uses.changed() => {}
        }
    }
}

impl State {
    fn next(&mut self) -> Next {
        self.http2.retain(|connection| !connection.sender.is_closed() && !connection.in_use.is_late());
        self.http1.retain(|connection| !connection.sender.is_closed());
        let mut settling = None;
        for connection in &self.http2 {
            if connection.has_room() {
                return Next::Http2(connection.clone(), InUse::new(&connection.in_use));
            }
            if !*connection.is_settled.borrow() {
                settling = Some(connection.is_settled.clone());
            }
        }
        // The last one first: the others may come to their end.
        if let Some(connection) = self.http1.pop() {
            let in_use = InUse::new(&connection.in_use);
            return Next::Http1(connection, in_use);
        }
        match (settling, &self.connecting) {
            (Some(settling), _) => Next::Settling(settling),
            (None, Some(connecting)) => Next::Connecting(connecting.clone()),
            (None, None) => Next::Nothing,
        }
    }

    /// Waits no longer for this one to say how many streams it allows.
    fn settle(&mut self, is_settled: &watch::Receiver<bool>) {
        for connection in &mut self.http2 {
            if connection.is_settled.same_channel(is_settled) {
                connection.is_settled = watch::channel(true).1;
            }
        }
    }
}

/// As HTTP/1.1 asks an origin server (RFC 9112, section 3.2.1).
fn to_origin(mut request: Request<Sent>) -> Request<Sent> {
    let uri = std::mem::take(request.uri_mut());
    if let Some(host) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    let path = uri.into_parts().path_and_query;
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request
}

/// Runs what connections do in the background.
#[derive(Clone)]
struct QuietExecutor;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for QuietExecutor {
    fn execute(&self, work: F) {
        tokio::spawn(Quiet::new(Box::pin(work)));
    }
}
