//! The transport to the API server: the only part of the client that knows how bytes come and go.

use crate::machine::Sending;
use crate::response::Head;
use crate::system::Waits;
use crate::types::{Error, TransportError};
use incluster_core::failure::{Code, Failure};
use incluster_core::files::{self, mounted};
use incluster_core::limits::RequestLimits;
use incluster_core::{ConfigError, Server};
use std::time::Instant;

/// Sends requests to one API server.
pub trait Transport: Sized + 'static {
    /// An answer's body, to be read as it arrives.
    type Body: Body;

    /// Makes a transport to this server, for calls with these limits. `counts_attempts` means that the limits come from a host, which
    /// then counts attempts, too.
    fn to(server: &Server, limits: RequestLimits, counts_attempts: bool) -> Self;

    /// Says that somebody looks at [`Head::warnings`] from now on. They may be left out otherwise.
    fn wants_warnings(&mut self) {}

    /// Sends a GET request with its token, and waits for the answer's head.
    fn send(&self, sending: &Sending, waits: &Waits) -> impl Future<Output = Result<(Head, Self::Body), Stopped>>;
}

/// An answer's body.
pub trait Body: 'static {
    /// A piece of a body.
    type Chunk: AsRef<[u8]>;

    /// Returns the next piece, which is not empty; `None` at the end.
    fn chunk(&mut self, until: Instant, waits: &Waits) -> impl Future<Output = Result<Option<Self::Chunk>, Stopped>>;
}

/// Why nothing came.
#[derive(Debug)]
pub enum Stopped {
    /// The time is over.
    TimeOver,
    /// The request or the body failed.
    Failed(Error),
    /// The server's certificate is not trusted, although the keeper of the connections has trusted the server before.
    NotTrustedAnyMore(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped::Failed(error)
    }
}

/// The client's name in the header `User-Agent`.
pub const USER_AGENT: &str = concat!("incluster/", env!("CARGO_PKG_VERSION"));

/// How much is read at once. Large reads cross the sandbox's boundary less often.
pub const CHUNK_BYTES: u64 = 256 << 10;

/// Makes a failure that has no case of its own.
pub fn other(what: &str) -> Error {
    Error::Transport(TransportError::Other(what.into()))
}

/// Converts a failure with details.
pub fn failed(Failure { code, text }: Failure) -> Error {
    let ca = || mounted(files::CA);
    Error::Transport(match code {
        Code::Denied => return Error::Denied(text),
        Code::LimitExceeded => return Error::LimitExceeded(text),
        Code::TokenInAnswer => return Error::MalformedResponse(text),
        Code::HeadTooLarge => return too_large("the header section", text.parse().ok()),
        Code::BodyTooLarge => return too_large("the body", text.parse().ok()),
        Code::TokenExpired => return config(ConfigError::TokenExpired { path: mounted(files::TOKEN), reason: text }),
        Code::CaMissing => return config(ConfigError::FileMissing(ca())),
        Code::CaEmpty => return config(ConfigError::FileEmpty(ca())),
        Code::CaUnreadable => return config(ConfigError::FileUnreadable { path: ca(), reason: text }),
        Code::CaTooLarge => return config(ConfigError::FileTooLarge(ca())),
        Code::NoCertificate => return config(ConfigError::NoCertificate(ca())),
        Code::TokenNotIssued => TransportError::Other(text),
        Code::Certificate | Code::CertificateChanged => TransportError::Certificate(text),
        Code::Tls => TransportError::Tls(text),
        Code::NotConnected => TransportError::Unreachable(text),
        Code::ConnectionTimeout | Code::ReadTimeout => TransportError::Timeout(text),
        Code::ConnectionLost => TransportError::ConnectionLost(text),
        Code::HttpProtocol => TransportError::HttpProtocol(text),
    })
}

fn config(error: ConfigError) -> Error {
    Error::Config(error.into())
}

/// Makes the error that a part of the answer has more than `limit` bytes.
pub fn too_large(what: &str, limit: Option<u64>) -> Error {
    Error::LimitExceeded(match limit {
        Some(limit) => format!("{what} of the answer exceeds the limit of {limit} bytes"),
        None => format!("{what} of the answer exceeds the limit"),
    })
}
