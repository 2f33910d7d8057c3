//! The host's modules that count the contents of extensions' files.
#![allow(dead_code, reason = "the host uses all of it")]

#[path = "../../host/src/sandbox/loader/count.rs"]
pub(crate) mod count;
#[path = "../../host/src/sandbox/loader/inventory.rs"]
pub(crate) mod inventory;
