//! Connections to the API server: TCP, then TLS, each under its deadline; kept for the next requests.

use super::lookup::{Lookup, LookupError};
use super::quiet::{self, Quiet};
use super::telemetry;
use super::tls_stream::Tls;
use crate::limits::RequestLimits;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use incluster_core::Server;
use incluster_core::secrets::Secrets;
use incluster_core::tls::{ReadCa, Trust, TrustError, is_untrusted};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use tracing::instrument::WithSubscriber;

/// Flow-control windows that a list of thousands of pods does not wait for.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// An unused connection is kept for so long, a little less than load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// A connection whose other end has gone without a word is found out, and given up, in this time together.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections to one API server.
#[derive(Clone)]
pub(crate) struct Connections(Client<Connector, Full<Bytes>>);

impl Connections {
    /// To this server, which is trusted by the CAs that are read at this path by this.
    pub(crate) fn new(server: Server, path: String, read: ReadCa, limits: &RequestLimits, secrets: Arc<Secrets>) -> Connections {
        let client = Client::builder(QuietExecutor)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .build(Connector::new(server, path, read, limits, secrets));
        Connections(client)
    }

    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Quiet<Incoming>>, legacy::Error> {
        quiet::run(self.0.request(request)).await.map(|answer| answer.map(Quiet::new))
    }
}

/// Runs what connections do in the background, quietly.
#[derive(Clone)]
struct QuietExecutor;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for QuietExecutor {
    fn execute(&self, work: F) {
        tokio::spawn(Quiet::new(Box::pin(work)));
    }
}

/// Connects to the one server, whatever the URL says: the door has compared it already.
#[derive(Clone)]
struct Connector(Arc<Inner>);

struct Inner {
    server: Server,
    lookup: Lookup,
    trust: Trust,
    secrets: Arc<Secrets>,
    connect: Duration,
    handshake: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The server's name has no address, for this reason.
    Lookup(LookupError),
    /// TCP failed.
    Tcp(io::Error),
    /// The look-up of the name, or TCP, took too long.
    TcpTimeout,
    /// There is nothing to trust.
    Trust(TrustError),
    /// TLS failed.
    Tls(io::Error),
    /// TLS took too long.
    TlsTimeout,
}

impl Connector {
    fn new(server: Server, path: String, read: ReadCa, limits: &RequestLimits, secrets: Arc<Secrets>) -> Connector {
        let RequestLimits { connect, handshake, .. } = *limits;
        let trust = Trust::new(path, read, ring::default_provider(), &["h2", "http/1.1"]);
        let lookup = Lookup::new(server.host(), server.port());
        Connector(Arc::new(Inner { server, lookup, trust, secrets, connect, handshake }))
    }
}

impl Inner {
    async fn connect(&self) -> Result<TokioIo<Tls>, ConnectError> {
        // Before the connection: without anything to trust, the server need not hear of us.
        let config = self.trust()?;
        match self.connect_with(config.clone()).await {
            // The cluster's CA may have been rotated since ca.crt was read.
            Err(ConnectError::Tls(error)) if is_untrusted(&error) => {
                let now = self.trust()?;
                match Arc::ptr_eq(&config, &now) {
                    true => Err(ConnectError::Tls(error)),
                    false => self.connect_with(now).await,
                }
            }
            connected => connected,
        }
    }

    fn trust(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        self.trust.config(&|news| telemetry::of_trust(self.trust.path(), &news, &self.secrets)).map_err(ConnectError::Trust)
    }

    async fn connect_with(&self, config: Arc<ClientConfig>) -> Result<TokioIo<Tls>, ConnectError> {
        let connector = TlsConnector::from(config);
        let tcp = async {
            let addresses = self.lookup.addresses().await.map_err(ConnectError::Lookup)?;
            TcpStream::connect(&*addresses).await.map_err(ConnectError::Tcp)
        };
        let tcp = timeout(self.connect, tcp).await.unwrap_or(Err(ConnectError::TcpTimeout))?;
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let name = ServerName::try_from(self.server.host().to_owned());
        let name = name.map_err(|e| ConnectError::Tls(io::Error::new(ErrorKind::InvalidInput, e)))?;
        match timeout(self.handshake, connector.connect(name, tcp)).await {
            Ok(tls) => Ok(TokioIo::new(Tls::new(tls.map_err(ConnectError::Tls)?))),
            Err(_) => Err(ConnectError::TlsTimeout),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Tls>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.connect().await }.with_subscriber(quiet::outer()))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ConnectError {}
