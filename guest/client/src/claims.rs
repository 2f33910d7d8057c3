//! What a service account's token says of itself.

use crate::decode::{Field, Int64, Known, Message, Put, Text, Texts, from_json, messages, wire};
use crate::token::Token;
use wire::{Invalid, Value};

/// The registered claims of a JWT (RFC 7519) that matter to a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `exp`: when the token expires, in seconds since 1970. Legacy tokens have none.
    pub exp: Option<i64>,
    /// `aud`: whom the token is for, in the token's order. One alone may be without a list around it (section 4.1.3).
    pub aud: Vec<String>,
    /// `sub`: whom the token is of, for example `system:serviceaccount:shop:lister`.
    pub sub: Option<String>,
}

// The numbers are of no meaning beyond this file: no token is protobuf.
messages! {
    Claims {
        1 "exp" => exp: Int64,
        2 "aud" => aud: Texts,
        3 "sub" => sub: Text,
    }
}

impl Claims {
    /// Those of a token that is a JWT. Nothing here verifies it: that is the API server's to do.
    pub fn of(token: &Token) -> Option<Claims> {
        from_json(&token.payload()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> Option<Claims> {
        let jwt = format!("e30.{}.c2ln", data_encoding::BASE64URL_NOPAD.encode(payload.as_bytes()));
        Claims::of(&Token::parse("/t", jwt.as_bytes()).unwrap())
    }

    #[test]
    fn claims_of_a_recorded_token() {
        let recorded = include_str!("../../../tests/fixtures/_token-claims.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let claims = jwt(&recorded["payload"].to_string()).unwrap();
        assert_eq!(claims.exp, Some(1795464256));
        assert_eq!(claims.aud, ["https://kubernetes.default.svc"]);
        assert_eq!(claims.sub.as_deref(), Some("system:serviceaccount:shop:lister"));
    }

    #[test]
    fn legacy_and_opaque_tokens_have_fewer_claims_or_none() {
        let legacy = jwt(r#"{"sub":"system:serviceaccount:a:b","aud":"one"}"#).unwrap();
        assert_eq!((legacy.exp, &*legacy.aud), (None, &["one".to_string()][..]));
        for opaque in ["opaque", "a.b", "a.b.c", "a.!!!.c", "a.b.c.d", "..", "a.bnVsbA.c"] {
            let token = Token::parse("/t", opaque.as_bytes()).unwrap();
            assert_eq!(Claims::of(&token), None, "{opaque}");
        }
        assert_eq!(jwt(r#"{"aud":[["a"]]}"#), None);
        assert_eq!(jwt(r#"{"exp":"1"}"#), None);
    }
}
