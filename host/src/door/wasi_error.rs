//! Failures as errors of wasi:http. A body's failures are all texts (see [`incluster_core::failure`]), because wasmtime 48 gives guests the
//! text of a body's error, but no code.

use super::connections::ConnectError;
use super::frames;
use super::issuing::TokenSourceError;
use super::pool::RequestError;
use super::tls_stream::{is_alert, is_flood};
use incluster_core::failure::{Code, Failure};
use incluster_core::tls::{self, find};
use incluster_core::{ConfigError, Server};
use std::io::{self, ErrorKind};
use wasmtime_wasi_http::Error;

/// The error for a request that got no response.
pub(crate) fn of_request(error: &RequestError, server: &Server) -> Error {
    match error {
        RequestError::Connect(error) => of_connect(error, server),
        RequestError::Http(error) => of_http(error),
        RequestError::Late => Error::HttpResponseTimeout,
        RequestError::Lost => failed(Code::ConnectionLost, "before the request was sent"),
    }
}

/// The error for a response that broke off, or is not HTTP.
pub(crate) fn of_http(error: &hyper::Error) -> Error {
    // Alerts are checked first, because a request that waits for an answer may see an alert only as its own cancellation.
    let io = find::<io::Error>(error).or_else(|| find::<h2::Error>(error)?.get_io());
    if let Some(alert) = io.filter(|io| is_alert(io)) {
        return failed(Code::Tls, &alert.to_string());
    }
    // A ping was not answered.
    if error.is_timeout() {
        return failed(Code::ConnectionLost, "the server does not answer any more");
    }
    match find::<h2::Error>(error) {
        Some(h2) if !tls::is_torn(error) => of_h2(h2),
        _ => internal(&tls::of_http(error)),
    }
}

fn of_h2(error: &h2::Error) -> Error {
    if error.get_io().is_some_and(is_flood) {
        return failed(Code::HttpProtocol, &frames::flood());
    }
    let code = match error.reason() {
        // The server ends the connection, for any reason: unanswered requests are sent on another one (RFC 9113, section 6.8).
        Some(_) if error.is_go_away() && error.is_remote() => Code::ConnectionLost,
        // The server accepts no more requests, or has lost its backend.
        Some(h2::Reason::NO_ERROR | h2::Reason::REFUSED_STREAM | h2::Reason::CANCEL | h2::Reason::INTERNAL_ERROR) => {
            Code::ConnectionLost
        }
        // Only if the server sent it: our own library gives this reason, too, if the server floods it.
        Some(h2::Reason::ENHANCE_YOUR_CALM) if error.is_remote() => Code::ConnectionLost,
        None if error.is_io() => Code::ConnectionLost,
        _ => Code::HttpProtocol,
    };
    // Not the error's own text: it contains what the peer sent in a GOAWAY, which may be the token.
    let reason = error.reason();
    failed(code, reason.as_ref().map_or("the connection broke", h2::Reason::description))
}

/// The error for a response that has more bytes than this.
pub(crate) fn body_too_large(limit: u64) -> Error {
    failed(Code::BodyTooLarge, &limit.to_string())
}

/// The error for a truncated response.
pub(crate) fn cut() -> Error {
    failed(Code::ConnectionLost, "the server reset the stream within the answer")
}

/// The error for a response that pauses too long.
pub(crate) fn body_too_slow() -> Error {
    failed(Code::ReadTimeout, "between bytes")
}

/// The error for a request beyond a limit of the sandbox's own tenant.
pub(crate) fn limit_exceeded(what: &str) -> Error {
    failed(Code::LimitExceeded, what)
}

/// The error for a request that may not leave.
pub(crate) fn denied(why: &str) -> Error {
    failed(Code::Denied, why)
}

/// The error for a request that was permitted when it left, and is not any more.
pub(crate) fn withdrawn() -> Error {
    denied("the policy has changed, and does not permit this request any more")
}

/// The error if there is no token to send, for this reason.
pub(crate) fn no_token(error: ConfigError) -> Error {
    match error {
        ConfigError::TokenExpired { reason, .. } => failed(Code::TokenExpired, &reason),
        error => failed(Code::TokenExpired, &error.to_string()),
    }
}

/// The error if there is no token because none was issued.
pub(crate) fn not_issued(error: &TokenSourceError) -> Error {
    // A temporary error gets a code that is retried.
    let code = if error.is_retryable() { Code::ConnectionTimeout } else { Code::TokenNotIssued };
    failed(code, &error.to_string())
}

/// The text of a failure.
pub(crate) fn text(error: &Error) -> String {
    match error {
        Error::InternalError(Some(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The error for an answer that contains the token, which the sandbox must not have.
pub(crate) fn token_in_answer() -> Error {
    failed(Code::TokenInAnswer, "it has the service account's token in it, or ends in what may be one, and was withheld")
}

fn of_connect(error: &ConnectError, server: &Server) -> Error {
    match error {
        ConnectError::TcpTimeout => failed(Code::ConnectionTimeout, "connecting"),
        ConnectError::TlsTimeout => failed(Code::ConnectionTimeout, "TLS handshake"),
        ConnectError::Http(error) => of_http(error),
        ConnectError::Trust(error) => internal(&tls::of_trust(error)),
        ConnectError::Tls(io) => internal(&tls::of_tls(io, server)),
        ConnectError::NotTrustedAnyMore(io) => failed(Code::CertificateChanged, &tls::of_tls(io, server).text),
        ConnectError::Lookup(why) => Error::DnsError { rcode: Some(why.to_string()), info_code: None },
        ConnectError::Tcp(io) => match io.kind() {
            ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                Error::DestinationIpUnroutable
            }
            ErrorKind::ConnectionReset => failed(Code::ConnectionLost, "while connecting"),
            ErrorKind::TimedOut => failed(Code::ConnectionTimeout, "connecting"),
            _ => failed(Code::NotConnected, &io.to_string()),
        },
    }
}

fn failed(code: Code, text: &str) -> Error {
    internal(&Failure::new(code, text))
}

fn internal(failure: &Failure) -> Error {
    Error::InternalError(Some(failure.to_string()))
}
