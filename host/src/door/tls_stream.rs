//! A connection by TLS, which ends under a flood of frames.

use super::frames::{Frames, flood};
use governor::clock::DefaultClock;
use incluster_core::tls::of_alert;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;

/// The error's kind, by which it is known after it has passed through the HTTP library.
const FLOOD: ErrorKind = ErrorKind::QuotaExceeded;

/// Whether a connection was ended for a flood of frames.
pub(crate) fn is_flood(error: &io::Error) -> bool {
    error.kind() == FLOOD
}

/// The same where the server ended it by an alert: a kind that no socket fails by, as h2 keeps of an error its kind and text alone.
const ALERT: ErrorKind = ErrorKind::NotSeekable;

/// Whether a connection was ended by the server's alert, which is the error's text.
pub(crate) fn is_alert(error: &io::Error) -> bool {
    error.kind() == ALERT
}

/// A connection by TLS.
pub(crate) struct Tls {
    stream: TlsStream<TcpStream>,
    /// Where it is HTTP/2.
    frames: Option<Frames>,
    settings: watch::Sender<bool>,
}

impl Tls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Tls {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Tls { stream, frames: is_h2.then(|| Frames::new(DefaultClock::default())), settings: watch::Sender::new(false) }
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.frames.is_some()
    }

    /// Whether the HTTP library has the server's SETTINGS.
    pub(crate) fn settings(&self) -> watch::Receiver<bool> {
        self.settings.subscribe()
    }
}

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Whoever reads on has made use of what came before.
        if self.frames.as_ref().is_some_and(Frames::has_settings) {
            self.settings.send_if_modified(|has| !std::mem::replace(has, true));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        read.map_err(|error| of_alert(&error).map_or(error, |alert| io::Error::new(ALERT, alert.text)))?;
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
