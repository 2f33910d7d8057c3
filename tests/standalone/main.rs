//! Tests of the transport whose TLS is in the guest: those that all transports share, and its own.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod caller;
mod clock;
mod component;
mod connections;
#[path = "../transport/echoes.rs"]
mod echoes;
#[path = "../transport/faults.rs"]
mod faults;
#[path = "../it/interfaces.rs"]
mod interfaces;
#[path = "../transport/trust.rs"]
mod trust;
#[path = "../transport/waiting.rs"]
mod waiting;
