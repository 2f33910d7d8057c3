//! What one call may use.

use incluster_core::limits::CallLimits;
use serde::Deserialize;
use std::time::Duration;

/// As many resources (files, requests, bodies, …) a guest may hold at once, so that it cannot grow the host. A client needs
/// about ten; a guest that asks for more traps.
pub(crate) const MAX_RESOURCES: usize = 64;

/// The size of one set of headers, as wasmtime counts it.
pub(crate) const MAX_FIELDS_BYTES: usize = 32 << 10;

/// What tables have room for in the pool.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// What a tenant may use: each call of its own, and all of them together. Exceeding one ends that call with an error, and
/// touches no other.
///
/// In a configuration file, names are in camel case, sizes in bytes, and times as text: `wallTime: 30s`. What is not given is as
/// by default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// How many sandboxes exist at once: those of calls, of open lists and watches, and warm ones. 64 by default.
    pub instances: u32,
    /// How many calls run at once. 64 by default.
    pub concurrent_calls: u32,
    /// How many of the API server's answers are being waited for or read at once, watches among them. 64 by default.
    pub open_streams: u32,
    /// How many requests to the API server begin in a second, on average. 1,000 by default.
    pub requests_per_second: u32,
    /// How many may begin at once, after a time of rest. 2,000 by default.
    pub request_burst: u32,
    /// A sandbox's linear memories together, in bytes. 256 MiB by default: a list of 5,000 large pods needs about a third of it.
    pub memory: usize,
    /// The elements of the guest's tables. 20,000 by default, and at most: the pool has no room for more.
    pub table_elements: usize,
    /// What an extension may hand to a host function in one call, or return from one, in bytes. 1 MiB by default. It bounds what
    /// the host holds for a sandbox: 64 resources of this size. The host's own calls may return as much as the memory holds.
    pub hostcall_bytes: usize,
    /// How long guest code, and the host functions that it calls, may compute; waits do not count. 10 s by default. It is
    /// looked at every 2 ms.
    #[serde(with = "humantime_text")]
    pub cpu_time: Duration,
    /// How long the whole call may take, waits included. 120 s by default. To wait for a watch's next event is not limited.
    #[serde(with = "humantime_text")]
    pub wall_time: Duration,
    /// The bytes of one response's body, unless it is a watch's. 256 MiB by default: 5,000 large pods are about 106 MB of JSON.
    pub response_bytes: u64,
    /// Resolving the name and connecting by TCP. 10 s by default.
    #[serde(with = "humantime_text")]
    pub connect: Duration,
    /// The TLS handshake. 10 s by default.
    #[serde(with = "humantime_text")]
    pub handshake: Duration,
    /// From asking for a connection to the response's head, on top of `connect` and `handshake`. 60 s by default, as the
    /// API server's own limit for lists.
    #[serde(with = "humantime_text")]
    pub first_byte: Duration,
    /// Between two pieces of a response's body. 30 s by default.
    #[serde(with = "humantime_text")]
    pub between_bytes: Duration,
    /// The same for a watch, which is quiet while nothing happens but for the server's bookmarks, about one a minute. 300 s by
    /// default.
    #[serde(with = "humantime_text")]
    pub watch_pause: Duration,
}

impl Limits {
    /// Those of one call to the API server, of which guests are told.
    pub(crate) fn of_calls(&self) -> CallLimits {
        let Limits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes, .. } = *self;
        CallLimits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let CallLimits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes } = CallLimits::DEFAULT;
        Limits {
            instances: 64,
            concurrent_calls: 64,
            open_streams: 64,
            requests_per_second: 1000,
            request_burst: 2000,
            memory: 256 << 20,
            table_elements: MAX_TABLE_ELEMENTS,
            hostcall_bytes: 1 << 20,
            cpu_time: Duration::from_secs(10),
            wall_time: Duration::from_secs(120),
            response_bytes,
            connect,
            handshake,
            first_byte,
            between_bytes,
            watch_pause,
        }
    }
}

/// Times as people write them: `90s`, `1m 30s`.
pub(crate) mod humantime_text {
    use serde::{Deserialize, Deserializer, de::Error};
    use std::time::Duration;

    #[cfg(feature = "extensions")]
    pub(crate) fn serialize<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|e| D::Error::custom(format!("`{text}` is not a time such as 90s: {e}")))
    }
}
