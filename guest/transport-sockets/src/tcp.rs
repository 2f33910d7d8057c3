//! A TCP connection over wasi:sockets, with WASI's poll in place of an async runtime.

use crate::phase::Phase;
use incluster_client::transport::{CHUNK_BYTES, Stopped};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

/// A connection.
pub struct Tcp {
    // Dropped in this order: WASI requires that a pollable goes before its stream, and a stream before its socket.
    readable: Rc<Pollable>,
    writable: Rc<Pollable>,
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
    /// What was written and is not sent yet. It is sent when there is nothing to do but wait, so that the end of the handshake and the
    /// request go together. If they went separately, the second would wait until the first is acknowledged, which can take 40 ms:
    /// wasi:sockets has no TCP_NODELAY (WebAssembly/WASI#717).
    unsent: RefCell<Vec<u8>>,
    /// Whether the last poll looked for bytes that were not there.
    wants_bytes: Cell<bool>,
    /// When the current phase is over. No bytes are read after that: a peer that sends without a pause would otherwise keep their reader
    /// from ever returning.
    end: Cell<Option<Instant>>,
}

/// A connection that is being made.
pub struct Connecting {
    // Dropped in this order, as WASI requires.
    pub ready: Rc<Pollable>,
    socket: TcpSocket,
}

impl Connecting {
    /// Begins to connect.
    pub fn to(address: IpSocketAddress) -> Result<Connecting, ErrorCode> {
        let family = match address {
            IpSocketAddress::Ipv4(_) => IpAddressFamily::Ipv4,
            IpSocketAddress::Ipv6(_) => IpAddressFamily::Ipv6,
        };
        let socket = create_tcp_socket(family)?;
        socket.start_connect(&instance_network(), address)?;
        Ok(Connecting { ready: Rc::new(socket.subscribe()), socket })
    }

    /// Returns the connection, once there is one, or why there is none.
    pub fn finish(self) -> Result<Result<Rc<Tcp>, Connecting>, ErrorCode> {
        match self.socket.finish_connect() {
            Ok((input, output)) => {
                drop(self.ready);
                Ok(Ok(Tcp::new(self.socket, input, output)))
            }
            Err(ErrorCode::WouldBlock) => Ok(Err(self)),
            Err(code) => Err(code),
        }
    }
}

impl Tcp {
    fn new(socket: TcpSocket, input: InputStream, output: OutputStream) -> Rc<Tcp> {
        let (readable, writable) = (Rc::new(input.subscribe()), Rc::new(output.subscribe()));
        let (unsent, wants_bytes, end) = (RefCell::default(), Cell::default(), Cell::default());
        Rc::new(Tcp { readable, writable, input, output, socket, unsent, wants_bytes, end })
    }

    /// Polls what this connection carries until it is ready, and meanwhile waits for the connection, before the phase ends.
    pub async fn drive<T>(&self, phase: &Phase<'_>, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<T, Stopped> {
        self.end.set(Some(phase.until()));
        let driven = self.drive_until_ready(phase, poll).await;
        self.end.set(None);
        driven
    }

    async fn drive_until_ready<T>(
        &self,
        phase: &Phase<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Stopped> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        loop {
            self.wants_bytes.set(false);
            if let Poll::Ready(ready) = poll(&mut Context::from_waker(&waker)) {
                return Ok(ready);
            }
            if self.is_late() {
                return Err(phase.over());
            }
            // One half of the work can wake the other, without an event on the connection.
            if !woken.0.swap(false, Ordering::Relaxed) {
                self.send();
                let sends = !self.unsent.borrow().is_empty();
                let wanted = [(self.wants_bytes.get(), &self.readable), (sends, &self.writable)];
                phase.wait(&wanted.into_iter().filter_map(|(wants, ready)| wants.then_some(ready)).collect::<Vec<_>>()).await?;
            }
        }
    }

    fn is_late(&self) -> bool {
        self.end.get().is_some_and(|end| end <= Instant::now())
    }

    /// Sends as much as there is room for.
    fn send(&self) {
        let mut unsent = self.unsent.borrow_mut();
        while !unsent.is_empty() {
            let sent = self.output.check_write().and_then(|room| {
                let count = unsent.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                self.output.write(&unsent[..count]).map(|()| count)
            });
            match sent {
                Ok(0) => return,
                Ok(count) => drop(unsent.drain(..count)),
                // The server has gone. Reading will show what it said before that, and how it went.
                Err(_) => unsent.clear(),
            }
        }
        let _ = self.output.flush();
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection's bytes, for TLS.
pub struct Stream {
    tcp: Rc<Tcp>,
    /// What was read from the connection, and how much of it was handed on.
    read: (Vec<u8>, usize),
}

impl Stream {
    /// Makes the stream of this connection.
    pub fn new(tcp: Rc<Tcp>) -> Stream {
        Stream { tcp, read: (Vec::new(), 0) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.1 == self.read.0.len() {
            if self.tcp.is_late() {
                return Poll::Pending;
            }
            self.read = match self.tcp.input.read(CHUNK_BYTES) {
                Ok(bytes) if bytes.is_empty() => {
                    self.tcp.wants_bytes.set(true);
                    return Poll::Pending;
                }
                Ok(bytes) => (bytes, 0),
                Err(StreamError::Closed) => return Poll::Ready(Ok(())),
                // WASI gives the reason only in words.
                Err(StreamError::LastOperationFailed(error)) => {
                    return Poll::Ready(Err(io::Error::new(ErrorKind::ConnectionReset, error.to_debug_string())));
                }
            };
        }
        let (bytes, begin) = &self.read;
        let end = bytes.len().min(begin + buf.remaining());
        buf.put_slice(&bytes[*begin..end]);
        self.read.1 = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // All of it is small: requests without bodies, and handshakes.
        self.tcp.unsent.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.send();
        // It is no failure that the other end has gone already.
        let _ = self.tcp.socket.shutdown(ShutdownType::Send);
        Poll::Ready(Ok(()))
    }
}
