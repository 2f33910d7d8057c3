//! Connections that are kept for later requests: over HTTP/2, as many as the server's limit of streams requires; over HTTP/1.1, one for each
//! request under way.
//!
//! This is our own pool over hyper's connections. hyper-util's pool has one HTTP/2 connection to a server, on which a request waits while
//! watches take all streams.

mod kept;
#[cfg(test)]
mod tests;

use super::answer::{Answer, InUse, Uses};
use super::connections::{ConnectError, Connector};
use super::quiet::{self, Quiet};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use kept::{Http1, Http2, Next, State};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::instrument::WithSubscriber;

/// The flow-control window of a stream: large enough that a list of thousands of pods does not wait for it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// How many streams a connection has at most, even if the server allows more. The connection's window has room for what the server sends
/// ahead on all of them, so that streams that nobody reads do not stop the others.
const MOST_STREAMS: u32 = 64;
const CONNECTION_WINDOW_BYTES: u32 = (MOST_STREAMS + 1) * STREAM_WINDOW_BYTES;

/// How long an unused connection is kept: a little less than load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often an HTTP/2 connection is pinged, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a request waits for the server to say how many streams a new connection may have. Servers send this before anything else.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(1);

/// How many connections may end, one after the other, before a request has been sent.
const MOST_LOST: u32 = 5;

/// How many connections there may be at once to one server for one identity, including those that are being made or are ending. Beyond that,
/// requests wait.
const MOST_CONNECTIONS: usize = 128;

/// How long a request waits.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// The deadline for the answer's head.
    pub(crate) until: Instant,
    /// How long the head may take once there is a connection.
    pub(crate) first_byte: Duration,
    /// The host's own limit for `first_byte`. A guest may be less patient, which says nothing about the connection.
    pub(crate) own: Duration,
}

/// A request's body.
type Sent = Full<Bytes>;

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// There is no connection.
    Connect(Arc<ConnectError>),
    /// The connection failed, or the server sent something that is not HTTP.
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
    places: Arc<Semaphore>,
}

/// Whether a connection has been made.
type Connected = Option<Result<(), Arc<ConnectError>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Arc<Pool> {
        Arc::new(Pool { connector, state: Mutex::default(), places: Arc::new(Semaphore::new(MOST_CONNECTIONS)) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sends a request, and waits for the answer's head.
    pub(crate) async fn request(
        self: &Arc<Pool>,
        request: Request<Sent>,
        Patience { until, first_byte, own }: Patience,
    ) -> Result<Response<Answer>, RequestError> {
        for _ in 0..MOST_LOST {
            let connection = timeout_at(until, self.connection()).await.unwrap_or(Err(RequestError::Late))?;
            let until_head = |time| Instant::now().checked_add(time).map_or(until, |head| head.min(until));
            let sent = match connection {
                Next::Http2(mut connection, in_use) => {
                    let number = connection.number;
                    match timeout_at(until_head(first_byte), connection.sender.try_send_request(request.clone())).await {
                        Ok(Ok(answer)) => return Ok(answer.map(|body| Answer::new(body, Some(in_use)))),
                        Ok(Err(error)) => (number, error),
                        Err(_late) => {
                            if first_byte >= own {
                                in_use.mark_late();
                            }
                            return Err(RequestError::Late);
                        }
                    }
                }
                Next::Http1(mut connection, in_use) => {
                    let (number, was_used) = (connection.number, std::mem::replace(&mut connection.was_used, true));
                    // A less patient guest says nothing about the connection.
                    let may_be_silent = was_used && first_byte >= own;
                    let patience = if may_be_silent { first_byte / 2 } else { first_byte };
                    match timeout_at(until_head(patience), connection.sender.try_send_request(to_origin(request.clone()))).await {
                        Ok(Ok(answer)) => {
                            self.keep(connection, in_use);
                            return Ok(answer.map(|body| Answer::new(body, None)));
                        }
                        Ok(Err(error)) => (number, error),
                        // The connection may have gone silent since its last use, and so may the others, because there are no pings: try a
                        // new one.
                        Err(_late) if may_be_silent && Instant::now() < until => {
                            self.state().http1.clear();
                            continue;
                        }
                        // The connection ends with the request.
                        Err(_late) => return Err(RequestError::Late),
                    }
                }
                // `connection` returns none of these: it waits for them.
                Next::Settling(_) | Next::Connecting(_) | Next::Nothing(_) => return Err(RequestError::Lost),
            };
            // If the request was not sent before the connection ended, it is sent on another one.
            let (number, mut error) = sent;
            self.state().http2.retain(|connection| connection.number != number);
            // The original is sent: the next connection may speak another version of HTTP.
            if error.take_message().is_none() {
                return Err(RequestError::Http(error.into_error()));
            }
        }
        Err(RequestError::Lost)
    }

    /// A connection with room for a request: an existing one, or a new one.
    async fn connection(self: &Arc<Pool>) -> Result<Next, RequestError> {
        loop {
            let next = self.state().next();
            match next {
                Next::Settling(mut is_settled) => {
                    if !matches!(timeout(SETTINGS_TIMEOUT, is_settled.wait_for(|settled| *settled)).await, Ok(Ok(_))) {
                        self.state().settle(&is_settled);
                    }
                }
                // The runtime that was making the connection may have ended, while ours has not.
                Next::Connecting(connecting) => match connected(connecting.clone()).await {
                    Err(RequestError::Lost) => self.state().forget(&connecting),
                    connected => connected?,
                },
                Next::Nothing(told) => {
                    // A caller that gives up here leaves the queue, and those who wait for the same connection find that nobody makes it.
                    let place = self.places.clone().acquire_owned().await.map_err(|_| RequestError::Lost)?;
                    connected(self.connect(told, place)).await?;
                }
                found => return Ok(found),
            }
        }
    }

    /// Makes a connection. This goes on even if nobody waits for the connection any more.
    fn connect(self: &Arc<Pool>, told: watch::Sender<Connected>, place: OwnedSemaphorePermit) -> watch::Receiver<Connected> {
        let connecting = told.subscribe();
        let (pool, outer) = (self.clone(), quiet::outer());
        tokio::spawn(async move {
            let connected = pool.make(place).with_subscriber(outer).await.map_err(Arc::new);
            pool.state().connecting = None;
            told.send_replace(Some(connected));
        });
        connecting
    }

    async fn make(self: &Arc<Pool>, place: OwnedSemaphorePermit) -> Result<(), ConnectError> {
        let tls = self.connector.connect().await?.at(place);
        let in_use = Arc::new(Uses::of(tls.pieces()));
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
            self.state().http1.push(Http1 { number, sender, in_use, was_used: false });
        }
        Ok(())
    }

    /// Runs a connection until it has not been used for a while, or until the pool is gone.
    fn run(self: &Arc<Pool>, number: u64, connection: impl Future<Output = hyper::Result<()>> + Send + 'static, in_use: &Uses) {
        let (pool, mut uses) = (Arc::downgrade(self), in_use.count().subscribe());
        tokio::spawn(async move {
            let mut connection = Quiet::new(Box::pin(connection));
            tokio::select! {
                // The requests on the connection get the error.
                _ended = &mut connection => remove(&pool, number),
                () = until_unused(&mut uses) => {
                    remove(&pool, number);
                    let _ended = connection.await;
                }
            }
        });
    }

    /// Keeps an HTTP/1.1 connection for the next request, once the answer has been read.
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

/// Waits for a connection that is being made.
async fn connected(mut connecting: watch::Receiver<Connected>) -> Result<(), RequestError> {
    match connecting.wait_for(Option::is_some).await.map(|connected| connected.clone()) {
        Ok(Some(Err(error))) => Err(RequestError::Connect(error)),
        Ok(_) => Ok(()),
        // The runtime is ending.
        Err(_) => Err(RequestError::Lost),
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

/// Waits until no request has been under way for a while. (A connection whose pool is gone ends by itself.)
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

/// Puts a request in the form that HTTP/1.1 sends to an origin server (RFC 9112, section 3.2.1).
fn to_origin(mut request: Request<Sent>) -> Request<Sent> {
    let uri = std::mem::take(request.uri_mut());
    if let Some(host) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    let path = uri.into_parts().path_and_query;
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    request
}

/// Runs the background work of connections, quietly.
#[derive(Clone)]
struct QuietExecutor;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for QuietExecutor {
    fn execute(&self, work: F) {
        tokio::spawn(Quiet::new(Box::pin(work)));
    }
}
