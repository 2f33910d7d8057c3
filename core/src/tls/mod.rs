//! TLS that trusts ca.crt and nothing else, and explanations of its failures.

mod authority;
mod trust;
mod verifier;
mod why;

pub use trust::{News, ReadCa, Tell, Trust, TrustError, is_untrusted};
pub use why::{find, is_torn, of_alert, of_http, of_tls, of_trust};
