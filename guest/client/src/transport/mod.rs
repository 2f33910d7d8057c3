//! Sends a request, and reads the answer: the one place of the client that does I/O with the API server. Over wasi:http it asks
//! the host for TLS, and for trust in ca.crt; with the feature `tls` it brings its own, over wasi:sockets.

#[cfg(feature = "tls")]
mod detail;
#[cfg(feature = "tls")]
mod sockets;
#[cfg(feature = "tls")]
#[allow(dead_code, reason = "shared with the host, which has a log to tell of what is noticed")]
mod trust;
#[cfg(not(feature = "tls"))]
mod wasi_http;

#[cfg(feature = "tls")]
use sockets as means;
#[cfg(not(feature = "tls"))]
use wasi_http as means;

use crate::config;
use crate::types::{Error, TransportError};
use std::time::{Duration, Instant};
use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

pub use means::Transport;

/// So much is read at once. Large reads are few crossings of the sandbox's boundary.
const CHUNK_BYTES: u64 = 256 << 10;

/// How long the client waits; a host may be stricter. A host that sets no deadlines of its own, such as the wasmtime CLI,
/// would wait ten minutes. They are not `request-options`: wasmtime 48 keeps those of each request for as long as the sandbox
/// lives, so that one which makes many requests would run out of resources.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(80);
const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

/// A watch is quiet for longer: its server sends bookmarks, about one a minute.
const BETWEEN_EVENTS_TIMEOUT: Duration = Duration::from_secs(300);

/// No answer but a watch's is larger: 1 GiB. A host may be stricter; the wasmtime CLI sets no limit at all.
const MAX_BODY_BYTES: u64 = 1 << 30;

const USER_AGENT: &str = concat!("incluster/", env!("CARGO_PKG_VERSION"));

/// An answer's body, to be read as it arrives.
pub struct Body {
    incoming: means::Incoming,
    deadline: Option<Instant>,
    pause: Duration,
    left: u64,
}

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the answer's head.
    pub head: Instant,
    /// For the end of its body; `None` is for ever.
    pub body: Option<Instant>,
}

impl Body {
    /// The body of the answer to a request.
    fn new(incoming: means::Incoming, times: &Times, is_watch: bool) -> Body {
        let (left, pause) = match is_watch {
            true => (u64::MAX, BETWEEN_EVENTS_TIMEOUT),
            false => (MAX_BODY_BYTES, BETWEEN_BYTES_TIMEOUT),
        };
        Body { incoming, deadline: times.body, pause, left }
    }

    /// The next chunk; `None` at the end.
    pub fn chunk(&mut self) -> Result<Option<means::Chunk>, Error> {
        let chunk = self.incoming.chunk(&Phase::begin("between bytes", self.pause, self.deadline)?)?;
        if let Some(chunk) = &chunk {
            match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => self.left = left,
                None => return Err(limit_exceeded("the body", Some(MAX_BODY_BYTES))),
            }
        }
        Ok(chunk)
    }

    /// The whole body, if it has at most `limit` bytes. What goes beyond is left unread.
    pub fn up_to(mut self, limit: usize) -> Result<(Vec<u8>, bool), Error> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk()? {
            let room = limit - whole.len();
            whole.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Ok((whole, false));
            }
        }
        Ok((whole, true))
    }
}

/// Something that may take so long, and not longer.
struct Phase {
    name: &'static str,
    end: Instant,
    /// Whether it ends with the call.
    is_last: bool,
}

impl Phase {
    /// Begins now, and ends at the call's deadline at the latest; after that, nothing begins, however much is ready.
    fn begin(name: &'static str, time: Duration, deadline: Option<Instant>) -> Result<Phase, Error> {
        let now = Instant::now();
        match deadline {
            Some(deadline) if deadline <= now => Err(late("the whole call")),
            Some(deadline) if deadline <= now + time => Ok(Phase { name, end: deadline, is_last: true }),
            _ => Ok(Phase { name, end: now + time, is_last: false }),
        }
    }

    /// Waits for one of these. What is both ready and too late for the call, is too late.
    fn wait(&self, ready: &[&Pollable]) -> Result<(), Error> {
        let left = self.end.saturating_duration_since(Instant::now());
        let timer = monotonic_clock::subscribe_duration(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
        let happened = poll(&[&[&timer], ready].concat());
        match (happened.contains(&0), happened.len() > 1) {
            (true, is_ready) if self.is_last || !is_ready => Err(self.late()),
            _ => Ok(()),
        }
    }

    /// That it is over.
    fn late(&self) -> Error {
        late(if self.is_last { "the whole call" } else { self.name })
    }
}

fn late(what: &str) -> Error {
    Error::Transport(TransportError::Timeout(what.into()))
}

fn other(what: &str) -> Error {
    Error::Transport(TransportError::Other(what.into()))
}

/// The case of a failure that has details, by the name of the code of wasi:http that applies. A case of `error` or
/// `config-error` goes by its own name.
fn detailed(code: &str, detail: &str) -> Option<Error> {
    if let Some(error) = config::host_error(code, detail) {
        return Some(Error::Config(error));
    }
    let case = match code {
        "HTTP-request-denied" => return Some(Error::Denied(detail.into())),
        "limit-exceeded" => return Some(Error::LimitExceeded(detail.into())),
        "HTTP-response-header-section-size" => return Some(limit_exceeded("the header section", detail.parse().ok())),
        "HTTP-response-body-size" => return Some(limit_exceeded("the body", detail.parse().ok())),
        "TLS-certificate-error" => TransportError::Certificate,
        "TLS-protocol-error" => TransportError::Tls,
        "connection-terminated" => TransportError::ConnectionLost,
        "connection-timeout" | "connection-read-timeout" => TransportError::Timeout,
        "HTTP-protocol-error" => TransportError::HttpProtocol,
        _ => return None,
    };
    Some(Error::Transport(case(detail.into())))
}

fn limit_exceeded(what: &str, limit: Option<u64>) -> Error {
    Error::LimitExceeded(match limit {
        Some(limit) => format!("{what} of the answer has more than the {limit} bytes that are allowed"),
        None => format!("{what} of the answer has more bytes than are allowed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_ends_with_the_call_and_none_begins_after_it() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let begin = |deadline| Phase::begin("first byte", second, deadline).map(|phase| phase.is_last);
        assert_eq!(begin(None), Ok(false));
        assert_eq!(begin(Some(now + 60 * second)), Ok(false));
        assert_eq!(begin(Some(now + second / 2)), Ok(true));
        assert_eq!(begin(Some(now)), Err(late("the whole call")));
    }
}
