//! TLS of the server.

use crate::ca::Identity;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::{Arc, RwLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The HTTP versions that a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 and HTTP/1.1.
    Any,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
    /// HTTP/2 only, with at most this many concurrent streams on a connection.
    Http2Streams(u32),
}

/// A TLS configuration whose identity can be replaced while the server runs.
pub(crate) struct Tls {
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(crate) fn new(identity: Identity) -> Arc<Tls> {
        Arc::new(Tls { config: RwLock::new(Arc::new(config(identity))) })
    }

    /// Replaces the identity. Old sessions cannot be resumed, so that every client sees the new certificate.
    pub(crate) fn rotate(&self, identity: Identity) {
        *self.config.write().unwrap() = Arc::new(config(identity));
    }

    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config.read().unwrap());
        config.alpn_protocols = match protocol {
            Protocol::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 | Protocol::Http2Streams(_) => vec![b"h2".to_vec()],
        };
        Arc::new(config)
    }

    pub(crate) async fn accept(&self, stream: TcpStream, protocol: Protocol) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config(protocol)).accept(stream).await
    }
}

impl Identity {
    /// Returns a server's configuration that supports session resumption.
    pub fn server_config(self) -> Arc<ServerConfig> {
        Arc::new(config(self))
    }
}

fn config(identity: Identity) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // These roots would accept no client's certificate, which does not matter: no client presents one.
    let any = || {
        let mut roots = RootCertStore::empty();
        roots.add(identity.certificate.clone()).expect("a certificate");
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().expect("a verifier")
    };
    let clients = if identity.asks_for_certificate { any() } else { WebPkiClientVerifier::no_client_auth() };
    ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(identity.versions)
        .expect("TLS versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![identity.certificate], identity.key)
        .expect("an identity")
}
