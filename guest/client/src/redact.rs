//! Cleans texts from a server, or from a proxy in front of it: a body, a reason, a redirect.

use crate::types::{ConfigError, Error, Status, TransportError};
use incluster_core::secrets::Secrets;

/// Returns the error with `(redacted)` for every token in its texts, without control characters, and cut.
pub fn redact(secrets: &Secrets, mut error: Error) -> Error {
    let say = |text: &mut String| *text = secrets.text(text);
    match &mut error {
        Error::Api(status) => texts(status).for_each(say),
        Error::Expired(expired) => {
            say(&mut expired.message);
            // The continue token is sent again, so nothing else in it is changed.
            expired.continue_token.iter_mut().for_each(|token| secrets.redact(token));
        }
        Error::Config(error) => match error {
            ConfigError::FileUnreadable(file) | ConfigError::TokenExpired(file) => say(&mut file.reason),
            ConfigError::EnvironmentMissing(text)
            | ConfigError::EnvironmentEmpty(text)
            | ConfigError::InvalidHost(text)
            | ConfigError::InvalidPort(text)
            | ConfigError::FileMissing(text)
            | ConfigError::FileEmpty(text)
            | ConfigError::FileNotText(text)
            | ConfigError::FileTooLarge(text)
            | ConfigError::InvalidToken(text)
            | ConfigError::NoCertificate(text)
            | ConfigError::InvalidNamespace(text)
            | ConfigError::Other(text) => say(text),
        },
        Error::Transport(error) => say(detail(error)),
        Error::Denied(text)
        | Error::InvalidArgument(text)
        | Error::MalformedResponse(text)
        | Error::LimitExceeded(text)
        | Error::Other(text) => say(text),
    }
    error
}

/// The text of a transport error.
fn detail(error: &mut TransportError) -> &mut String {
    match error {
        TransportError::NameNotResolved(text)
        | TransportError::ConnectionRefused(text)
        | TransportError::Unreachable(text)
        | TransportError::Timeout(text)
        | TransportError::ConnectionLost(text)
        | TransportError::Certificate(text)
        | TransportError::Tls(text)
        | TransportError::HttpProtocol(text)
        | TransportError::Redirected(text)
        | TransportError::Other(text) => text,
    }
}

fn texts(status: &mut Status) -> impl Iterator<Item = &mut String> {
    let details = status.details.iter_mut().flat_map(|details| {
        let causes = details.causes.iter_mut().flat_map(|cause| [&mut cause.reason, &mut cause.message, &mut cause.field]);
        [&mut details.name, &mut details.group, &mut details.kind, &mut details.uid].into_iter().chain(causes).flatten()
    });
    std::iter::once(&mut status.message).chain(&mut status.reason).chain(details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Expired, StatusCause, StatusDetails};
    use std::time::SystemTime;

    fn secrets() -> Secrets {
        let secrets = Secrets::default();
        secrets.add(b"s3cr3t", SystemTime::UNIX_EPOCH);
        secrets
    }

    #[test]
    fn no_text_of_a_status_keeps_the_token() {
        let text = || Some("you sent Bearer s3cr3t, s3cr3t".to_string());
        let error = Error::Api(Status {
            code: 403,
            reason: text(),
            message: text().unwrap(),
            details: Some(StatusDetails {
                name: text(),
                group: text(),
                kind: text(),
                uid: text(),
                causes: vec![StatusCause { reason: text(), message: text(), field: text() }],
            }),
            retry_after_seconds: None,
        });
        let expired = Error::Expired(Expired { message: text().unwrap(), continue_token: text() });
        let redacted = [error, expired].map(|error| format!("{:?}", redact(&secrets(), error))).concat();
        assert!(!redacted.contains("s3cr3t"), "{redacted}");
        assert_eq!(redacted.matches("Bearer (redacted), (redacted)").count(), 11);
    }

    #[test]
    fn other_texts_too() {
        for error in [
            Error::Transport(TransportError::Redirected("302 to https://evil/?t=s3cr3t".into())),
            Error::MalformedResponse("content-type \"s3cr3t\"".into()),
        ] {
            assert!(!format!("{:?}", redact(&secrets(), error)).contains("s3cr3t"));
        }
    }
}
