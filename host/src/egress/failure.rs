//! What a failure is in the words of wasi:http.
//!
//! Only `internal-error` has room for a text. Where there is more to say than a code does, the text begins with the code's
//! name: our guest reads it as that code with a detail, and any other guest can still show it. A body's failures are all of
//! this kind, as wasmtime 48 gives guests the text of a body's error, and no code.

use super::connect::ConnectError;
use super::trust::TrustError;
use crate::types::{self, ConfigError};
use crate::{Server, describe};
use hyper_util::client::legacy;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, OtherError};
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};
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
    let reset = |e: &io::Error| matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof);
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return detailed("connection-terminated", "closed by the server");
    }
    if error.is_parse_too_large() {
        return detailed("HTTP-response-header-section-size", "");
    }
    if let Some(h2) = find::<h2::Error>(error) {
        return of_h2(h2);
    }
    match find::<io::Error>(error) {
        Some(io) if reset(io) => detailed("connection-terminated", &io.to_string()),
        _ => detailed("HTTP-protocol-error", &innermost(error)),
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
        ConnectError::Trust(error) => of_trust(error),
        ConnectError::Tls(io) => of_tls(io, server),
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

/// By the names of the cases of `config-error` in `wit/`.
fn of_trust(error: &TrustError) -> Error {
    match error {
        TrustError::File(ConfigError::FileMissing(_)) => detailed("file-missing", ""),
        TrustError::File(ConfigError::FileTooLarge(_)) => detailed("file-too-large", ""),
        TrustError::File(ConfigError::FileUnreadable(file)) => detailed("file-unreadable", &file.reason),
        TrustError::File(other) => detailed("file-unreadable", &describe::cause(&types::Error::Config(other.clone()))),
        TrustError::Empty => detailed("file-empty", ""),
        TrustError::NoCertificate | TrustError::Half => detailed("no-certificate", ""),
        TrustError::Tls(error) => detailed("TLS-protocol-error", &format!("TLS cannot be set up: {error}")),
    }
}

fn of_tls(error: &io::Error, server: &Server) -> Error {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            detailed("TLS-certificate-error", &format!("the certificate that {server} presents {}", of_certificate(why)))
        }
        Some(tls) => detailed("TLS-protocol-error", &tls.to_string()),
        None => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                detailed("connection-terminated", "during the TLS handshake")
            }
            _ => detailed("TLS-protocol-error", &error.to_string()),
        },
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "was not issued by a CA in ca.crt".into(),
        // A CA of the same name and another key: the cluster was made anew, or its CA was rotated.
        CertificateError::BadSignature => "was not issued by a CA in ca.crt, but by one of the same name".into(),
        CertificateError::ExpiredContext { not_after, .. } => format!("expired at {}", date(*not_after)),
        CertificateError::NotValidYetContext { not_before, .. } => format!("is not valid before {}", date(*not_before)),
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("names no address at all, and not {}", expected.to_str())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is not for {}, but for {}", expected.to_str(), presented.join(", "))
        }
        CertificateError::Other(OtherError(other)) => format!("is not acceptable: {other}"),
        other => format!("is not acceptable: {other}"),
    }
}

fn date(time: UnixTime) -> String {
    match SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => "a time out of range".into(),
    }
}

fn detailed(code: &str, detail: &str) -> Error {
    Error::InternalError(Some(format!("{code}: {detail}")))
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&e| e.source()).last().map(ToString::to_string).unwrap_or_default()
}
