//! This process's standard output and error, for a guest that runs as a command.

use bytes::Bytes;
use std::io::{self, ErrorKind, IsTerminal, stderr, stdout};
use std::sync::Arc;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{self, AsyncStdoutStream, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// How many bytes of a guest's output are held while nobody reads them. Then the guest waits before it can write more.
const HELD: usize = 64 << 10;

/// An output of this process, written by a separate thread. If nobody reads it, the guest waits: it blocks no thread that others need, and the
/// wait does not count as computing.
#[derive(Clone)]
pub(crate) struct Output {
    stream: Arc<AsyncStdoutStream>,
    is_terminal: bool,
}

impl Output {
    /// Standard output.
    pub(crate) fn standard() -> Output {
        Output::new(tokio::io::stdout(), IsTerminal::is_terminal(&stdout()))
    }

    /// Standard error.
    pub(crate) fn error() -> Output {
        Output::new(tokio::io::stderr(), IsTerminal::is_terminal(&stderr()))
    }

    fn new(to: impl AsyncWrite + Send + Sync + 'static, is_terminal: bool) -> Output {
        Output { stream: Arc::new(AsyncStdoutStream::new(HELD, to)), is_terminal }
    }

    /// Waits until what the guest wrote has been written.
    pub(crate) async fn flush(&self) {
        let mut stream = self.stream.p2_stream();
        // If the reader has gone, the guest has already got an error.
        if stream.flush().is_ok() {
            stream.ready().await;
        }
    }
}

/// An output whose reader may go at any time, as `head` does: the guest learns that the stream is closed, and not of some failure.
struct ClosedByReader(Box<dyn OutputStream>);

fn closed(error: StreamError) -> StreamError {
    let is_broken_pipe = |e: &io::Error| e.kind() == ErrorKind::BrokenPipe;
    match error {
        StreamError::LastOperationFailed(why) if why.downcast_ref().is_some_and(is_broken_pipe) => StreamError::Closed,
        other => other,
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ClosedByReader {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

impl OutputStream for ClosedByReader {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(bytes).map_err(closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.0.flush().map_err(closed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.check_write().map_err(closed)
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(ClosedByReader(self.stream.p2_stream()))
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        self.stream.async_stream()
    }
}

impl cli::IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Fails each write in this way.
    struct Fails(ErrorKind);

    impl AsyncWrite for Fails {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(self.0.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn written(kind: ErrorKind) -> StreamError {
        let mut stream = Output::new(Fails(kind), false).p2_stream();
        stream.write(Bytes::from_static(b"pods")).unwrap();
        stream.flush().unwrap();
        stream.ready().await;
        stream.check_write().unwrap_err()
    }

    #[tokio::test]
    async fn a_reader_that_goes_closes_the_stream_and_other_failures_stay_what_they_are() {
        assert!(matches!(written(ErrorKind::BrokenPipe).await, StreamError::Closed));
        assert!(matches!(written(ErrorKind::StorageFull).await, StreamError::LastOperationFailed(_)));
    }
}
