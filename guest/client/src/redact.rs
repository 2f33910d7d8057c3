//! Takes the token out of errors. A server, or a proxy, may send back what it was sent: in a body, a reason, a redirect.

use crate::types::{ConfigError, Error, Status, TransportError};
use incluster_core::Token;

/// The error, with `(redacted)` for every token in its texts.
pub fn redact(token: &Token, mut error: Error) -> Error {
    let mut take_out = |text: &mut String| token.take_out_of(text);
    match &mut error {
        Error::Api(status) => texts(status).for_each(&mut take_out),
        Error::Config(error) => match error {
            ConfigError::FileUnreadable(file) | ConfigError::TokenExpired(file) => take_out(&mut file.reason),
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
            | ConfigError::InvalidNamespace(text) => take_out(text),
        },
        Error::Transport(error) => take_out(detail(error)),
        Error::Denied(text) | Error::InvalidArgument(text) | Error::MalformedResponse(text) | Error::LimitExceeded(text) => {
            take_out(text)
        }
    }
    error
}

/// The text of a transport error.
pub fn detail(error: &mut TransportError) -> &mut String {
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
    std::iter::once(&mut status.message).chain(&mut status.reason).chain(&mut status.continue_token).chain(details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{StatusCause, StatusDetails};

    #[test]
    fn no_text_of_a_status_keeps_the_token() {
        let token = Token::parse("/t", b"s3cr3t").unwrap();
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
            continue_token: text(),
        });
        let redacted = format!("{:?}", redact(&token, error));
        assert!(!redacted.contains("s3cr3t"), "{redacted}");
        assert_eq!(redacted.matches("Bearer (redacted), (redacted)").count(), 10);
    }

    #[test]
    fn other_texts_too() {
        let token = Token::parse("/t", b"s3cr3t").unwrap();
        for error in [
            Error::Transport(TransportError::Redirected("302 to https://evil/?t=s3cr3t".into())),
            Error::MalformedResponse("content-type \"s3cr3t\"".into()),
        ] {
            assert!(!format!("{:?}", redact(&token, error)).contains("s3cr3t"));
        }
    }
}
