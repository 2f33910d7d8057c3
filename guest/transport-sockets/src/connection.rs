//! HTTP/1.1 over one connection.

use crate::connect::Connected;
use crate::phase::Phase;
use crate::tcp::{Stream, Tcp};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response};
use incluster_client::transport::{Stopped, failed};
use incluster_core::tls;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

/// A connection to which requests are sent one after the other.
pub struct Connection {
    tcp: Rc<Tcp>,
    sender: SendRequest<Empty<Bytes>>,
    io: Driver,
}

/// The half of hyper that reads and writes; `None` when the connection has ended.
struct Driver(Option<http1::Connection<Io, Empty<Bytes>>>);

impl Connection {
    /// Begins HTTP over a connection.
    pub async fn new((tcp, tls): Connected, phase: &Phase<'_>) -> Result<Connection, Stopped> {
        let mut handshake = pin!(http1::handshake(Io(tls)));
        let (sender, io) = tcp.drive(phase, |cx| handshake.as_mut().poll(cx)).await?.map_err(|e| failed(tls::of_http(&e)))?;
        Ok(Connection { tcp, sender, io: Driver(Some(io)) })
    }

    /// Whether the server has not ended the connection, and the last answer was read to its end.
    pub fn is_open(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.io.go_on(cx);
        matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }

    /// Sends a request, and returns the answer's head, before the phase ends.
    pub async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
        phase: &Phase<'_>,
    ) -> Result<hyper::Result<Response<Incoming>>, Stopped> {
        let mut answer = pin!(self.sender.send_request(request));
        let poll = |cx: &mut Context<'_>| {
            self.io.go_on(cx);
            answer.as_mut().poll(cx)
        };
        self.tcp.drive(phase, poll).await
    }

    /// Returns the next piece of an answer's body, before the phase ends.
    pub async fn frame(
        &mut self,
        body: &mut Incoming,
        phase: &Phase<'_>,
    ) -> Result<Option<hyper::Result<Frame<Bytes>>>, Stopped> {
        let poll = |cx: &mut Context<'_>| {
            self.io.go_on(cx);
            Pin::new(&mut *body).poll_frame(cx)
        };
        self.tcp.drive(phase, poll).await
    }
}

impl Driver {
    fn go_on(&mut self, cx: &mut Context<'_>) {
        // hyper reports how it ended to whoever waits for an answer.
        if let Some(io) = &mut self.0
            && Pin::new(io).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

/// The stream that hyper reads from and writes to.
struct Io(TlsStream<Stream>);

impl Read for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut tls = Pin::new(&mut self.0);
        let bytes = ready!(tls.as_mut().poll_fill_buf(cx))?;
        let count = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..count]);
        tls.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
