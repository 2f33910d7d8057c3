//! A component's standard output and error, line by line, for logs.

use crate::figures::TARGET;
use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use incluster_core::text;
use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The longest line, in bytes. A longer one is passed on in pieces of this size.
const LONGEST: usize = 4 << 10;

/// How many lines a second are passed on, from all sandboxes that write to the same [`Lines`]. Others are only counted.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Passes on what components write, line by line, each escaped and at most 4 KiB long. At most 100 lines a second are passed on; a separate
/// line before the next one says how many were left out. Use it for [`CtxBuilder::stdout`](crate::CtxBuilder::stdout) and
/// [`stderr`](crate::CtxBuilder::stderr). Clones share the limit and the destination.
#[derive(Clone)]
pub struct Lines(Arc<Inner>);

struct Inner {
    sink: Box<dyn Fn(&str) + Send + Sync>,
    rate: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl Lines {
    /// Passes lines to this function, which is called while the sandbox computes, and must not block.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Lines {
        let rate = RateLimiter::direct(Quota::per_second(PER_SECOND));
        Lines(Arc::new(Inner { sink: Box::new(sink), rate, left_out: AtomicU64::new(0) }))
    }

    /// Passes lines to `tracing`, as events of the level info with the fields `tenant`, `extension` and `line`.
    pub fn to_tracing(tenant: &str, extension: &str) -> Lines {
        let (tenant, extension) = (tenant.to_string(), text::name(extension));
        Lines::new(move |line| tracing::info!(target: TARGET, tenant, extension, line, "an extension wrote"))
    }
}

impl Inner {
    fn line(&self, line: &[u8]) {
        if self.rate.check().is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.left_out.swap(0, Ordering::Relaxed) {
            0 => {}
            many => (self.sink)(&format!("({many} lines were left out: the component writes more than {PER_SECOND} a second)")),
        }
        (self.sink)(&text::error(&String::from_utf8_lossy(line)));
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Stream::of(self))
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Stream::of(self))
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

/// One sandbox's output, and its last line, which is not complete yet.
struct Stream {
    lines: Lines,
    begun: Mutex<Vec<u8>>,
}

impl Stream {
    fn of(lines: &Lines) -> Stream {
        Stream { lines: lines.clone(), begun: Mutex::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, is_whole) = piece.strip_suffix(b"\n").map_or((piece, false), |line| (line, true));
            for piece in piece.chunks(LONGEST) {
                if begun.len() + piece.len() > LONGEST {
                    self.lines.0.line(&begun);
                    begun.clear();
                }
                begun.extend_from_slice(piece);
            }
            if is_whole {
                self.lines.0.line(&begun);
                begun.clear();
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let begun = self.begun.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !begun.is_empty() {
            self.lines.0.line(begun);
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]]) -> Vec<String> {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Lines::new({
            let seen = seen.clone();
            move |line| seen.lock().unwrap().push(line.into())
        });
        let mut stream = Stream::of(&lines);
        for piece in pieces {
            stream.write(Bytes::copy_from_slice(piece)).unwrap();
        }
        drop((stream, lines));
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    #[test]
    fn lines_are_whole_escaped_and_bounded() {
        assert_eq!(written(&[b"a", b"b\nc\n", b"d"]), ["ab", "c", "d"]);
        assert_eq!(written(&[b"\x1b[2J\xff\n"]), ["\\u{1b}[2J\u{fffd}"]);
        let long = written(&[&[b'x'; 10_000]]);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>().iter().sum::<usize>(), 10_000);
        assert!(long.iter().all(|line| line.len() <= LONGEST));
    }

    #[test]
    fn a_flood_is_counted() {
        let flood = written(&[&b"x\n".repeat(1000)]);
        assert!((100..200).contains(&flood.len()), "{}", flood.len());
    }
}
