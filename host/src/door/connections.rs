//! Connections to the API server: TCP, then TLS, each with its own deadline. They are kept for later requests.

use super::answer::Answer;
use super::lookup::{Lookup, LookupError};
use super::pool::{Patience, Pool, RequestError};
use super::quiet::{self, Quiet};
use super::telemetry;
use super::tls_stream::Tls;
use crate::limits::RequestLimits;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use incluster_core::Server;
use incluster_core::secrets::Secrets;
use incluster_core::set_back::SetBack;
use incluster_core::tls::{ReadCa, Trust, TrustError, is_untrusted};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// How long an address is tried alone (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connections to one API server.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Pool>);

impl Connections {
    /// Connections to this server, whose certificate is verified by the CAs that `read` reads from this path.
    pub(crate) fn new(server: Server, path: String, read: ReadCa, limits: &RequestLimits, secrets: Arc<Secrets>) -> Connections {
        Connections(Pool::new(Connector::new(server, path, read, limits, secrets)))
    }

    pub(super) async fn request(
        &self,
        request: Request<Full<Bytes>>,
        patience: Patience,
    ) -> Result<Response<Quiet<Answer>>, RequestError> {
        quiet::run(self.0.request(request, patience)).await.map(|answer| answer.map(Quiet::new))
    }
}

/// Makes connections to one server.
pub(crate) struct Connector {
    server: Server,
    lookup: Lookup,
    trust: Trust,
    secrets: Arc<Secrets>,
    connect: Duration,
    handshake: Duration,
    /// Whether a handshake has succeeded.
    was_trusted: AtomicBool,
    set_back: SetBack,
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
    /// There is no CA to trust.
    Trust(TrustError),
    /// TLS failed.
    Tls(io::Error),
    /// The server's certificate is not trusted, although the server was trusted before.
    NotTrustedAnyMore(io::Error),
    /// TLS took too long.
    TlsTimeout,
    /// HTTP could not be set up on the connection.
    Http(hyper::Error),
}

impl Connector {
    fn new(server: Server, path: String, read: ReadCa, limits: &RequestLimits, secrets: Arc<Secrets>) -> Connector {
        let RequestLimits { connect, handshake, .. } = *limits;
        let trust = Trust::new(path, read, ring::default_provider(), &["h2", "http/1.1"]);
        let lookup = Lookup::new(&server.name_to_resolve(), server.port());
        Connector {
            server,
            lookup,
            trust,
            secrets,
            connect,
            handshake,
            was_trusted: AtomicBool::new(false),
            set_back: SetBack::default(),
        }
    }

    pub(super) async fn connect(&self) -> Result<Tls, ConnectError> {
        // Before connecting: without a CA to trust, the server need not be contacted.
        let config = self.trust()?;
        let connected = match self.connect_with(config.clone()).await {
            // The cluster's CA may have been rotated since ca.crt was read.
            Err(ConnectError::Tls(error)) if is_untrusted(&error) => {
                let now = self.trust()?;
                match Arc::ptr_eq(&config, &now) {
                    true => Err(ConnectError::Tls(error)),
                    false => self.connect_with(now).await,
                }
            }
            connected => connected,
        };
        match connected {
            // The CA has been rotated, and ca.crt will follow.
            Err(ConnectError::Tls(error)) if is_untrusted(&error) && self.was_trusted.load(Ordering::Relaxed) => {
                Err(ConnectError::NotTrustedAnyMore(error))
            }
            connected => {
                self.was_trusted.fetch_or(connected.is_ok(), Ordering::Relaxed);
                connected
            }
        }
    }

    fn trust(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        self.trust.config(&|news| telemetry::of_trust(self.trust.path(), &news, &self.secrets)).map_err(ConnectError::Trust)
    }

    async fn connect_with(&self, config: Arc<ClientConfig>) -> Result<Tls, ConnectError> {
        let connector = TlsConnector::from(config);
        let tcp = async {
            let addresses = self.lookup.addresses().await.map_err(ConnectError::Lookup)?;
            let addresses = self.set_back.in_order(addresses.to_vec());
            connect_to(&addresses).await.map_err(ConnectError::Tcp)
        };
        let tcp = timeout(self.connect, tcp).await.unwrap_or(Err(ConnectError::TcpTimeout))?;
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let name = ServerName::try_from(self.server.host().to_owned());
        let name = name.map_err(|e| ConnectError::Tls(io::Error::new(ErrorKind::InvalidInput, e)))?;
        let address = tcp.peer_addr();
        let connected = match timeout(self.handshake, connector.connect(name, tcp)).await {
            Ok(tls) => tls.map(Tls::new).map_err(ConnectError::Tls),
            Err(_) => Err(ConnectError::TlsTimeout),
        };
        if let Ok(address) = address {
            self.set_back.tried(address, connected.is_ok());
        }
        connected
    }
}

/// Connects to the first of these addresses that answers. Each gets a head start before the next is tried in parallel (RFC 8305), so that
/// a dead address costs little.
async fn connect_to(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter();
    let mut attempts = JoinSet::new();
    let mut failed = io::Error::from(ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(TcpStream::connect(*address));
        } else if attempts.is_empty() {
            return Err(failed);
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt.unwrap_or_else(|e| Err(io::Error::other(e))) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            },
            () = sleep(HEAD_START), if left.len() > 0 => {}
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    /// A dead address of a load balancer does not keep the others from being tried.
    #[tokio::test]
    async fn an_address_that_does_not_answer_is_skipped() {
        let full = TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let dead = full.local_addr().unwrap();
        // Nobody accepts this connection, so no other one is answered.
        let _first = TcpStream::connect(dead).await.unwrap();
        let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listening.local_addr().unwrap();
        assert_eq!(connect_to(&[dead, good]).await.unwrap().peer_addr().unwrap(), good);
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(connect_to(&[refusing, dead, good]).await.unwrap().peer_addr().unwrap(), good);
        assert_eq!(connect_to(&[refusing, refusing]).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(connect_to(&[]).await.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    }
}
