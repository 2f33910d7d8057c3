//! What a failure is in the words of wasi:http.
//!
//! Only `internal-error` has room for a text. Where there is more to say than a code does, the text begins with the code's
//! name: our guest reads it as that code with a detail, and any other guest can still show it. A body's failures are all of
//! this kind, as wasmtime 48 gives guests the text of a body's error, and no code.

use super::connect::ConnectError;
use super::detail::{self, Detail, find};
use crate::types::{self, ConfigError};
use crate::{Server, describe};
use hyper_util::client::legacy;
use std::io::ErrorKind;
use wasmtime_wasi_http::Error;

/// A request that got no response.
pub(crate) fn of_request(error: &legacy::Error, server: &Server) -> Error {
    if let Some(error) = find::<ConnectError>(error) {
        return of_connect(error, server);
    }
    if let Some(error) = find::<hyper::Error>(error) {
        return of_http(error);
    }
    // Not our connector's failure: the connection was another request's, and ended before this one could share it.
    if error.is_connect() {
        return detailed("connection-terminated", "before the request was sent");
    }
    detailed("HTTP-protocol-error", &error.to_string())
}

/// A response that broke off, or one that is not HTTP.
pub(crate) fn of_http(error: &hyper::Error) -> Error {
    let is_torn = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    match find::<h2::Error>(error) {
        Some(h2) if !is_torn => of_h2(h2),
        _ => detail::of_http(error).into(),
    }
}

fn of_h2(error: &h2::Error) -> Error {
    let code = match error.reason() {
        // The server goes away, takes no more requests, or has lost what is behind it.
        Some(h2::Reason::NO_ERROR | h2::Reason::REFUSED_STREAM | h2::Reason::CANCEL | h2::Reason::INTERNAL_ERROR) => {
            "connection-terminated"
        }
        None if error.is_io() => "connection-terminated",
        _ => "HTTP-protocol-error",
    };
    detailed(code, &error.to_string())
}

/// A response that has more bytes than this.
pub(crate) fn body_too_large(limit: u64) -> Error {
    detailed("HTTP-response-body-size", &limit.to_string())
}

/// A response that pauses too long.
pub(crate) fn body_too_slow() -> Error {
    detailed("connection-read-timeout", "between bytes")
}

/// A sandbox is told of its own tenant's limit.
pub(crate) fn limit_exceeded(what: &str) -> Error {
    detailed("limit-exceeded", what)
}

/// A request that may not leave.
pub(crate) fn denied(why: &str) -> Error {
    detailed("HTTP-request-denied", why)
}

/// There is no token to send, for this reason.
pub(crate) fn no_token(error: ConfigError) -> Error {
    match error {
        ConfigError::TokenExpired(file) => detailed("token-expired", &file.reason),
        error => detailed("token-expired", &describe::cause(&types::Error::Config(error))),
    }
}

/// The answer has the token in it, which is not for the sandbox.
pub(crate) fn token_in_answer() -> Error {
    detailed("HTTP-protocol-error", "the service account's token is in the answer, which was withheld")
}

fn of_connect(error: &ConnectError, server: &Server) -> Error {
    match error {
        ConnectError::TcpTimeout => detailed("connection-timeout", "connecting"),
        ConnectError::TlsTimeout => detailed("connection-timeout", "TLS handshake"),
        ConnectError::Trust(error) => detail::of_trust(error).into(),
        ConnectError::Tls(io) => detail::of_tls(io, server).into(),
        ConnectError::Tcp(io) => match io.kind() {
            ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                Error::DestinationIpUnroutable
            }
            ErrorKind::ConnectionReset => detailed("connection-terminated", "while connecting"),
            ErrorKind::TimedOut => detailed("connection-timeout", "connecting"),
            // std reports a failed look-up of a name without an OS error.
            _ if io.raw_os_error().is_none() => Error::DnsError { rcode: Some(io.to_string()), info_code: None },
            _ => detailed("connection-failed", &io.to_string()),
        },
    }
}

fn detailed(code: &'static str, text: &str) -> Error {
    detail::detailed(code, text).into()
}

impl From<Detail> for Error {
    fn from(detail: Detail) -> Error {
        Error::InternalError(Some(detail.to_string()))
    }
}
