//! What a service account's token says of itself, as far as the host asks.

use crate::token::Token;
use serde::Deserialize;

/// A claim of a JWT (RFC 7519).
#[derive(Deserialize)]
pub(crate) struct Claims {
    /// When the token expires, in seconds since 1970. Legacy tokens have none.
    pub(crate) exp: Option<i64>,
}

impl Claims {
    /// Those of a token that is a JWT. Nothing here verifies it: that is the API server's to do.
    pub(crate) fn of(token: &Token) -> Option<Claims> {
        serde_json::from_slice(&token.payload()?).ok()
    }
}
