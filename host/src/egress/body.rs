//! A response's body that ends at its limits.

use super::failure;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

/// Counts the bytes, and watches the pauses between them.
pub(crate) struct LimitedBody {
    incoming: Incoming,
    limit: u64,
    left: u64,
    pause: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl LimitedBody {
    pub(crate) fn new(incoming: Incoming, limit: u64, pause: Duration) -> LimitedBody {
        LimitedBody { incoming, limit, left: limit, pause, deadline: Box::pin(sleep(pause)) }
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = pin!(&mut self.incoming).poll_frame(cx) else {
            ready!(self.deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(failure::body_too_slow())));
        };
        if let Some(next) = Instant::now().checked_add(self.pause) {
            self.deadline.as_mut().reset(next);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => Some(Err(failure::body_too_large(self.limit))),
                }
            }
            Some(Err(error)) => Some(Err(failure::of_http(&error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
