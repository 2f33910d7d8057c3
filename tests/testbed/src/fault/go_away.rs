//! HTTP/2's GOAWAY, which says that no request was processed.

use super::drain;
use crate::request::Request;
use crate::server::Seen;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Nine bytes of header, a frame of eight: the last stream that was processed is 0, the reason is NO_ERROR.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads a request, says GOAWAY and closes. The crate `h2` would name the stream that it has read: so it reads from a
/// pipe, and what comes after is written past it.
pub(super) async fn go_away(stream: TlsStream<TcpStream>, seen: &Seen) -> io::Result<()> {
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
        to_client.write_all(&GOAWAY).await?;
        to_client.shutdown().await
    };
    let (read, answered) = tokio::join!(reading, answering);
    read.and(answered)
}
