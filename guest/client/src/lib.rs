//! All that incluster's guests know of Kubernetes.
//!
//! ```text
//!  environment, files ──► config ──► request ──► transport ──► response ──► decode ──► records of wit/types.wit
//!                         (pure)     (pure)        (I/O)        (pure)       (pure)
//! ```
//!
//! Everything is a function from values to values, natively testable, but for three modules: [`files`] and [`credentials`]
//! read the service account's volume, and `transport` speaks wasi:http, or with the feature `tls`, TLS over wasi:sockets.
//! [`Client`] puts them together, [`PodPages`] and [`PodWatch`] go on with it.
//!
//! The records are those that wit-bindgen makes of `wit/types.wit`: there is no second set of types to convert to.

pub mod bindings;
mod changes;
pub mod claims;
mod client;
pub mod config;
pub mod credentials;
pub mod decode;
mod defaults;
pub mod describe;
pub mod dns;
pub mod files;
mod look_again;
mod pager;
mod pages;
#[cfg(test)]
mod properties;
mod redact;
pub mod request;
pub mod response;
pub mod retry;
pub mod text;
pub mod token;
mod transport;
mod watch;

pub use bindings::exports::incluster::kubernetes::types;
pub use changes::{Change, Changes};
pub use client::{Answer, Client};
pub use pager::{Pager, Place};
pub use pages::PodPages;
pub use transport::Body;
pub use watch::PodWatch;

/// Where Kubernetes mounts a pod's service account.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
