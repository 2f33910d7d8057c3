//! A response's body that ends at its limits.

use super::guard::Guard;
use super::permission::OpenRequest;
use super::telemetry::Answered;
use super::wasi_error;
use super::{Stream, Withdrawn};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

/// Counts the bytes, and watches the pauses between them.
pub(crate) struct LimitedBody {
    limit: u64,
    left: u64,
    pause: Duration,
    deadline: Pin<Box<Sleep>>,
    open: Open,
    /// Nothing comes after an error.
    is_broken: bool,
}

/// What goes with an answer while it is open.
pub(crate) struct Open {
    pub(crate) answered: Answered,
    /// Present where the token must not enter the sandbox.
    pub(crate) guard: Option<Guard>,
    /// It has the body, which ends with the permission.
    pub(crate) request: Arc<OpenRequest>,
    pub(crate) withdrawn: Withdrawn,
    pub(crate) _stream: Stream,
}

impl LimitedBody {
    pub(crate) fn new(limit: u64, pause: Duration, open: Open) -> LimitedBody {
        LimitedBody { limit, left: limit, pause, deadline: Box::pin(sleep(pause)), open, is_broken: false }
    }

    fn broken(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.open.answered.broken(&error);
        self.is_broken = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_broken {
            return Poll::Ready(None);
        }
        if self.open.withdrawn.as_mut().poll(cx).is_ready() {
            return self.broken(wasi_error::withdrawn());
        }
        let polled = match &mut *self.open.request.body() {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        };
        let Poll::Ready(frame) = polled else {
            ready!(self.deadline.as_mut().poll(cx));
            return self.broken(wasi_error::body_too_slow());
        };
        if let Some(next) = Instant::now().checked_add(self.pause) {
            self.deadline.as_mut().reset(next);
        }
        match frame {
            // Trailers are of no use to the client.
            Some(Ok(frame)) if frame.is_trailers() => self.poll_frame(cx),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.open.answered.received(bytes);
                if let (Some(guard), Some(data)) = (&mut self.open.guard, frame.data_ref())
                    && guard.finds_in(data)
                {
                    return self.broken(wasi_error::token_in_answer());
                }
                match self.left.checked_sub(bytes) {
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => {
                        let limit = self.limit;
                        self.broken(wasi_error::body_too_large(limit))
                    }
                }
            }
            Some(Err(error)) => self.broken(wasi_error::of_http(&error)),
            None => {
                self.open.answered.complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.request.body().as_ref().is_some_and(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.open.request.body().as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}
