//! An answer's body, and how it uses its connection.

use super::frames::Pieces;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::watch;

/// The requests under way on a connection.
#[derive(Default)]
pub(super) struct Uses {
    count: watch::Sender<usize>,
    is_late: AtomicBool,
    /// The pieces of answers that have arrived and were not passed on yet.
    pieces: Arc<Pieces>,
}

impl Uses {
    /// The uses of a connection whose pieces are counted.
    pub(super) fn of(pieces: Arc<Pieces>) -> Uses {
        Uses { pieces, ..Uses::default() }
    }

    /// How many requests are under way.
    pub(super) fn count(&self) -> &watch::Sender<usize> {
        &self.count
    }

    /// Whether an answer on this connection was late, so that further requests use another connection.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Relaxed)
    }
}

/// A request on a connection, until its answer has been read.
pub(crate) struct InUse(Arc<Uses>);

impl InUse {
    pub(super) fn new(uses: &Arc<Uses>) -> InUse {
        uses.count.send_modify(|count| *count += 1);
        InUse(uses.clone())
    }

    /// Marks the connection as one on which an answer was late. It may have gone silent, which its pings show only later.
    pub(super) fn mark_late(&self) {
        self.0.is_late.store(true, Ordering::Relaxed);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut is_last = false;
        self.0.count.send_modify(|count| {
            *count -= 1;
            is_last = *count == 0;
        });
        if is_last {
            // The pieces of an answer that was dropped are gone.
            self.0.pieces.none_left();
        }
    }
}

/// An answer's body.
pub(crate) struct Answer {
    body: Incoming,
    /// Present on an HTTP/2 connection; an HTTP/1.1 connection is in use until it is ready again.
    in_use: Option<InUse>,
}

impl Answer {
    pub(super) fn new(body: Incoming, in_use: Option<InUse>) -> Answer {
        Answer { body, in_use }
    }

    /// Whether the server has ended the answer. (Over HTTP/1.1, reading a truncated answer fails.)
    pub(super) fn is_whole(&self) -> bool {
        self.in_use.is_none() || self.body.is_end_stream()
    }

    /// Marks the connection as one on which a piece of an answer was late.
    pub(super) fn mark_late(&self) {
        if let Some(in_use) = &self.in_use {
            in_use.mark_late();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(InUse(uses))) = (&polled, &self.in_use)
            && let Some(data) = frame.data_ref()
        {
            uses.pieces.handed_on(data.len());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
