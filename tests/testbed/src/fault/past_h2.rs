//! Writes HTTP/2 frames that no library writes.

use super::drain;
use crate::request::Request;
use crate::server::Seen;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A GOAWAY frame that says that no request was processed: a header of nine bytes and a payload of eight, with last stream 0 and NO_ERROR.
pub(super) const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads a request and writes `first`. Then writes `again` repeatedly until the client ends the connection; if `again` is empty, closes. The crate
/// `h2` reads the request from a pipe, and the bytes that it would never write go directly to the connection.
pub(super) async fn write(stream: TlsStream<TcpStream>, seen: &Seen, first: &[u8], again: &[u8]) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut from_h2, mut to_h2) = tokio::io::split(near);
    let reading = async {
        // Ends when the other end of the pipe is closed.
        let _ = tokio::io::copy(&mut from_client, &mut to_h2).await;
        drain(&mut from_client).await
    };
    let answering = async {
        let parsed = async move { h2::server::handshake(far).await.ok()?.accept().await?.ok() };
        // The end of `parsed` closes the pipe, so that the copy ends after it has passed on everything that `h2` wrote.
        let (parsed, _) = tokio::join!(parsed, tokio::io::copy(&mut from_h2, &mut to_client));
        if let Some((request, _)) = parsed {
            seen.request(Request::of(&request));
        }
        to_client.write_all(first).await?;
        let many = again.repeat(65536 / again.len().max(1));
        while !many.is_empty() {
            to_client.write_all(&many).await?;
        }
        to_client.shutdown().await
    };
    let (read, answered) = tokio::join!(reading, answering);
    read.and(answered)
}
