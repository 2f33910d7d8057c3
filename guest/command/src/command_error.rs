//! The message of a failed command, in one line.

use incluster_client::Client;
use incluster_client::request::Request;
use incluster_client::transport::Transport;
use incluster_client::types::{ConfigError, Error, Failure, TransportError};
use incluster_core::error::{Problem, tried};
use incluster_core::text::one_line;
use std::fmt;
use std::io;

/// Why a command failed.
pub enum CommandError {
    /// The configuration could not be loaded.
    Config(ConfigError),
    /// The arguments do not make a request.
    Argument(Error),
    /// The API server did not return what was asked for.
    Request { doing: String, url: String, failure: Failure, check: String },
    /// The output could not be written.
    Output(io::Error),
}

/// Advice for a host that makes the connection and gives no reason for its failure: it is not the incluster host, which gives one.
const NO_CA: &str = "this host trusts its own certificate authorities, not ca.crt: for a server whose certificate the \
                     cluster's CA issued, run incluster-standalone.wasm, or the incluster binary";

impl CommandError {
    /// Makes the error of a failed request. `role` is what is missing after a 403.
    pub fn of_request<T: Transport>(
        client: &Client<T>,
        doing: String,
        request: &Request,
        role: &str,
        failure: Failure,
    ) -> CommandError {
        let check = match &failure.error {
            Error::Api(status) if status.code == 403 => {
                let subject = client.claims().and_then(|claims| claims.sub);
                let subject = subject.as_deref().unwrap_or("this service account");
                format!("bind a {role} to {subject}")
            }
            Error::Api(status) if status.code == 404 && status.details.as_ref().is_some_and(|it| it.name.is_some()) => {
                "check the name, and the namespace".into()
            }
            Error::Transport(TransportError::Tls(reason) | TransportError::Certificate(reason)) if reason.is_empty() => {
                NO_CA.into()
            }
            error => Problem::from(error).check().into(),
        };
        let url = format!("{}{}", client.server(), request.path());
        CommandError::Request { doing, url, failure: Failure { error: client.redact(failure.error), ..failure }, check }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.text()))
    }
}

impl CommandError {
    fn text(&self) -> String {
        match self {
            CommandError::Config(error) => {
                let error = incluster_core::ConfigError::from(error.clone());
                format!("failed to load the in-cluster configuration: {error}; {}", error.check())
            }
            CommandError::Argument(error) => {
                let problem = Problem::from(error);
                format!("{problem}; {}", problem.check())
            }
            CommandError::Request { doing, url, failure: Failure { error, attempts, elapsed }, check } => {
                format!("failed to {doing}: GET {url}: {}{}; {check}", Problem::from(error), tried(*attempts, *elapsed))
            }
            CommandError::Output(error) => format!("failed to write the output: {error}"),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        CommandError::Output(error)
    }
}
