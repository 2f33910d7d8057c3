//! Explains failures of TLS and HTTP as failures with details.

use super::trust::TrustError;
use super::verifier::Untrusted;
use crate::ConfigError;
use crate::failure::{Code, Failure};
use rustls::pki_types::{AlgorithmIdentifier, UnixTime, alg_id};
use rustls::{AlertDescription, CertificateError, OtherError};
use std::error::Error as StdError;
use std::fmt::{Display, Write};
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

/// Explains a response that broke off, or one that is not HTTP.
pub fn of_http(error: &hyper::Error) -> Failure {
    let io = find::<io::Error>(error);
    // Alerts are checked first, because a request that waits for its answer may see an alert only as its own cancellation.
    if let Some(alert) = io.and_then(of_alert) {
        return alert;
    }
    if is_torn(error) {
        return Failure::new(Code::ConnectionLost, "closed by the server");
    }
    if error.is_parse_too_large() {
        return Failure::new(Code::HeadTooLarge, "");
    }
    match io {
        Some(io) if is_lost(io) => Failure::new(Code::ConnectionLost, io.to_string()),
        _ => Failure::new(Code::HttpProtocol, innermost(error)),
    }
}

/// Whether the connection itself failed, not what came over it: any error of the operating system, or the connection's end.
fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
        || matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
        )
}

/// Whether the connection ended before the answer was complete, or before there was room on it for the request. hyper reports the latter as
/// a user error; this crate causes no other user errors.
pub fn is_torn(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || error.is_user()
}

/// Explains a connection that the server ended by an alert (RFC 8446, section 6.2); `None` for anything else. With TLS 1.3, a client has
/// finished its part of the handshake, and sent its request, before the server notices that it got no certificate.
pub fn of_alert(error: &io::Error) -> Option<Failure> {
    match rustls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => Some(Failure::new(Code::Tls, said(*alert))),
        _ => None,
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|e| e.downcast_ref())
}

/// Explains what an alert from the server means to a client that presents no certificate.
fn said(alert: AlertDescription) -> String {
    match alert {
        // The first alert is TLS 1.3's. A server can complain about a client's certificate only where it wants one.
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate => format!(
            "the server wants a client certificate, and a service account has only a token: is this the API server, or etcd, or a proxy? (alert {alert:?})"
        ),
        AlertDescription::HandshakeFailure => format!(
            "the server ended it: it has no algorithm in common with this client, or wants a client certificate, which a service account does not have (alert {alert:?})"
        ),
        AlertDescription::ProtocolVersion => {
            format!("the server ended it: it knows neither TLS 1.2 nor TLS 1.3 (alert {alert:?})")
        }
        alert => format!("the server ended it by the alert {alert:?}"),
    }
}

/// Explains why ca.crt cannot be used, with the names of the cases of `config-error` in `wit/`.
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

/// Explains a failed handshake with `server`.
pub fn of_tls(error: &io::Error, server: &dyn Display) -> Failure {
    if let Some(alert) = of_alert(error) {
        return alert;
    }
    match rustls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(Code::Certificate, format!("the certificate that {server} presents {}", of_certificate(why)))
        }
        Some(tls) => Failure::new(Code::Tls, tls.to_string()),
        None if is_lost(error) => Failure::new(Code::ConnectionLost, "during the TLS handshake"),
        None => Failure::new(Code::Tls, error.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "was not issued by a CA in ca.crt".into(),
        // The CA has the same name and another key: the cluster was recreated, or its CA was rotated.
        CertificateError::BadSignature => "was not issued by a CA in ca.crt, but by one of the same name".into(),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { public_key_algorithm_id: key, .. } => {
            match KEYS.iter().any(|known| known.as_ref() == key) {
                true => "was not issued by a CA in ca.crt, but by one of the same name with a key of another kind".into(),
                false => format!("has an issuer whose key is of an unsupported kind: {}. {KNOWN}", algorithm(key)),
            }
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: signature, .. } => {
            format!("is signed, or its issuer is, by an unsupported algorithm: {}. {KNOWN}", algorithm(signature))
        }
        CertificateError::ExpiredContext { not_after, time } => {
            format!("expired at {}, and this machine's clock says {}", date(*not_after), date(*time))
        }
        CertificateError::NotValidYetContext { not_before, time } => {
            format!("is not valid before {}, and this machine's clock says {}", date(*not_before), date(*time))
        }
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("names no address, so it is not for {}", expected.to_str())
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is not for {}, but for {}", expected.to_str(), presented.join(", "))
        }
        CertificateError::Other(OtherError(other)) if let Some(why) = other.downcast_ref::<Untrusted>() => why.to_string(),
        CertificateError::Other(OtherError(other)) => format!("is not acceptable: {other}"),
        other => format!("is not acceptable: {other}"),
    }
}

/// The algorithms that ring verifies.
const KNOWN: &str =
    "Supported: ECDSA by P-256 and P-384 with SHA-256 and SHA-384, RSA of 2048 bits or more with SHA-256 to SHA-512, and Ed25519";

const KEYS: [AlgorithmIdentifier; 4] = [alg_id::ECDSA_P256, alg_id::ECDSA_P384, alg_id::RSA_ENCRYPTION, alg_id::ED25519];

// RFC 3279, sections 2.2.1 and 2.2.3.
const RSA_SHA1: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5, 5, 0]);
const ECDSA_SHA1: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]);

/// The name of a signature's or a key's algorithm.
fn algorithm(id: &[u8]) -> &'static str {
    let names = [
        (alg_id::ECDSA_SHA256, "ECDSA with SHA-256"),
        (alg_id::ECDSA_SHA384, "ECDSA with SHA-384"),
        (alg_id::ECDSA_SHA512, "ECDSA with SHA-512"),
        (alg_id::ECDSA_P521, "ECDSA by P-521"),
        (alg_id::ECDSA_P256K1, "ECDSA by secp256k1"),
        (alg_id::ED448, "Ed448"),
        (RSA_SHA1, "RSA with SHA-1"),
        (ECDSA_SHA1, "ECDSA with SHA-1"),
    ];
    names.into_iter().find(|(named, _)| named.as_ref() == id).map_or("an algorithm that has no name here", |(_, name)| name)
}

pub(super) fn date(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    let mut text = String::new();
    // A time after the year 9999 cannot be written.
    match time.map(|time| write!(text, "{}", humantime::format_rfc3339_seconds(time))) {
        Some(Ok(())) => text,
        _ => "a time out of range".into(),
    }
}

/// Finds the error of this type among the error and its causes.
pub fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&e| e.source()).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_rustls(error: rustls::Error) -> Failure {
        of_tls(&io::Error::new(ErrorKind::InvalidData, error), &"https://10.0.0.1:443")
    }

    #[test]
    fn an_alert_says_what_the_server_may_want() {
        let says = |alert, what: &str| {
            let failure = of_rustls(rustls::Error::AlertReceived(alert));
            assert_eq!(failure.code, Code::Tls);
            assert!(failure.text.contains(what) && failure.text.contains(&format!("{alert:?}")), "{}", failure.text);
        };
        says(AlertDescription::CertificateRequired, "the server wants a client certificate");
        says(AlertDescription::BadCertificate, "the server wants a client certificate");
        says(AlertDescription::HandshakeFailure, "or wants a client certificate");
        says(AlertDescription::ProtocolVersion, "neither TLS 1.2 nor TLS 1.3");
        says(AlertDescription::InternalError, "the server ended it");
        assert_eq!(of_alert(&io::Error::from(ErrorKind::ConnectionReset)), None);
        assert_eq!(of_alert(&io::Error::new(ErrorKind::InvalidData, rustls::Error::DecryptError)), None);
    }

    /// For example a firewall that forgets a connection, a network that goes away, or a plug-in of the cluster's network that ends its
    /// sockets.
    #[test]
    fn any_error_of_the_operating_system_means_a_lost_connection() {
        // ETIMEDOUT, ECONNABORTED, EHOSTUNREACH, ENETDOWN, EPIPE, EIO, on Linux.
        let errors = [110, 103, 113, 100, 32, 5].map(io::Error::from_raw_os_error);
        for error in errors.into_iter().chain([ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].map(io::Error::from)) {
            assert!(is_lost(&error), "{error}");
            assert_eq!(of_tls(&error, &"https://10.0.0.1:443").code, Code::ConnectionLost, "{error}");
        }
        assert!(!is_lost(&io::Error::new(ErrorKind::InvalidData, "garbage")));
    }

    #[test]
    fn an_algorithm_that_is_not_known_is_named() {
        let signature = |id: &[u8]| CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id.to_vec(),
            supported_algorithms: Vec::new(),
        };
        let key = |id: AlgorithmIdentifier| CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: alg_id::ECDSA_SHA256.to_vec(),
            public_key_algorithm_id: id.to_vec(),
        };
        for (error, what) in [
            (signature(&alg_id::ECDSA_SHA512), "ECDSA with SHA-512. Supported:"),
            (signature(&RSA_SHA1), "RSA with SHA-1. Supported:"),
            (signature(&[6, 200]), "an algorithm that has no name here"),
            (key(alg_id::ECDSA_P521), "ECDSA by P-521. Supported:"),
            (key(alg_id::RSA_ENCRYPTION), "by one of the same name with a key of another kind"),
        ] {
            let failure = of_rustls(error.into());
            assert!(failure.code == Code::Certificate && failure.text.contains(what), "{what}: {}", failure.text);
        }
    }
}
