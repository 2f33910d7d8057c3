//! What one call may use.

use std::time::Duration;

/// As many sandboxes exist at once; further calls wait for one to end.
pub(crate) const MAX_INSTANCES: u32 = 100;

/// As many resources (files, requests, bodies, …) a guest may hold at once, so that it cannot grow the host. A client needs
/// about ten; a guest that asks for more traps.
pub(crate) const MAX_RESOURCES: usize = 1_000;

/// What one call may use before it ends with an error. Every limit ends that call alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The guest's linear memory, in bytes. 256 MiB by default: a list of 5,000 large pods needs about a third of it.
    pub memory: usize,
    /// The elements of the guest's tables. 20,000 by default.
    pub table_elements: usize,
    /// How long guest code may compute, not counting waits; measured in steps of 10 ms. 10 s by default.
    pub cpu_time: Duration,
    /// How long the whole call may take, waits included. 120 s by default.
    pub wall_time: Duration,
    /// The bytes of one response's body. 256 MiB by default: 5,000 large pods are about 106 MB of JSON.
    pub response_bytes: u64,
    /// Resolving the name and connecting by TCP. 10 s by default.
    pub connect: Duration,
    /// The TLS handshake. 10 s by default.
    pub handshake: Duration,
    /// From sending the request to the response's head. 60 s by default, as the API server's own limit for lists.
    pub first_byte: Duration,
    /// Between two pieces of a response's body. 30 s by default.
    pub between_bytes: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 256 << 20,
            table_elements: 20_000,
            cpu_time: Duration::from_secs(10),
            wall_time: Duration::from_secs(120),
            response_bytes: 256 << 20,
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
        }
    }
}
