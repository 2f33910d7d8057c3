//! The host's modules that count the files of extensions.
#![allow(dead_code, reason = "the host uses all of it")]

#[path = "../../host/src/loader/count.rs"]
pub(crate) mod count;
#[path = "../../host/src/loader/error.rs"]
pub(crate) mod error;
#[path = "../../host/src/loader/inventory.rs"]
pub(crate) mod inventory;
#[path = "../../host/src/loader/limits.rs"]
pub(crate) mod limits;
