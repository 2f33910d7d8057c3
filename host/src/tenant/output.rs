//! This process's standard output and error, for a guest that runs as a command.

use std::io::{IsTerminal, stderr, stdout};
use std::sync::Arc;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{self, AsyncStdoutStream, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable};

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

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        self.stream.p2_stream()
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
