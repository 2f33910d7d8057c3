//! Error texts for people: what went wrong, and what to check first.

use crate::text::one_line;
use std::borrow::Cow;
use std::fmt;

/// What is wrong with a pod's in-cluster configuration: the cases of `config-error` in `wit/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// This environment variable is not set.
    EnvironmentMissing(String),
    /// This environment variable is empty.
    EnvironmentEmpty(String),
    /// This value is neither an IP address nor a DNS name.
    InvalidHost(String),
    /// This value is not a port.
    InvalidPort(String),
    /// There is no file at this path.
    FileMissing(String),
    /// The file at this path holds nothing but white space.
    FileEmpty(String),
    /// The file cannot be read.
    FileUnreadable {
        /// The file's path.
        path: String,
        /// Why the file cannot be read.
        reason: String,
    },
    /// The file at this path is not UTF-8.
    FileNotText(String),
    /// The file at this path is larger than [`MAX_BYTES`](crate::files::MAX_BYTES).
    FileTooLarge(String),
    /// The file at this path has a character that is not allowed in a bearer token.
    InvalidToken(String),
    /// The file at this path has no PEM certificate.
    NoCertificate(String),
    /// The text of the file at this path is not a namespace's name.
    InvalidNamespace(String),
    /// The token that was read last has expired.
    TokenExpired {
        /// The path of the file that has no newer token.
        path: String,
        /// Why that file has no newer token.
        reason: String,
    },
    /// Any other problem, in words.
    Other(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::EnvironmentMissing(name) => write!(f, "the environment variable {name} is not set"),
            ConfigError::EnvironmentEmpty(name) => write!(f, "the environment variable {name} is empty"),
            ConfigError::InvalidHost(value) => {
                write!(f, "KUBERNETES_SERVICE_HOST is {value:?}, which is neither an IP address nor a DNS name")
            }
            ConfigError::InvalidPort(value) => write!(f, "KUBERNETES_SERVICE_PORT is {value:?}, which is not a port"),
            ConfigError::FileMissing(path) => write!(f, "there is no file {path}"),
            ConfigError::FileEmpty(path) => write!(f, "the file {path} is empty"),
            ConfigError::FileUnreadable { path, reason } => write!(f, "failed to read {path}: {reason}"),
            ConfigError::FileNotText(path) => write!(f, "the file {path} is not UTF-8 text"),
            ConfigError::FileTooLarge(path) => write!(f, "the file {path} is larger than 1 MiB"),
            ConfigError::InvalidToken(path) => write!(f, "the file {path} has a character not allowed in a token"),
            ConfigError::NoCertificate(path) => write!(f, "the file {path} has no PEM certificate"),
            ConfigError::TokenExpired { path, reason } => {
                write!(f, "the last token has expired, and {path} has no newer one: {reason}")
            }
            ConfigError::Other(what) => f.write_str(what),
            ConfigError::InvalidNamespace(path) => write!(f, "the file {path} has no namespace (a DNS-1123 label) in it"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// What to check first, without a full stop.
    pub fn check(&self) -> &'static str {
        match self {
            ConfigError::EnvironmentMissing(_)
            | ConfigError::EnvironmentEmpty(_)
            | ConfigError::InvalidHost(_)
            | ConfigError::InvalidPort(_) => {
                "check that this runs in a pod, and that the host passes KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT on"
            }
            ConfigError::FileUnreadable { .. } => {
                "check the file's owner and mode, and the pod's runAsUser: where a pod does not run as root, fsGroup lets it read its token"
            }
            ConfigError::FileEmpty(_)
            | ConfigError::FileNotText(_)
            | ConfigError::FileTooLarge(_)
            | ConfigError::InvalidToken(_)
            | ConfigError::NoCertificate(_)
            | ConfigError::InvalidNamespace(_) => {
                "check what writes the file: ca.crt is PEM text without a byte order mark, token is the bare token, and namespace is one name"
            }
            ConfigError::FileMissing(_) | ConfigError::TokenExpired { .. } | ConfigError::Other(_) => {
                "check that the pod mounts its service account (automountServiceAccountToken), and that the host preopens its folder"
            }
        }
    }
}

/// Why no answer came from the API server: the cases of `transport-error` in `wit/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The API server's name has no address.
    NameNotResolved,
    /// Nothing listens at the API server's address.
    ConnectionRefused,
    /// The API server's address cannot be reached.
    Unreachable,
    /// A deadline passed.
    Timeout,
    /// The connection broke.
    ConnectionLost,
    /// The API server's certificate was not accepted.
    Certificate,
    /// The TLS handshake failed for another reason.
    Tls,
    /// The answer is not HTTP.
    HttpProtocol,
    /// The answer is a redirect.
    Redirected,
    /// Anything else.
    Other,
}

impl Transport {
    fn text(self) -> &'static str {
        match self {
            Transport::NameNotResolved => "the API server's name has no address",
            Transport::ConnectionRefused => "connection refused",
            Transport::Unreachable => "the API server's address cannot be reached",
            Transport::Timeout => "timed out",
            Transport::ConnectionLost => "the connection broke before the answer was complete",
            Transport::Certificate => "the API server's certificate was not accepted",
            Transport::Tls => "the TLS handshake failed",
            Transport::HttpProtocol => "the answer is not HTTP",
            Transport::Redirected => "refused to follow a redirect",
            Transport::Other => "failed to send the request",
        }
    }

    fn check(self) -> &'static str {
        match self {
            Transport::Certificate => {
                "check that ca.crt is this cluster's and has not expired, that the server's certificate names this address, and this machine's clock"
            }
            Transport::Tls | Transport::HttpProtocol => "check that the API server, and not something else, listens there",
            Transport::Redirected => "check what is between here and the API server: the API server itself never redirects",
            Transport::NameNotResolved
            | Transport::ConnectionRefused
            | Transport::Unreachable
            | Transport::Timeout
            | Transport::ConnectionLost
            | Transport::Other => "check the API server's address, and the network policies between here and there",
        }
    }
}

/// Why a call failed: the cases of `error` in `wit/`, with what their texts need. Its `Display` is one line of printable text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem<'a> {
    /// The API server answered with a failure.
    Api {
        /// The HTTP status code.
        code: u16,
        /// The cause in one word.
        reason: Option<&'a str>,
        /// The cause, for people to read.
        message: &'a str,
    },
    /// The API server no longer has what was asked for. The text is its message.
    Expired(&'a str),
    /// The configuration could not be used.
    Config(ConfigError),
    /// No answer came: the reason, and details, which may be empty.
    Transport(Transport, &'a str),
    /// The host does not permit the request.
    Denied(&'a str),
    /// An argument cannot be sent.
    InvalidArgument(&'a str),
    /// The answer is not what the Kubernetes API documents.
    MalformedResponse(&'a str),
    /// The answer exceeds a limit.
    LimitExceeded(&'a str),
    /// Any other problem, in words.
    Other(&'a str),
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.text()))
    }
}

impl Problem<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Problem::Api { code, reason, message } => {
                let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
                let message = if message.is_empty() { "the answer has no body" } else { message };
                format!("{code}{reason}: {message}").into()
            }
            Problem::Expired(message) => format!("410: {message}").into(),
            Problem::Config(error) => error.to_string().into(),
            Problem::Transport(why, "") => why.text().into(),
            Problem::Transport(why, detail) => format!("{}: {detail}", why.text()).into(),
            Problem::Denied(what) => format!("denied: {what}").into(),
            Problem::MalformedResponse(what) => format!("the answer is not what the Kubernetes API documents: {what}").into(),
            Problem::InvalidArgument(what) | Problem::LimitExceeded(what) | Problem::Other(what) => Cow::Borrowed(what),
        }
    }

    /// Whether the same call may succeed a bit later: the API server was busy, or could not be reached.
    pub fn is_retryable(&self) -> bool {
        match self {
            Problem::Api { code, .. } => matches!(code, 429 | 500 | 502 | 503 | 504),
            Problem::Transport(why, _) => matches!(
                why,
                Transport::NameNotResolved
                    | Transport::ConnectionRefused
                    | Transport::Unreachable
                    | Transport::Timeout
                    | Transport::ConnectionLost
            ),
            _ => false,
        }
    }

    /// What to check first, without a full stop.
    pub fn check(&self) -> &'static str {
        match self {
            Problem::Api { code, .. } => match code {
                401 => {
                    "check that the service account's token is fresh, that its audience is this API server, and that the account exists; if it was deleted and recreated, delete the pod: the kubelet keeps the old account's token until the pod is recreated"
                }
                403 => "check that a Role with this verb and resource is bound to the service account in this namespace",
                404 => "check the path, and that the server knows this API",
                406 => "check what is between here and the API server: something there does not speak the Kubernetes API",
                429 => "the API server is busy: try again later, with a smaller limit",
                500..=599 => "check the health of the API server, and try again",
                _ => "check the arguments",
            },
            Problem::Expired(_) => "the resource version or continue token is too old: list again from the beginning",
            Problem::Config(error) => error.check(),
            Problem::Transport(why, _) => why.check(),
            Problem::Denied(_) => "check the policy of this component's tenant (incluster run: --policy FILE)",
            Problem::InvalidArgument(_) => "check the arguments",
            Problem::Other(_) => "look at what the host logged at that time",
            Problem::MalformedResponse(_) => "check what is between here and the API server",
            Problem::LimitExceeded(_) => "ask for less (with limit or a selector) or less often, or raise the host's limit",
        }
    }
}

/// The end of a problem's text that says how many attempts failed, and in what time. It is empty after a single attempt.
pub fn tried(attempts: u32, elapsed_milliseconds: u32) -> impl fmt::Display {
    fmt::from_fn(move |f| match attempts {
        0 | 1 => Ok(()),
        _ => {
            let (seconds, tenths) = (elapsed_milliseconds / 1000, elapsed_milliseconds % 1000 / 100);
            write!(f, "; tried {attempts} times in {seconds}.{tenths} s")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_line() {
        let problem = Problem::MalformedResponse("a\nb\x1b[2J\u{85}c\u{202e}d\u{2069}");
        assert_eq!(problem.to_string(), "the answer is not what the Kubernetes API documents: a b [2J c d ");
    }

    #[test]
    fn a_detail_follows_its_cause() {
        let refused = |detail| Problem::Transport(Transport::ConnectionRefused, detail).to_string();
        assert_eq!(refused(""), "connection refused");
        assert_eq!(refused("10.0.0.1:443"), "connection refused: 10.0.0.1:443");
    }

    #[test]
    fn what_was_tried_again_says_how_often_and_how_long() {
        assert_eq!(tried(6, 3270).to_string(), "; tried 6 times in 3.2 s");
        assert_eq!(tried(1, 3270).to_string(), "");
    }

    /// The kubelet keeps the token of an account that was deleted, and nothing in the pod shows it.
    #[test]
    fn a_recreated_account_is_named_as_a_cause_of_401() {
        let check = Problem::Api { code: 401, reason: Some("Unauthorized"), message: "Unauthorized" }.check();
        assert!(check.contains("if it was deleted and recreated, delete the pod"), "{check}");
    }
}
