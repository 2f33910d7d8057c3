//! A response body that ends when it exceeds a limit.

use super::answer::Answer;
use super::guard::{Found, Guard};
use super::permission::OpenRequest;
use super::telemetry::Answered;
use super::wasi_error;
use super::{Stream, Withdrawn};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;

/// A body whose bytes are counted, and whose pauses are limited.
pub(crate) struct LimitedBody {
    limit: u64,
    left: u64,
    pause: Duration,
    /// The host's own limit for a pause. A guest may be less patient, which says nothing about the connection.
    own_pause: Duration,
    deadline: Pin<Box<Sleep>>,
    open: Open,
    /// Whether there was an error: nothing comes after it.
    is_broken: bool,
}

/// What belongs to an answer while it is open.
pub(crate) struct Open {
    pub(crate) answered: Answered,
    /// Present if tokens must not enter the sandbox.
    pub(crate) guard: Option<Guard>,
    /// The open request holds the body, which ends with the permission.
    pub(crate) request: Arc<OpenRequest>,
    pub(crate) withdrawn: Withdrawn,
    pub(crate) _stream: Stream,
}

impl LimitedBody {
    pub(crate) fn new(limit: u64, pause: Duration, own_pause: Duration, open: Open) -> LimitedBody {
        LimitedBody { limit, left: limit, pause, own_pause, deadline: Box::pin(sleep(pause)), open, is_broken: false }
    }

    /// Whether the server has ended the answer. (hyper treats a stream that was reset with NO_ERROR as ended.)
    fn is_whole(&self) -> bool {
        self.open.request.body().as_ref().and_then(|answer| answer.get()).is_none_or(Answer::is_whole)
    }

    fn held(&self) -> u64 {
        self.open.guard.as_ref().map_or(0, |guard| guard.held() as u64)
    }

    /// Returns what may be handed over of the next piece.
    fn pass(&mut self, data: Bytes) -> Result<Bytes, Error> {
        let bytes = data.len() as u64;
        self.open.answered.received(bytes);
        self.left = self.left.checked_sub(bytes).ok_or_else(|| wasi_error::body_too_large(self.limit))?;
        match &mut self.open.guard {
            Some(guard) => guard.pass(&data).map_err(|Found| wasi_error::token_in_answer()),
            None => Ok(data),
        }
    }

    fn broken(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.is_broken = true;
        Poll::Ready(Some(Err(self.open.answered.broken(error))))
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        // A server may send many pieces of which nothing is handed over.
        loop {
            if self.is_broken {
                return Poll::Ready(None);
            }
            // A reader that goes on while there is data would otherwise let a call outlive its limits.
            let turn = ready!(coop::poll_proceed(cx));
            if self.open.withdrawn.as_mut().poll(cx).is_ready() {
                return self.broken(wasi_error::withdrawn());
            }
            let polled = match &mut *self.open.request.body() {
                Some(incoming) => Pin::new(incoming).poll_frame(cx),
                None => Poll::Ready(None),
            };
            let Poll::Ready(frame) = polled else {
                ready!(self.deadline.as_mut().poll(cx));
                if self.pause >= self.own_pause
                    && let Some(answer) = self.open.request.body().as_ref().and_then(|answer| answer.get())
                {
                    answer.mark_late();
                }
                return self.broken(wasi_error::body_too_slow());
            };
            turn.made_progress();
            if let Some(next) = Instant::now().checked_add(self.pause) {
                self.deadline.as_mut().reset(next);
            }
            match frame.map(|frame| frame.map(Frame::into_data)) {
                // Trailers are of no use to the client.
                Some(Ok(Err(_trailers))) => {}
                Some(Ok(Ok(data))) => match self.pass(data) {
                    Ok(passed) if passed.is_empty() => {}
                    Ok(passed) => return Poll::Ready(Some(Ok(Frame::data(passed)))),
                    Err(error) => return self.broken(error),
                },
                Some(Err(error)) => return self.broken(wasi_error::of_http(&error)),
                None if !self.is_whole() => return self.broken(wasi_error::cut()),
                None if self.open.guard.as_ref().is_some_and(|guard| guard.end().is_err()) => {
                    return self.broken(wasi_error::token_in_answer());
                }
                None => {
                    self.open.answered.complete();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held() == 0 && self.open.request.body().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.open.request.body().as_ref().map_or_else(SizeHint::default, Body::size_hint);
        let held = self.held();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint.set_lower(hint.lower().saturating_add(held));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::super::permission::Permission;
    use super::super::policy::Policy;
    use super::super::quiet::Quiet;
    use super::super::quota::RequestQuota;
    use super::super::telemetry::Exchange;
    use super::*;
    use crate::limits::TenantLimits;
    use http::Request;
    use http_body_util::Empty;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// How many pieces the server has sent already.
    const PIECES: usize = 1000;

    fn open(request: Arc<OpenRequest>) -> Open {
        let (asked, ()) = Request::get("https://10.0.0.1/api").body(()).unwrap().into_parts();
        let answered =
            Exchange::begin(&asked, 1, "test".into(), Arc::default()).answered(http::StatusCode::OK, &http::HeaderMap::new());
        let permit = RequestQuota::new(&TenantLimits::default()).stream().ok().unwrap();
        let _stream = Stream::open(permit, false, &"test".into());
        Open { answered, guard: None, withdrawn: Box::pin(request.withdrawn()), request, _stream }
    }

    /// A reader that waits for the trailers takes pieces while there are any. A call's deadline must be checked in between.
    #[tokio::test]
    async fn a_server_that_never_stops_does_not_keep_a_reader_from_its_deadline() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut sender, mut connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let answering = async {
            far.read_exact(&mut [0; 4]).await.unwrap();
            far.write_all(format!("{head}{}", "1\r\nx\r\n".repeat(PIECES)).as_bytes()).await.unwrap();
        };
        let asked = sender.send_request(Request::new(Empty::<Bytes>::new()));
        let (answer, ()) = tokio::select! {
            both = async { tokio::join!(asked, answering) } => both,
            ended = &mut connection => panic!("{ended:?}"),
        };
        let request = Arc::new(Permission::new(Policy::allow_all())).open("/api");
        request.keep(Quiet::new(Answer::new(answer.unwrap().into_body(), None)));
        let mut body = LimitedBody::new(u64::MAX, Duration::MAX, Duration::MAX, open(request));
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < PIECES {
            let pieces = std::future::poll_fn(|cx| {
                let mut pieces = 0;
                loop {
                    let _ = Pin::new(&mut connection).poll(cx);
                    match Pin::new(&mut body).poll_frame(cx) {
                        Poll::Ready(frame) => pieces += usize::from(frame.unwrap().is_ok()),
                        Poll::Pending => break Poll::Ready(pieces),
                    }
                }
            });
            turns.push(pieces.await);
            tokio::task::yield_now().await;
        }
        assert!(turns.iter().all(|pieces| *pieces < PIECES / 2), "{turns:?}");
    }
}
