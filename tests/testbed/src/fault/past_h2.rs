//! Frames of HTTP/2 that no library writes.

use super::drain;
use crate::request::Request;
use crate::server::Seen;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// GOAWAY, which says that no request was processed. Nine bytes of header, a frame of eight: the last stream that was processed is 0, the reason is NO_ERROR.
pub(super) const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads a request, writes these bytes, then those again and again, if there are any, until the client ends the connection; else closes. The
/// crate `h2`, which reads the request, writes nothing of the kind: so it reads from a pipe, and what comes after is written past it.
pub(super) async fn write(stream: TlsStream<TcpStream>, seen: &Seen, first: &[u8], again: &[u8]) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut from_h2, mut to_h2) = tokio::io::split(near);
    let reading = async {
        // Ends when nobody reads the pipe.
        let _ = tokio::io::copy(&mut from_client, &mut to_h2).await;
        drain(&mut from_client).await
    };
    let answering = async {
        let parsed = async move { h2::server::handshake(far).await.ok()?.accept().await?.ok() };
        // The end of `parsed` closes the pipe, after which all that `h2` wrote has been passed on.
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
