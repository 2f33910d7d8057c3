//! All that incluster's guests know of Kubernetes.
//!
//! ```text
//!  environment, files ──► config ──► request ──► transport ──► response ──► decode ──► records of wit/types.wit
//!                         (pure)     (pure)      (wasi:http)   (pure)       (pure)
//! ```
//!
//! Everything is a function from values to values, natively testable, but for two modules: [`files`] reads the service
//! account's volume, and `transport` speaks wasi:http. [`Client`] puts them together.
//!
//! The records are those that wit-bindgen makes of `wit/types.wit`: there is no second set of types to convert to.

pub mod bindings;
mod client;
pub mod config;
pub mod decode;
pub mod describe;
pub mod dns;
pub mod files;
mod list_options;
mod redact;
pub mod request;
pub mod response;
pub mod token;
mod transport;

pub use bindings::exports::incluster::kubernetes::types;
pub use client::{Answer, Client};
pub use transport::Body;

/// Where Kubernetes mounts a pod's service account.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
