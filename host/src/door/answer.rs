//! An answer's body, and the connection that is in use for it.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// A request on a connection, until its answer has been read.
pub(crate) struct InUse(Arc<watch::Sender<usize>>);

impl InUse {
    pub(super) fn new(in_use: &Arc<watch::Sender<usize>>) -> InUse {
        in_use.send_modify(|count| *count += 1);
        InUse(in_use.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// An answer's body.
pub(crate) struct Answer {
    body: Incoming,
    /// On a connection of HTTP/2; one of HTTP/1.1 is in use until it is ready again.
    _in_use: Option<InUse>,
}

impl Answer {
    pub(super) fn new(body: Incoming, in_use: Option<InUse>) -> Answer {
        Answer { body, _in_use: in_use }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
