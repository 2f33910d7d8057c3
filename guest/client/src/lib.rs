//! Everything that incluster's guests know about Kubernetes.
//!
//! ```text
//!  what is asked for ──► request ──► call, pages, watch ──► response ──► decode ──► records of wit/types.wit
//!                                    │ what to do next ▲ what happened, and when
//!                                    ▼                 │
//!                                    client: the clock, the token's file, and a transport
//! ```
//!
//! Everything is a function from values to values, or a [machine], and can be tested natively. There are two exceptions: [`system`] asks
//! WASI, and [`Client`] does what the machines say through a [`transport`](transport::Transport): over wasi:http, or with its own TLS over
//! wasi:sockets.
//!
//! The records are those that wit-bindgen generates from `wit/types.wit`: there is no second set of types to convert to.

pub mod allocator;
mod asking;
pub mod bindings;
mod call;
mod canonical;
mod changes;
mod client;
pub mod decode;
mod driving;
mod end;
pub mod glue;
pub mod machine;
mod pager;
mod pages;
pub mod plugin;
#[cfg(test)]
mod properties;
mod redact;
pub mod request;
pub mod response;
pub mod retry;
#[cfg(test)]
mod schedules;
pub mod system;
pub mod transport;
mod trouble;
mod watch;

pub use asking::Settings;
pub use bindings::exports::incluster::kubernetes::types;
pub use call::{Call, Json};
pub use changes::{Change, Changes};
pub use client::Client;
pub use driving::Driven;
pub use pager::{Pager, Place};
pub use pages::{Pages, Parts};
pub use watch::Watch;

incluster_core::records!();
