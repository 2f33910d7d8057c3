//! Shared implementations for both sides' bindings of `wit/types.wit`.

/// Implements defaults for the records and variants of `wit/types.wit`, and conversions between them and this crate's types. A module
/// `types` with the bindings must be in scope: guests and the host each generate their own.
#[macro_export]
macro_rules! records {
    () => {
        impl types::ListOptions {
            /// All objects, as of now.
            pub const ALL: types::ListOptions = types::ListOptions {
                label_selector: None,
                field_selector: None,
                limit: None,
                continue_token: None,
                resource_version: None,
                resource_version_match: None,
                timeout_seconds: None,
            };
        }

        impl Default for types::ListOptions {
            fn default() -> Self {
                types::ListOptions::ALL
            }
        }

        impl types::PagingOptions {
            /// The safe choice: a list that expires part-way is not silently replaced by a newer one.
            pub const DEFAULT: types::PagingOptions = types::PagingOptions { on_expired: None, max_pages: None };
        }

        impl Default for types::PagingOptions {
            fn default() -> Self {
                types::PagingOptions::DEFAULT
            }
        }

        impl types::WatchOptions {
            /// All pods, the existing ones first, without end.
            pub const ALL: types::WatchOptions =
                types::WatchOptions { label_selector: None, field_selector: None, resource_version: None, timeout_seconds: None };
        }

        impl Default for types::WatchOptions {
            fn default() -> Self {
                types::WatchOptions::ALL
            }
        }

        impl types::RetryPolicy {
            /// As many attempts as there is time for, which rides out the restart of an API server.
            pub const DEFAULT: types::RetryPolicy =
                types::RetryPolicy { attempts: None, deadline: $crate::limits::DEADLINE_MILLISECONDS };

            /// One attempt, for callers that retry by themselves.
            pub const NEVER: types::RetryPolicy = types::RetryPolicy { attempts: Some(1), ..types::RetryPolicy::DEFAULT };
        }

        impl Default for types::RetryPolicy {
            fn default() -> Self {
                types::RetryPolicy::DEFAULT
            }
        }

        impl From<$crate::ConfigError> for types::ConfigError {
            fn from(error: $crate::ConfigError) -> Self {
                use types::{ConfigError as Record, UnreadableFile};
                use $crate::ConfigError as Is;
                match error {
                    Is::EnvironmentMissing(name) => Record::EnvironmentMissing(name),
                    Is::EnvironmentEmpty(name) => Record::EnvironmentEmpty(name),
                    Is::InvalidHost(value) => Record::InvalidHost(value),
                    Is::InvalidPort(value) => Record::InvalidPort(value),
                    Is::FileMissing(path) => Record::FileMissing(path),
                    Is::FileEmpty(path) => Record::FileEmpty(path),
                    Is::FileUnreadable { path, reason } => Record::FileUnreadable(UnreadableFile { path, reason }),
                    Is::FileNotText(path) => Record::FileNotText(path),
                    Is::FileTooLarge(path) => Record::FileTooLarge(path),
                    Is::InvalidToken(path) => Record::InvalidToken(path),
                    Is::NoCertificate(path) => Record::NoCertificate(path),
                    Is::InvalidNamespace(path) => Record::InvalidNamespace(path),
                    Is::TokenExpired { path, reason } => Record::TokenExpired(UnreadableFile { path, reason }),
                    Is::Other(what) => Record::Other(what),
                }
            }
        }

        impl From<types::ConfigError> for $crate::ConfigError {
            fn from(error: types::ConfigError) -> Self {
                use types::{ConfigError as Record, UnreadableFile};
                use $crate::ConfigError as Is;
                match error {
                    Record::EnvironmentMissing(name) => Is::EnvironmentMissing(name),
                    Record::EnvironmentEmpty(name) => Is::EnvironmentEmpty(name),
                    Record::InvalidHost(value) => Is::InvalidHost(value),
                    Record::InvalidPort(value) => Is::InvalidPort(value),
                    Record::FileMissing(path) => Is::FileMissing(path),
                    Record::FileEmpty(path) => Is::FileEmpty(path),
                    Record::FileUnreadable(UnreadableFile { path, reason }) => Is::FileUnreadable { path, reason },
                    Record::FileNotText(path) => Is::FileNotText(path),
                    Record::FileTooLarge(path) => Is::FileTooLarge(path),
                    Record::InvalidToken(path) => Is::InvalidToken(path),
                    Record::NoCertificate(path) => Is::NoCertificate(path),
                    Record::InvalidNamespace(path) => Is::InvalidNamespace(path),
                    Record::TokenExpired(UnreadableFile { path, reason }) => Is::TokenExpired { path, reason },
                    Record::Other(what) => Is::Other(what),
                }
            }
        }

        /// Makes the failure for an error that came before any attempt.
        impl From<types::Error> for types::Failure {
            fn from(error: types::Error) -> Self {
                types::Failure { error, attempts: 0, elapsed: 0 }
            }
        }

        impl<'a> From<&'a types::Error> for $crate::error::Problem<'a> {
            fn from(error: &'a types::Error) -> Self {
                use types::{Error, TransportError};
                use $crate::error::{Problem, Transport};
                match error {
                    Error::Api(status) => {
                        Problem::Api { code: status.code, reason: status.reason.as_deref(), message: &status.message }
                    }
                    Error::Expired(expired) => Problem::Expired(&expired.message),
                    Error::Config(error) => Problem::Config(error.clone().into()),
                    Error::Transport(error) => match error {
                        TransportError::NameNotResolved(detail) => Problem::Transport(Transport::NameNotResolved, detail),
                        TransportError::ConnectionRefused(detail) => Problem::Transport(Transport::ConnectionRefused, detail),
                        TransportError::Unreachable(detail) => Problem::Transport(Transport::Unreachable, detail),
                        TransportError::Timeout(detail) => Problem::Transport(Transport::Timeout, detail),
                        TransportError::ConnectionLost(detail) => Problem::Transport(Transport::ConnectionLost, detail),
                        TransportError::Certificate(detail) => Problem::Transport(Transport::Certificate, detail),
                        TransportError::Tls(detail) => Problem::Transport(Transport::Tls, detail),
                        TransportError::HttpProtocol(detail) => Problem::Transport(Transport::HttpProtocol, detail),
                        TransportError::Redirected(detail) => Problem::Transport(Transport::Redirected, detail),
                        TransportError::Other(detail) => Problem::Transport(Transport::Other, detail),
                    },
                    Error::Denied(what) => Problem::Denied(what),
                    Error::InvalidArgument(what) => Problem::InvalidArgument(what),
                    Error::MalformedResponse(what) => Problem::MalformedResponse(what),
                    Error::LimitExceeded(what) => Problem::LimitExceeded(what),
                    Error::Other(what) => Problem::Other(what),
                }
            }
        }
    };
}
