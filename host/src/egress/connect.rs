//! Makes connections to the API server: TCP, then TLS, each under its deadline.

use super::telemetry;
use crate::files::read_file;
use crate::{Limits, Server};
use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use incluster_core::tls::{Trust, TrustError, is_untrusted};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Connects to the one server, whatever the URL says: the door has compared it already.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    server: Server,
    trust: Trust,
    connect: Duration,
    handshake: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Name resolution or TCP failed.
    Tcp(io::Error),
    /// Name resolution or TCP took too long.
    TcpTimeout,
    /// There is nothing to trust.
    Trust(TrustError),
    /// TLS failed.
    Tls(io::Error),
    /// TLS took too long.
    TlsTimeout,
}

impl Connector {
    pub(crate) fn new(server: Server, ca_path: PathBuf, limits: &Limits) -> Connector {
        let Limits { connect, handshake, .. } = *limits;
        let trust = Trust::new(ca_path.to_string_lossy().into_owned(), read_file, ring::default_provider(), &["h2", "http/1.1"]);
        Connector(Arc::new(Inner { server, trust, connect, handshake }))
    }
}

impl Inner {
    async fn connect(&self) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, ConnectError> {
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
        self.trust.config(&|news| telemetry::of_trust(self.trust.path(), &news)).map_err(ConnectError::Trust)
    }

    async fn connect_with(&self, config: Arc<ClientConfig>) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, ConnectError> {
        let connector = TlsConnector::from(config);
        let tcp = match timeout(self.connect, TcpStream::connect((self.server.host(), self.server.port()))).await {
            Ok(tcp) => tcp.map_err(ConnectError::Tcp)?,
            Err(_) => return Err(ConnectError::TcpTimeout),
        };
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let name = ServerName::try_from(self.server.host().to_owned());
        let name = name.map_err(|e| ConnectError::Tls(io::Error::new(ErrorKind::InvalidInput, e)))?;
        match timeout(self.handshake, connector.connect(name, TokioIo::new(TokioIo::new(tcp)))).await {
            Ok(tls) => Ok(MaybeHttpsStream::Https(TokioIo::new(tls.map_err(ConnectError::Tls)?))),
            Err(_) => Err(ConnectError::TlsTimeout),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.connect().await })
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ConnectError {}
