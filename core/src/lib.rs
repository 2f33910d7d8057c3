//! Definitions that incluster's guests and its host share: about Kubernetes, about a pod's service account, and about each other across the
//! sandbox's boundary. Each fact is stated once, here.
//!
//! The crate has values only: no clock, no file, no socket, and no type of the contract in `wit/`, for which each side has bindings of its
//! own. Callers pass in the time and the contents of files.

pub mod calendar;
pub mod claims;
#[cfg(feature = "command-line")]
pub mod command_line;
pub mod credentials;
pub mod dns;
pub mod error;
pub mod failure;
pub mod files;
pub mod limits;
mod namespace;
#[cfg(test)]
mod properties;
#[macro_use]
mod records;
pub mod request_info;
pub mod secrets;
pub mod server;
pub mod set_back;
pub mod text;
#[cfg(feature = "tls")]
pub mod tls;
mod token;
pub mod warning;
pub mod watching;

pub use error::ConfigError;
pub use namespace::{Namespace, Namespaces};
pub use server::Server;
pub use token::Token;
