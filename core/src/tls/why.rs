//! Why TLS or HTTP failed, as a failure with details.

use super::trust::TrustError;
use crate::ConfigError;
use crate::failure::{Code, Failure};
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, OtherError};
use std::error::Error as StdError;
use std::fmt::{Display, Write};
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

/// A response that broke off, or one that is not HTTP.
pub fn of_http(error: &hyper::Error) -> Failure {
    let reset = |e: &io::Error| matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof);
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Failure::new(Code::ConnectionLost, "closed by the server");
    }
    if error.is_parse_too_large() {
        return Failure::new(Code::HeadTooLarge, "");
    }
    match find::<io::Error>(error) {
        Some(io) if reset(io) => Failure::new(Code::ConnectionLost, io.to_string()),
        _ => Failure::new(Code::HttpProtocol, innermost(error)),
    }
}

/// By the names of the cases of `config-error` in `wit/`.
pub fn of_trust(error: &TrustError) -> Failure {
    match error {
        TrustError::File(ConfigError::FileMissing(_)) => Failure::new(Code::CaMissing, ""),
        TrustError::File(ConfigError::FileTooLarge(_)) => Failure::new(Code::CaTooLarge, ""),
        TrustError::File(ConfigError::FileUnreadable { reason, .. }) => Failure::new(Code::CaUnreadable, reason),
        TrustError::File(other) => Failure::new(Code::CaUnreadable, other.to_string()),
        TrustError::Empty => Failure::new(Code::CaEmpty, ""),
        TrustError::NoCertificate | TrustError::Half => Failure::new(Code::NoCertificate, ""),
        TrustError::Tls(error) => Failure::new(Code::Tls, format!("TLS cannot be set up: {error}")),
    }
}

/// A handshake with `server` that failed.
pub fn of_tls(error: &io::Error, server: &dyn Display) -> Failure {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(Code::Certificate, format!("the certificate that {server} presents {}", of_certificate(why)))
        }
        Some(tls) => Failure::new(Code::Tls, tls.to_string()),
        None => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Failure::new(Code::ConnectionLost, "during the TLS handshake")
            }
            _ => Failure::new(Code::Tls, error.to_string()),
        },
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "was not issued by a CA in ca.crt".into(),
        // A CA of the same name and another key: the cluster was made anew, or its CA was rotated.
        CertificateError::BadSignature => "was not issued by a CA in ca.crt, but by one of the same name".into(),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "was not issued by a CA in ca.crt, but by one of the same name with a key of another kind".into()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "is signed by an algorithm that is not known here: ECDSA with P-256 or P-384, RSA with 2048 bits or more, and Ed25519 are"
                .into()
        }
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
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    let mut text = String::new();
    // A time after the year 9999 cannot be written.
    match time.map(|time| write!(text, "{}", humantime::format_rfc3339_seconds(time))) {
        Some(Ok(())) => text,
        _ => "a time out of range".into(),
    }
}

/// The error of this type among the error and its causes.
pub fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&e| e.source()).last().map(ToString::to_string).unwrap_or_default()
}
