//! The service account's token.

use crate::types::ConfigError;
use serde::Deserialize;
use std::fmt;

/// A bearer token. It cannot be shown: it has no `Display`, and its `Debug` is `Token(redacted)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads the content of the file at `path`: surrounding white space is trimmed, the rest must be visible ASCII.
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

    /// The token itself, for whoever looks for it in what must not have it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Replaces the token in a text.
    pub(crate) fn take_out_of(&self, text: &mut String) {
        if text.contains(&self.0) {
            *text = text.replace(&self.0, "(redacted)");
        }
    }

    /// What the token says of itself, when it is a JWT (RFC 7519). Nothing here verifies it: that is the API server's
    /// to do.
    pub fn claims(&self) -> Option<Claims> {
        let mut parts = self.0.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let json = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// The registered claims of a JWT that matter to a client.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// `exp`: when the token expires, in seconds since 1970. Legacy tokens have none.
    pub exp: Option<i64>,
    /// `aud`: whom the token is for.
    pub aud: Audience,
    /// `sub`: whom the token is of, for example `system:serviceaccount:shop:lister`.
    pub sub: Option<String>,
}

/// `aud` is one string or a list of them (RFC 7519, section 4.1.3).
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual form.
    Many(Vec<String>),
    /// The short form.
    One(String),
}

impl Default for Audience {
    fn default() -> Self {
        Audience::Many(Vec::new())
    }
}

impl Audience {
    /// The audiences, in the token's order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Audience::Many(many) => many,
            Audience::One(one) => std::slice::from_ref(one),
        }
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

    fn jwt(payload: &str) -> Token {
        Token(format!("e30.{}.c2ln", data_encoding::BASE64URL_NOPAD.encode(payload.as_bytes())))
    }

    #[test]
    fn claims_of_a_recorded_token() {
        let recorded = include_str!("../../../tests/fixtures/_token-claims.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let claims = jwt(&recorded["payload"].to_string()).claims().unwrap();
        assert_eq!(claims.exp, Some(1795464256));
        assert_eq!(claims.aud.as_slice(), ["https://kubernetes.default.svc"]);
        assert_eq!(claims.sub.as_deref(), Some("system:serviceaccount:shop:lister"));
    }

    #[test]
    fn legacy_and_opaque_tokens_have_fewer_claims_or_none() {
        let legacy = jwt(r#"{"sub":"system:serviceaccount:a:b","aud":"one"}"#).claims().unwrap();
        assert_eq!((legacy.exp, legacy.aud.as_slice()), (None, &["one".to_string()][..]));
        for opaque in ["opaque", "a.b", "a.b.c", "a.!!!.c", "a.b.c.d", "..", "a.bnVsbA.c"] {
            let token = parse(opaque.as_bytes()).unwrap();
            assert_eq!(token.claims(), None, "{opaque}");
        }
    }
}
