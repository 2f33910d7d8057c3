//! The claims in a service account's token.

use crate::Token;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The registered claims of a JWT (RFC 7519) that matter to a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `exp`: when the token expires, in seconds since 1970. Legacy tokens have none.
    pub exp: Option<i64>,
    /// `aud`: the audiences that the token is for, in the token's order. A single one may stand without a list around it (section 4.1.3).
    pub aud: Vec<String>,
    /// `sub`: the account that the token belongs to, for example `system:serviceaccount:shop:lister`.
    pub sub: Option<String>,
}

impl Claims {
    /// Reads the claims of a token that is a JWT. A claim of an unexpected type counts as absent. Nothing is verified here: that is the API
    /// server's task.
    pub fn of(token: &Token) -> Option<Claims> {
        match serde_json::from_slice(&token.payload()?).ok()? {
            Json::Claims(claims) => Some(claims),
            _ => None,
        }
    }
}

/// JSON, as far as claims need it. (Derived serde code has a text for each way in which JSON can differ: 9 KB of the plugin.)
enum Json {
    Null,
    Number(i64),
    Text(String),
    List(Vec<Json>),
    Claims(Claims),
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(AsIs)
    }
}

struct AsIs;

impl<'de> Visitor<'de> for AsIs {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::Other, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let (mut exp, mut aud, mut sub) = (Json::Null, Json::Null, Json::Null);
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value()?;
            match &*name {
                "exp" => exp = value,
                "aud" => aud = value,
                "sub" => sub = value,
                _ => {}
            }
        }
        Ok(Json::Claims(Claims {
            exp: match exp {
                Json::Number(exp) => Some(exp),
                _ => None,
            },
            aud: match aud {
                Json::List(list) => list.into_iter().filter_map(text).collect(),
                one => text(one).into_iter().collect(),
            },
            sub: text(sub),
        }))
    }
}

fn text(json: Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(text),
        _ => None,
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
        let recorded = include_str!("../../tests/fixtures/_token-claims.json");
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
        // A claim of an unexpected type counts as absent, and hides no other.
        let odd = jwt(r#"{"exp":7,"aud":[["a"],"b",1],"sub":{},"x":[null,true,1.5]}"#).unwrap();
        assert_eq!(odd, Claims { exp: Some(7), aud: vec!["b".into()], sub: None });
        assert_eq!(jwt(r#"{"exp":"1","aud":true}"#), Some(Claims::default()));
    }
}
