//! What an error means to the person who has to act on it. The host compiles this file, too, for its own types.

use crate::text::is_control;
use crate::types::{ConfigError, Error, Status, TransportError};

/// What went wrong, in one line of printable text.
pub fn cause(error: &Error) -> String {
    one_line(&match error {
        Error::Api(status) => api(status),
        Error::Config(error) => config(error),
        Error::Transport(error) => transport(error),
        Error::Denied(what) => format!("denied: {what}"),
        Error::InvalidArgument(what) => what.clone(),
        Error::MalformedResponse(what) => format!("the answer is not what the Kubernetes API documents: {what}"),
        Error::LimitExceeded(what) => what.clone(),
    })
}

/// What to check first, without a full stop.
pub fn check(error: &Error) -> &'static str {
    match error {
        Error::Api(status) => match status.code {
            401 => {
                "check that the service account's token is fresh, that its audience is this API server, and that the account exists"
            }
            403 => "check that a Role with this verb and resource is bound to the service account in this namespace",
            404 => "check the path, and that the server knows this API",
            406 => "check what is between here and the API server: it does not speak the Kubernetes API",
            410 => "the resource version or continue token is too old: list again from the beginning",
            429 => "the API server is busy: try again later, with a smaller limit",
            500..=599 => "check the health of the API server, and try again",
            _ => "check the arguments",
        },
        Error::Config(error) => match error {
            ConfigError::EnvironmentMissing(_)
            | ConfigError::EnvironmentEmpty(_)
            | ConfigError::InvalidHost(_)
            | ConfigError::InvalidPort(_) => {
                "check that this runs in a pod, and that the host passes KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT on"
            }
            _ => {
                "check that the pod mounts its service account (automountServiceAccountToken), and that the host preopens its folder"
            }
        },
        Error::Transport(error) => match error {
            TransportError::Certificate(_) => {
                "check that ca.crt is this cluster's, and that the server's certificate names this address"
            }
            TransportError::Tls(_) | TransportError::HttpProtocol(_) => {
                "check that the API server, and not something else, listens there"
            }
            TransportError::Redirected(_) => "check what is between here and the API server: it never redirects",
            _ => "check the API server's address, and the network policies between here and there",
        },
        Error::Denied(_) => "check the host's policy for this component",
        Error::InvalidArgument(_) => "check the arguments",
        Error::MalformedResponse(_) => "check what is between here and the API server",
        Error::LimitExceeded(_) => "ask for less, with limit or a selector, or raise the host's limit",
    }
}

fn api(status: &Status) -> String {
    let reason = status.reason.as_deref().map(|r| format!(" {r}")).unwrap_or_default();
    let message = if status.message.is_empty() { "the answer has no body" } else { &status.message };
    format!("{}{reason}: {message}", status.code)
}

fn config(error: &ConfigError) -> String {
    match error {
        ConfigError::EnvironmentMissing(name) => format!("the environment variable {name} is not set"),
        ConfigError::EnvironmentEmpty(name) => format!("the environment variable {name} is empty"),
        ConfigError::InvalidHost(value) => {
            format!("KUBERNETES_SERVICE_HOST is {value:?}, which is neither an IP address nor a DNS name")
        }
        ConfigError::InvalidPort(value) => format!("KUBERNETES_SERVICE_PORT is {value:?}, which is not a port"),
        ConfigError::FileMissing(path) => format!("there is no file {path}"),
        ConfigError::FileEmpty(path) => format!("the file {path} is empty"),
        ConfigError::FileUnreadable(file) => format!("failed to read {}: {}", file.path, file.reason),
        ConfigError::FileNotText(path) => format!("the file {path} is not UTF-8 text"),
        ConfigError::FileTooLarge(path) => format!("the file {path} has more than 1 MiB"),
        ConfigError::InvalidToken(path) => format!("the file {path} has a character that no bearer token has"),
        ConfigError::NoCertificate(path) => format!("the file {path} has no PEM certificate"),
        ConfigError::TokenExpired(file) => format!("the last token has expired, and there is no other: {}", file.reason),
        ConfigError::InvalidNamespace(path) => format!("the file {path} has no namespace (a DNS-1123 label) in it"),
    }
}

fn transport(error: &TransportError) -> String {
    let (what, detail) = match error {
        TransportError::NameNotResolved(detail) => ("the API server's name has no address", detail),
        TransportError::ConnectionRefused(detail) => ("connection refused", detail),
        TransportError::Unreachable(detail) => ("the API server's address cannot be reached", detail),
        TransportError::Timeout(detail) => ("timed out", detail),
        TransportError::ConnectionLost(detail) => ("the connection broke before the answer was complete", detail),
        TransportError::Certificate(detail) => ("the API server's certificate was not accepted", detail),
        TransportError::Tls(detail) => ("the TLS handshake failed", detail),
        TransportError::HttpProtocol(detail) => ("the answer is not HTTP", detail),
        TransportError::Redirected(detail) => ("refused to follow a redirect", detail),
        TransportError::Other(detail) => ("failed to send the request", detail),
    };
    if detail.is_empty() { what.into() } else { format!("{what}: {detail}") }
}

/// Servers and files can put anything into a text; a terminal must not act on it.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_control(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_line() {
        let error = Error::MalformedResponse("a\nb\x1b[2J\u{85}c\u{202e}d\u{2069}".into());
        assert_eq!(cause(&error), "the answer is not what the Kubernetes API documents: a b [2J c d ");
    }

    #[test]
    fn a_detail_follows_its_cause() {
        let refused = |detail: &str| cause(&Error::Transport(TransportError::ConnectionRefused(detail.into())));
        assert_eq!(refused(""), "connection refused");
        assert_eq!(refused("10.0.0.1:443"), "connection refused: 10.0.0.1:443");
    }
}
