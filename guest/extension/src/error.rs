//! Why a call failed.

use crate::types;
use incluster_core::error::{Problem, tried};
use std::fmt;
use std::time::Duration;

/// Why a call failed, and what it was doing.
///
/// `Display` and `Debug` are the same line of text: the operation, the cause, how many times it was tried, and what to check first. The
/// text never contains a token.
pub struct Error(Box<Inner>);

struct Inner {
    doing: String,
    cause: Cause,
}

enum Cause {
    Failure(types::Failure),
    /// An object does not have the type that it is read as, for this reason.
    #[cfg(feature = "serde")]
    Type {
        object: String,
        error: serde_json::Error,
    },
}

impl Error {
    pub(crate) fn failure(doing: impl Into<String>, failure: impl Into<types::Failure>) -> Error {
        Error(Box::new(Inner { doing: doing.into(), cause: Cause::Failure(failure.into()) }))
    }

    #[cfg(feature = "serde")]
    pub(crate) fn object(doing: impl Into<String>, json: &[u8], error: serde_json::Error) -> Error {
        let object = named(json).unwrap_or_else(|| "an object".into());
        Error(Box::new(Inner { doing: doing.into(), cause: Cause::Type { object, error } }))
    }

    fn as_failure(&self) -> Option<&types::Failure> {
        match &self.0.cause {
            Cause::Failure(failure) => Some(failure),
            #[cfg(feature = "serde")]
            Cause::Type { .. } => None,
        }
    }

    /// Whether an object does not have the type that it is read as. A watch goes on after such an object; the page that contains it is
    /// lost.
    pub fn is_unexpected_type(&self) -> bool {
        self.as_failure().is_none()
    }

    /// The contract's error, with one case for each cause; `None` if an object does not have the type that it is read as.
    pub fn kubernetes(&self) -> Option<&types::Error> {
        self.as_failure().map(|failure| &failure.error)
    }

    /// The status code with which the API server answered: 403 if RBAC does not permit the call, 410 if a list or a watch has expired.
    pub fn http_status(&self) -> Option<u16> {
        match self.kubernetes()? {
            types::Error::Api(status) => Some(status.code),
            types::Error::Expired(_) => Some(410),
            _ => None,
        }
    }

    /// Whether the object does not exist: the status 404.
    pub fn is_not_found(&self) -> bool {
        self.http_status() == Some(404)
    }

    /// Whether the API server no longer has what was asked for: list again, or watch again from the beginning.
    pub fn is_expired(&self) -> bool {
        matches!(self.kubernetes(), Some(types::Error::Expired(_)))
    }

    /// Whether the same call may succeed later. The client has retried it already, as its [`RetryPolicy`](crate::RetryPolicy) says.
    pub fn is_retryable(&self) -> bool {
        self.kubernetes().is_some_and(|error| Problem::from(error).is_retryable())
    }

    /// How many times the call was tried: 0 if nothing was sent, or if an object has another type.
    pub fn attempts(&self) -> u32 {
        self.as_failure().map_or(0, |failure| failure.attempts)
    }

    /// How long the call was tried.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.as_failure().map_or(0, |failure| failure.elapsed.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { doing, cause } = &*self.0;
        write!(f, "failed to {}: ", incluster_core::text::one_line(doing))?;
        match cause {
            Cause::Failure(types::Failure { error, attempts, elapsed }) => {
                let problem = Problem::from(error);
                write!(f, "{problem}{}; {}", tried(*attempts, *elapsed), problem.check())
            }
            #[cfg(feature = "serde")]
            Cause::Type { object, error } => write!(
                f,
                "{} is not of the type that it is read as: {}; check the type, and the API version in the path",
                incluster_core::text::one_line(object),
                incluster_core::text::one_line(&error.to_string())
            ),
        }
    }
}

/// `Debug` is the text for people, because a `main` that returns the error prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error has no source, because its text has the whole cause.
impl std::error::Error for Error {}

/// An object's namespace and name.
#[cfg(feature = "serde")]
fn named(json: &[u8]) -> Option<String> {
    let object: serde_json::Value = serde_json::from_slice(json).ok()?;
    let metadata = object.get("metadata")?;
    let name = metadata.get("name")?.as_str()?;
    let namespace = metadata.get("namespace").and_then(serde_json::Value::as_str);
    Some(namespace.map_or_else(|| name.into(), |namespace| format!("{namespace}/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_what_was_done_and_what_to_check() {
        let status = types::Status {
            code: 403,
            reason: Some("Forbidden".into()),
            message: "pods is forbidden".into(),
            details: None,
            retry_after_seconds: None,
        };
        let failure = types::Failure { error: types::Error::Api(status), attempts: 1, elapsed: 20 };
        let error = Error::failure("list pods in namespace shop", failure);
        let text = "failed to list pods in namespace shop: 403 Forbidden: pods is forbidden; \
                    check that a Role with this verb and resource is bound to the service account in this namespace";
        assert_eq!((error.to_string(), format!("{error:?}")), (text.into(), text.into()));
        assert_eq!((error.http_status(), error.attempts(), error.is_retryable()), (Some(403), 1, false));
    }
}
