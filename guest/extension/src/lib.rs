#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! [`Client`] and what it returns are all that most extensions need. [`types`] has the records of the contract, and [`bindings`] the
//! contract's functions themselves.

pub mod bindings;
mod client;
mod collection;
mod error;
mod object;
mod pages;
#[cfg(feature = "k8s-openapi")]
mod resource;
mod retry_policy;
mod watch;

pub use bindings::incluster::kubernetes::types;
pub use client::Client;
pub use collection::{ALL_NAMESPACES, Collection, List};
pub use error::Error;
pub use object::{FromJson, Json, Object};
pub use pages::{Page, Pages};
#[cfg(feature = "k8s-openapi")]
pub use resource::{ClusterResource, NamespacedResource};
pub use retry_policy::RetryPolicy;
pub use types::{OnExpired, Pod, ResourceVersionMatch};
pub use watch::{Event, Source, Watch, wait};

incluster_core::records!();
