//! Keeps libraries out of the log: the HTTP/2 library logs what a peer sends, byte for byte, which may be the token.

use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tracing::Dispatch;
use tracing::dispatcher::{get_default, with_default};

tokio::task_local! {
    /// The subscriber around the quiet work.
    static OUTER: Dispatch;
}

/// A library's value whose events reach no subscriber, even when it is dropped.
pub(crate) struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    pub(crate) fn new(inner: T) -> Quiet<T> {
        Quiet(Some(inner))
    }

    /// The value itself. It must not be used for anything that emits events.
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        let inner = self.0.as_mut()?;
        Some(with_default(&Dispatch::none(), || act(inner)))
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            with_default(&Dispatch::none(), || drop(inner));
        }
    }
}

impl<F: Future> Future for Quiet<Pin<Box<F>>> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.with(|inner| inner.as_mut().poll(cx)).unwrap_or(Poll::Pending)
    }
}

impl<B: Body + Unpin> Body for Quiet<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.with(|inner| Pin::new(inner).poll_frame(cx)).unwrap_or(Poll::Ready(None))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, B::size_hint)
    }
}

/// Runs work without a subscriber. In it, [`outer`] returns the subscriber around it.
pub(crate) async fn run<F: Future>(work: F) -> F::Output {
    OUTER.scope(get_default(Dispatch::clone), Quiet::new(Box::pin(work))).await
}

/// Returns the subscriber around the quiet work.
pub(crate) fn outer() -> Dispatch {
    OUTER.try_with(Dispatch::clone).unwrap_or_default()
}
