//! Failures as they cross the sandbox's boundary.
//!
//! Of the error codes of wasi:http, only `internal-error` has room for a text. Where a code alone does not say enough, the host's text
//! begins with the name of a [`Code`]. Our guest reads it as that code with a detail, and any other guest can still show the text.

use std::fmt::{self, Display};
use std::str::FromStr;

/// The header in which a guest says how many times a call has sent its request. A guest sends it from the second attempt on, and only to a
/// host that has set [`VARIABLE`](crate::limits::VARIABLE). The host removes it.
pub const ATTEMPT_HEADER: &str = "incluster-attempt";

macro_rules! codes {
    ($($(#[$docs:meta])* $code:ident = $name:literal,)*) => {
        /// The kind of a failure. Its `Display` is the name of an error code of wasi:http, or of a case of `error` or `config-error` in
        /// `wit/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$docs])* $code,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$code),*];

            /// The code's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// The host does not permit the request. It was not sent.
    Denied = "HTTP-request-denied",
    /// A limit of the tenant was reached.
    LimitExceeded = "limit-exceeded",
    /// The last token has expired, and there is no newer one.
    TokenExpired = "token-expired",
    /// No token was issued to the tenant.
    TokenNotIssued = "token-not-issued",
    /// There is no ca.crt.
    CaMissing = "file-missing",
    /// ca.crt holds nothing but white space.
    CaEmpty = "file-empty",
    /// ca.crt cannot be read.
    CaUnreadable = "file-unreadable",
    /// ca.crt is too large.
    CaTooLarge = "file-too-large",
    /// ca.crt has no certificate.
    NoCertificate = "no-certificate",
    /// The API server's certificate was not accepted.
    Certificate = "TLS-certificate-error",
    /// The API server's certificate was not accepted, although the host has trusted the server for this tenant before.
    CertificateChanged = "certificate-changed",
    /// The TLS handshake failed for another reason.
    Tls = "TLS-protocol-error",
    /// Connecting failed for a reason that has no code of its own.
    NotConnected = "connection-failed",
    /// The connection was not made in time.
    ConnectionTimeout = "connection-timeout",
    /// The answer paused for too long.
    ReadTimeout = "connection-read-timeout",
    /// The connection broke.
    ConnectionLost = "connection-terminated",
    /// The answer is not HTTP, or cannot be handed to the guest.
    HttpProtocol = "HTTP-protocol-error",
    /// The answer contains the tenant's token, which the guest must not see.
    TokenInAnswer = "token-in-answer",
    /// The answer's head is too large. The text is the limit in bytes, or empty.
    HeadTooLarge = "HTTP-response-header-section-size",
    /// The answer's body is too large. The text is the limit in bytes, or empty.
    BodyTooLarge = "HTTP-response-body-size",
}

impl Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a text that is not the name of a [`Code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Code, UnknownCode> {
        Code::ALL.iter().copied().find(|code| code.name() == name).ok_or(UnknownCode)
    }
}

/// A failure: a code and a text. Its `Display` is both, in the form in which the host passes them on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub code: Code,
    /// Details; may be empty.
    pub text: String,
}

impl Failure {
    /// Makes a failure of this code with this text.
    pub fn new(code: Code, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

impl FromStr for Failure {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Failure, UnknownCode> {
        let (code, text) = text.split_once(": ").ok_or(UnknownCode)?;
        Ok(Failure::new(code.parse()?, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for &code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
            for text in ["", "a: b", "ä"] {
                let failure = Failure::new(code, text);
                assert_eq!(failure.to_string().parse(), Ok(failure));
            }
        }
        for other in ["", "out of memory", "Denied: x", "limit-exceeded", "limit-exceeded:x"] {
            assert_eq!(other.parse::<Failure>(), Err(UnknownCode), "{other}");
        }
    }
}
