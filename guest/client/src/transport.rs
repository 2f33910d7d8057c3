//! Sends a request over wasi:http. The one place of the client that does I/O with the API server.

use crate::config::{self, Server};
use crate::request::Request;
use crate::response::Head;
use crate::token::Token;
use crate::types::{Error, TransportError};
use std::time::{Duration, Instant};
use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingRequest, Scheme, http_error_code};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, StreamError};

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

/// An answer's body, to be read as it arrives.
pub struct Body {
    // Dropped in this order: WASI wants a pollable to go before its stream, and a stream before its body.
    ready: Pollable,
    stream: InputStream,
    _body: IncomingBody,
    deadline: Option<Instant>,
    pause: Duration,
    left: u64,
}

/// Sends a GET request, with the token, and returns the answer's head. Without an answer at the deadline, it gives up; so does
/// the reading of the body, unless the answer is a watch, which may go on until `body_deadline`.
pub fn get(server: &Server, token: &Token, request: &Request, times: &Times) -> Result<(Head, Body), Error> {
    let headers = Fields::from_list(&[
        ("accept".into(), request.accept.into()),
        ("authorization".into(), token.authorization().into()),
        ("user-agent".into(), concat!("incluster/", env!("CARGO_PKG_VERSION")).into()),
    ])
    .map_err(|_| other("the host does not take the request's headers"))?;

    let outgoing = OutgoingRequest::new(headers);
    let accepted = outgoing.set_method(&Method::Get).is_ok()
        && outgoing.set_scheme(Some(&Scheme::Https)).is_ok()
        && outgoing.set_authority(Some(server.authority())).is_ok()
        && outgoing.set_path_with_query(Some(&request.path_and_query)).is_ok();
    if !accepted {
        return Err(other("the host does not take the request's URL"));
    }
    let pending = outgoing_handler::handle(outgoing, None).map_err(|code| error(code, request))?;
    let ready = pending.subscribe();
    wait(&ready, Some(times.head), FIRST_BYTE_TIMEOUT, "first byte")?;
    drop(ready);
    let answer = pending.get().and_then(Result::ok).ok_or_else(|| other("the host gave no answer"))?;
    let response = answer.map_err(|code| error(code, request))?;
    let head = head(&response);
    let body = response.consume().map_err(|()| other("the host gave no body"))?;
    let stream = body.stream().map_err(|()| other("the host gave no body"))?;
    let (left, pause) = match request.is_watch {
        true => (u64::MAX, BETWEEN_EVENTS_TIMEOUT),
        false => (MAX_BODY_BYTES, BETWEEN_BYTES_TIMEOUT),
    };
    Ok((head, Body { ready: stream.subscribe(), stream, _body: body, deadline: times.body, pause, left }))
}

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the answer's head.
    pub head: Instant,
    /// For the end of its body; `None` is for ever.
    pub body: Option<Instant>,
}

/// Waits for so long, but not longer than until the deadline. What is both ready and too late for the deadline, is too late.
fn wait(ready: &Pollable, deadline: Option<Instant>, time: Duration, phase: &str) -> Result<(), Error> {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    let (time, is_last) = match left {
        Some(left) if left <= time => (left, true),
        _ => (time, false),
    };
    let timer = monotonic_clock::subscribe_duration(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let happened = poll(&[ready, &timer]);
    match (happened.contains(&0), happened.contains(&1)) {
        (_, true) if is_last => Err(Error::Transport(TransportError::Timeout("the whole call".into()))),
        (false, true) => Err(Error::Transport(TransportError::Timeout(phase.into()))),
        _ => Ok(()),
    }
}

impl Body {
    /// The next chunk; `None` at the end.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.stream.read(CHUNK_BYTES) {
                Ok(chunk) if !chunk.is_empty() => return self.count(chunk).map(Some),
                Ok(_) => {}
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(e)) => {
                    return Err(match http_error_code(&e) {
                        Some(code) => transport_error(code),
                        None => stream_error(&e.to_debug_string()),
                    });
                }
            }
            wait(&self.ready, self.deadline, self.pause, "between bytes")?;
        }
    }

    fn count(&mut self, chunk: Vec<u8>) -> Result<Vec<u8>, Error> {
        match self.left.checked_sub(chunk.len() as u64) {
            Some(left) => self.left = left,
            None => return Err(limit_exceeded("the body", Some(MAX_BODY_BYTES))),
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

fn head(response: &IncomingResponse) -> Head {
    let headers = response.headers();
    let header = |name: &str| headers.get(name).into_iter().next().map(|v| String::from_utf8_lossy(&v).into_owned());
    Head {
        status: response.status(),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        retry_after: header("retry-after"),
        location: header("location"),
        date: header("date"),
    }
}

fn other(what: &str) -> Error {
    Error::Transport(TransportError::Other(what.into()))
}

fn error(code: ErrorCode, request: &Request) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied(format!("the host does not permit GET {}", request.path())),
        code => transport_error(code),
    }
}

/// The case of a wasi:http error code.
fn transport_error(code: ErrorCode) -> Error {
    use TransportError::*;
    let none = String::new();
    Error::Transport(match code {
        ErrorCode::DnsTimeout => NameNotResolved("the name server did not answer in time".into()),
        ErrorCode::DnsError(payload) => NameNotResolved(payload.rcode.unwrap_or_default()),
        ErrorCode::DestinationNotFound => NameNotResolved(none),
        ErrorCode::ConnectionRefused => ConnectionRefused(none),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => Unreachable(none),
        ErrorCode::DestinationIpProhibited => Unreachable("the host prohibits the address".into()),
        ErrorCode::ConnectionTimeout => Timeout("connecting".into()),
        ErrorCode::HttpResponseTimeout => Timeout("first byte".into()),
        ErrorCode::ConnectionReadTimeout => Timeout("between bytes".into()),
        ErrorCode::ConnectionWriteTimeout => Timeout("sending".into()),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => ConnectionLost(none),
        ErrorCode::TlsCertificateError => Certificate(none),
        ErrorCode::TlsProtocolError => Tls(none),
        ErrorCode::TlsAlertReceived(alert) => Tls(alert.alert_message.unwrap_or_default()),
        ErrorCode::HttpProtocolError
        | ErrorCode::HttpUpgradeFailed
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpResponseTransferCoding(_) => HttpProtocol(none),
        ErrorCode::HttpResponseBodySize(limit) => return limit_exceeded("the body", limit),
        ErrorCode::HttpResponseHeaderSectionSize(limit) | ErrorCode::HttpResponseTrailerSectionSize(limit) => {
            return limit_exceeded("the header section", limit.map(u64::from));
        }
        ErrorCode::HttpResponseHeaderSize(field) | ErrorCode::HttpResponseTrailerSize(field) => {
            return limit_exceeded("a header", field.field_size.map(u64::from));
        }
        ErrorCode::InternalError(Some(text)) => return detailed(&text).unwrap_or_else(|| other(&text)),
        ErrorCode::InternalError(None) => Other("an error inside the host".into()),
        ErrorCode::ConnectionLimitReached => Other("the host's limit of connections is reached".into()),
        ErrorCode::ConfigurationError => Other("the host's configuration is wrong".into()),
        ErrorCode::LoopDetected => Other("the request went in a loop".into()),
        ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_) => Other("the host does not take the request".into()),
    })
}

/// `internal-error` is the only code with room for a text of the host's: the incluster host uses it for details, which it
/// begins with the name of the code that applies. A case of `error` or `config-error` goes by its own name.
fn detailed(text: &str) -> Option<Error> {
    let (code, detail) = text.split_once(": ")?;
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

/// A body's error for which the host has no code: wasmtime 48 never has one. What it says begins as its `internal-error`s do.
fn stream_error(text: &str) -> Error {
    let detailed = text.strip_prefix("internal error: ").and_then(detailed);
    detailed.unwrap_or_else(|| Error::Transport(TransportError::ConnectionLost(text.into())))
}

fn limit_exceeded(what: &str, limit: Option<u64>) -> Error {
    Error::LimitExceeded(match limit {
        Some(limit) => format!("{what} of the answer has more than the {limit} bytes that the host allows"),
        None => format!("{what} of the answer has more bytes than the host allows"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ConfigError;

    #[test]
    fn the_hosts_details_find_their_case() {
        let internal = |text: &str| transport_error(ErrorCode::InternalError(Some(text.into())));
        assert_eq!(
            internal("TLS-certificate-error: expired: since yesterday"),
            Error::Transport(TransportError::Certificate("expired: since yesterday".into()))
        );
        assert_eq!(internal("HTTP-request-denied: list secrets"), Error::Denied("list secrets".into()));
        assert_eq!(internal("limit-exceeded: 5 a second"), Error::LimitExceeded("5 a second".into()));
        assert!(matches!(internal("token-expired: gone"), Error::Config(ConfigError::TokenExpired(f)) if f.reason == "gone"));
        assert_eq!(internal("out of memory"), Error::Transport(TransportError::Other("out of memory".into())));
        let pause = Error::Transport(TransportError::Timeout("between bytes".into()));
        assert_eq!(stream_error("internal error: connection-read-timeout: between bytes"), pause);
        let lost = Error::Transport(TransportError::ConnectionLost("hyper error: x".into()));
        assert_eq!(stream_error("hyper error: x"), lost);
    }

    #[test]
    fn a_denial_is_not_a_transport_error() {
        let request = Request { path_and_query: "/api/v1/secrets?limit=1".into(), accept: "", is_watch: false };
        let denied = error(ErrorCode::HttpRequestDenied, &request);
        assert_eq!(denied, Error::Denied("the host does not permit GET /api/v1/secrets".into()));
    }

    #[test]
    fn a_limit_says_which() {
        let Error::LimitExceeded(text) = transport_error(ErrorCode::HttpResponseBodySize(Some(1000))) else { panic!() };
        assert!(text.contains("1000 bytes"), "{text}");
    }
}
