//! A client for the crate's own tests, with one connection per request and an error for each step.

use crate::{TOKEN, Testbed};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const PODS: &str = "/api/v1/namespaces/shop/pods";

pub(crate) async fn connect(testbed: &Testbed) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(testbed.ca.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(testbed.server.address()).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

/// Sends a request in the HTTP version that the server chooses. Returns the head of the answer.
pub(crate) async fn ask(testbed: &Testbed, path: &str) -> Result<http::Response<Incoming>, Error> {
    let stream = connect(testbed).await.map_err(Error::Connect)?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let uri = if h2 { format!("{}{path}", testbed.server.url()) } else { path.into() };
    let request = http::Request::get(uri).header("authorization", format!("Bearer {TOKEN}"));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let stream = TokioIo::new(stream);
    if h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.map_err(Error::Head)?;
        tokio::spawn(connection);
        return sender.send_request(request).await.map_err(Error::Head);
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(Error::Head)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(Error::Head)
}

/// Sends a request. Returns the status and the whole body.
pub(crate) async fn get(testbed: &Testbed, path: &str) -> Result<(u16, Bytes), Error> {
    let response = ask(testbed, path).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await.map_err(Error::Body)?.to_bytes()))
}

#[derive(Debug)]
pub(crate) enum Error {
    Connect(io::Error),
    Head(hyper::Error),
    Body(hyper::Error),
}

impl Error {
    /// The HTTP/2 error code with which the server reset the stream or ended the connection.
    pub(crate) fn reason(&self) -> Option<h2::Reason> {
        let (Error::Head(error) | Error::Body(error)) = self else { return None };
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            if let Some(h2) = error.downcast_ref::<h2::Error>() {
                return h2.reason();
            }
            source = error.source();
        }
        None
    }
}
