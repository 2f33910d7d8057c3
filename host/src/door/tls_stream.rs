//! A connection by TLS, which ends under a flood of frames.

use super::frames::{Frames, flood};
use governor::clock::DefaultClock;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The error's kind, by which it is known after it has passed through the HTTP library.
const FLOOD: ErrorKind = ErrorKind::QuotaExceeded;

/// Whether a connection was ended for a flood of frames.
pub(crate) fn is_flood(error: &io::Error) -> bool {
    error.kind() == FLOOD
}

/// A connection by TLS.
pub(crate) struct Tls {
    stream: TlsStream<TcpStream>,
    /// Where it is HTTP/2.
    frames: Option<Frames>,
}

impl Tls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Tls {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Tls { stream, frames: is_h2.then(|| Frames::new(DefaultClock::default())) }
    }
}

impl Connection for Tls {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.frames.is_some() { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let may_pass = self.frames.as_mut().is_none_or(|frames| frames.pass(&buf.filled()[before..]));
        Poll::Ready(if may_pass { Ok(()) } else { Err(io::Error::new(FLOOD, flood())) })
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
