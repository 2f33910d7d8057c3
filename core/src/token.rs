//! The service account's token.

use crate::ConfigError;
use std::fmt;

/// A bearer token that cannot be shown: it has no `Display`, and its `Debug` is `Token(redacted)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Parses the content of the file at `path`: surrounding white space is trimmed, and the rest must be visible ASCII.
    pub fn parse(path: &str, content: &[u8]) -> Result<Token, ConfigError> {
        let text = content.trim_ascii();
        if text.is_empty() {
            return Err(ConfigError::FileEmpty(path.into()));
        }
        match std::str::from_utf8(text) {
            Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Token(text.into())),
            _ => Err(ConfigError::InvalidToken(path.into())),
        }
    }

    /// The value of the header `Authorization` (RFC 6750, section 2.1).
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The token's bytes, for code that looks for it where it must not be.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The payload of a token that is a JWT (RFC 7519): the claims, in JSON.
    pub fn payload(&self) -> Option<Vec<u8>> {
        let mut parts = self.0.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &[u8]) -> Result<Token, ConfigError> {
        Token::parse("/t", content)
    }

    #[test]
    fn surrounding_white_space_is_trimmed() {
        assert_eq!(parse(b" \r\nabc.def\n\n").unwrap().authorization(), "Bearer abc.def");
    }

    #[test]
    fn an_empty_token_is_refused() {
        for content in [&b""[..], b"\n", b" \t\r\n "] {
            assert_eq!(parse(content), Err(ConfigError::FileEmpty("/t".into())));
        }
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused() {
        for content in [&b"a\nb"[..], b"a b", b"a\r\nX-Injected: 1", b"a\0b", b"a\x7fb", b"\xff\xfe", "tök".as_bytes()] {
            assert_eq!(parse(content), Err(ConfigError::InvalidToken("/t".into())), "{content:?}");
        }
    }

    #[test]
    fn debug_does_not_show_it() {
        assert_eq!(format!("{:?}", parse(b"secret").unwrap()), "Token(redacted)");
    }
}
