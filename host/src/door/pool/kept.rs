//! The connections of a pool, and which of them has room for a request.

use super::super::answer::{InUse, Uses};
use super::super::tls_stream::Tls;
use super::{Connected, MOST_STREAMS, QuietExecutor, Sent, lock};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::watch;

/// All connections of a pool.
#[derive(Default)]
pub(super) struct State {
    /// How many connections there have been so far.
    pub(super) count: u64,
    pub(super) http2: Vec<Http2>,
    /// The HTTP/1.1 connections without a request under way.
    pub(super) http1: Vec<Http1>,
    /// Whether the last connection spoke HTTP/1.1, so that each request needs its own connection.
    pub(super) is_http1: bool,
    /// The connection that is being made, for all who wait.
    pub(super) connecting: Option<watch::Receiver<Connected>>,
}

/// A connection that can be asked how many streams the server allows. Only the task that runs it keeps it alive, so that unsent requests
/// end with it.
pub(super) type Running = Weak<Mutex<http2::Connection<TokioIo<Tls>, Sent, QuietExecutor>>>;

/// An HTTP/2 connection.
pub(super) struct Http2 {
    pub(super) number: u64,
    pub(super) sender: http2::SendRequest<Sent>,
    pub(super) connection: Running,
    pub(super) in_use: Arc<Uses>,
    /// Whether the server has said how many streams it allows.
    pub(super) is_settled: watch::Receiver<bool>,
}

/// An HTTP/1.1 connection without a request under way.
pub(super) struct Http1 {
    pub(super) number: u64,
    pub(super) sender: http1::SendRequest<Sent>,
    pub(super) in_use: Arc<Uses>,
    /// Whether it has already been used for a request.
    pub(super) was_used: bool,
}

/// What a pool offers a request.
pub(super) enum Next {
    Http2(Http2, InUse),
    Http1(Http1, InUse),
    /// A connection whose server has yet to say how many streams it allows.
    Settling(watch::Receiver<bool>),
    /// A connection that is being made.
    Connecting(watch::Receiver<Connected>),
    /// No connection: the caller must make one, and tell those who wait for it.
    Nothing(watch::Sender<Connected>),
}

impl Clone for Http2 {
    fn clone(&self) -> Http2 {
        let Http2 { number, sender, connection, in_use, is_settled } = self;
        let (sender, connection, in_use, is_settled) = (sender.clone(), connection.clone(), in_use.clone(), is_settled.clone());
        Http2 { number: *number, sender, connection, in_use, is_settled }
    }
}

impl Http2 {
    /// Whether the server allows another stream.
    fn has_room(&self) -> bool {
        let in_use = *self.in_use.count().borrow();
        if !*self.is_settled.borrow() {
            return in_use == 0;
        }
        // A server that allows none for now may allow some later: one request waits for that.
        let most = self.connection.upgrade().map(|running| lock(&running).current_max_send_streams());
        most.is_some_and(|most| in_use < most.clamp(1, MOST_STREAMS as usize))
    }
}

impl State {
    pub(super) fn next(&mut self) -> Next {
        self.http2.retain(|connection| !connection.sender.is_closed() && !connection.in_use.is_late());
        self.http1.retain(|connection| !connection.sender.is_closed());
        let mut settling = None;
        for connection in &self.http2 {
            if connection.has_room() {
                return Next::Http2(connection.clone(), InUse::new(&connection.in_use));
            }
            if !*connection.is_settled.borrow() {
                settling = Some(connection.is_settled.clone());
            }
        }
        // The most recent one first, so that the others may fall idle and end.
        if let Some(connection) = self.http1.pop() {
            let in_use = InUse::new(&connection.in_use);
            return Next::Http1(connection, in_use);
        }
        match (settling, &self.connecting) {
            (Some(settling), _) => Next::Settling(settling),
            (None, Some(connecting)) => Next::Connecting(connecting.clone()),
            (None, None) => {
                let (told, connecting) = watch::channel(None);
                // Over HTTP/1.1, each request needs its own connection.
                if !self.is_http1 {
                    self.connecting = Some(connecting);
                }
                Next::Nothing(told)
            }
        }
    }

    /// Stops waiting for this connection to be made.
    pub(super) fn forget(&mut self, connecting: &watch::Receiver<Connected>) {
        self.connecting.take_if(|known| known.same_channel(connecting));
    }

    /// Stops waiting for this connection's server to say how many streams it allows.
    pub(super) fn settle(&mut self, is_settled: &watch::Receiver<bool>) {
        for connection in &mut self.http2 {
            if connection.is_settled.same_channel(is_settled) {
                connection.is_settled = watch::channel(true).1;
            }
        }
    }
}
