//! A TLS connection that ends when it is flooded with frames.

use super::frames::{Frames, Pieces, flood};
use governor::clock::DefaultClock;
use incluster_core::tls::of_alert;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Sleep, sleep};
use tokio_rustls::client::TlsStream;

/// The kind of the error for a flood, by which it is recognized after it has passed through the HTTP library.
const FLOOD: ErrorKind = ErrorKind::QuotaExceeded;

/// Whether a connection was ended because of a flood of frames.
pub(crate) fn is_flood(error: &io::Error) -> bool {
    error.kind() == FLOOD
}

/// The kind of the error for a TLS alert from the server. h2 keeps only an error's kind and text, so it is a kind that no socket reports.
const ALERT: ErrorKind = ErrorKind::NotSeekable;

/// Whether a connection was ended by an alert from the server. The alert is the error's text.
pub(crate) fn is_alert(error: &io::Error) -> bool {
    error.kind() == ALERT
}

/// How long a server may accept nothing of what is sent. Requests are small, so a healthy server accepts them soon. A connection that is
/// closing must first send that it closes, or it never ends.
const STALL: Duration = Duration::from_secs(15);

/// The deadline by which the server must accept some of what is sent, while a write waits.
#[derive(Default)]
struct Stall(Option<Pin<Box<Sleep>>>);

impl Stall {
    /// The result of a write, which must not wait for long.
    fn end<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.0 = None;
            return written;
        }
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

/// A TLS connection.
pub(crate) struct Tls {
    stream: TlsStream<TcpStream>,
    /// Present if the connection speaks HTTP/2.
    frames: Option<Frames>,
    pieces: Arc<Pieces>,
    settings: watch::Sender<bool>,
    stall: Stall,
    /// The place among all connections, held until the file descriptor is closed.
    _place: Option<OwnedSemaphorePermit>,
}

impl Tls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Tls {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let pieces = Arc::<Pieces>::default();
        let frames = is_h2.then(|| Frames::new(DefaultClock::default(), pieces.clone()));
        Tls { stream, frames, pieces, settings: watch::Sender::new(false), stall: Stall::default(), _place: None }
    }

    /// Returns this connection with a place among all connections.
    pub(crate) fn at(self, place: OwnedSemaphorePermit) -> Tls {
        Tls { _place: Some(place), ..self }
    }

    /// The count of the pieces of answers that have arrived on this connection.
    pub(crate) fn pieces(&self) -> Arc<Pieces> {
        self.pieces.clone()
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
        // A reader that reads on has processed what came before.
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
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.stall.end(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(cx);
        self.stall.end(cx, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.stall.end(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.stall.end(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::Instant;

    /// A closing connection must send that it closes, and a server that accepts nothing would keep it open for ever.
    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_fails() {
        let (mut stall, begun) = (Stall::default(), Instant::now());
        let error = poll_fn(|cx| stall.end::<()>(cx, Poll::Pending)).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed() >= STALL), (ErrorKind::TimedOut, true));
        // A server that accepts some of it has the whole time again.
        let mut stall = Stall::default();
        for _ in 0..3 {
            poll_fn(|cx| Poll::Ready(stall.end::<()>(cx, Poll::Pending).is_pending())).await;
            tokio::time::advance(STALL - Duration::from_secs(1)).await;
            poll_fn(|cx| stall.end(cx, Poll::Ready(Ok(())))).await.unwrap();
        }
    }
}
