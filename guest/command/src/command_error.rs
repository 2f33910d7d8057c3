//! What a failed command says, in one line.

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
    /// Nothing could be asked for.
    Argument(Error),
    /// The API server did not give what was asked for.
    Request { doing: String, url: String, failure: Failure, check: String },
    /// The output could not be written.
    Output(io::Error),
}

/// The host makes the connection, and gives no reason: so it is not the incluster host, which does.
const NO_CA: &str = "this host trusts certificate authorities of its own, and not ca.crt: for a server whose certificate the \
                     cluster's CA issued, run incluster-standalone.wasm, or the incluster binary";

impl CommandError {
    /// A request's failure. `permission` is what a 403 says is missing.
    pub fn of_request<T: Transport>(
        client: &Client<T>,
        doing: String,
        request: &Request,
        permission: &str,
        failure: Failure,
    ) -> CommandError {
        let check = match &failure.error {
            Error::Api(status) if status.code == 403 => {
                let subject = client.claims().and_then(|claims| claims.sub);
                let subject = subject.as_deref().unwrap_or("this service account");
                format!("bind a Role that allows {permission} to {subject}")
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
