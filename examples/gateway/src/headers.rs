//! Headers that an extension does not see, or may not set.

use http::HeaderName;

/// Headers that no extension may set: they belong to the connection, say where a request goes, or say who the client is.
const RESERVED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "forwarded",
    "true-client-ip",
    "x-real-ip",
];

/// The prefixes of more headers that no extension may set, including those of Envoy and the Endpoint Picker Protocol.
const RESERVED_PREFIXES: [&str; 4] = ["proxy-", "x-envoy-", "x-forwarded-", "x-gateway-"];

/// The headers that carry credentials.
pub(crate) const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Checks whether a route may let its extension set this header.
pub(crate) fn check_settable(name: &str) -> Result<(), String> {
    let Ok(parsed) = name.parse::<HeaderName>() else { return Err(format!("`{name}` is not the name of a header")) };
    let parsed = parsed.as_str();
    if RESERVED.contains(&parsed) || RESERVED_PREFIXES.iter().any(|prefix| parsed.starts_with(prefix)) {
        return Err(format!("no extension may set `{parsed}`"));
    }
    Ok(())
}
