//! What a tenant may use.

use crate::error::Error;
pub use incluster_core::limits::RequestLimits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many resources (files, requests, bodies, …) a guest may hold at once, so that it cannot use up the host's memory. A client
/// needs about ten; a guest that asks for more traps.
pub(crate) const MAX_RESOURCES: usize = 64;

/// The largest size of one set of headers, as wasmtime counts it.
pub(crate) const MAX_FIELDS_BYTES: usize = 32 << 10;

/// What a tenant may use: in total, in each call, and in each request of a call. Exceeding a limit ends that call with an error, and
/// affects no other tenant.
///
/// One group alone replaces only itself: `tenant.limits(CallLimits { memory: 32 << 20, ..CallLimits::default() })`.
///
/// In a configuration file, names are in camel case, sizes in bytes or as `32Mi`, and times as text:
/// `{call: {memory: 32Mi, wallTime: 30s}}`. Omitted fields have their defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Limits of the tenant, shared with all tenants that are derived from it.
    pub tenant: TenantLimits,
    /// Limits of one call in a sandbox.
    pub call: CallLimits,
    /// Limits of one request to the API server.
    #[serde(with = "RequestText")]
    pub request: RequestLimits,
}

/// What all calls of a tenant may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TenantLimits {
    /// How many sandboxes may exist at once: for calls, for open lists and watches, and warm ones. 64 by default.
    pub instances: u32,
    /// How many calls may run at once. 64 by default.
    pub concurrent_calls: u32,
    /// How many of the API server's answers may be waited for or read at once, including watches. 64 by default.
    pub open_streams: u32,
    /// How many requests to the API server may begin per second, on average. 1,000 by default.
    pub requests_per_second: u32,
    /// How many requests may begin at once, after an idle time. 2,000 by default.
    pub request_burst: u32,
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CallLimits {
    /// The total size of a sandbox's linear memories, in bytes. 256 MiB by default: a list of 5,000 large pods needs about a third of it.
    #[serde(with = "size")]
    pub memory: usize,
    /// How many elements each of the guest's tables may have. 20,000 by default, which is what the pool has room for: see
    /// [`Pool::table_elements`](crate::Pool::table_elements).
    pub table_elements: usize,
    /// How many resource handles a sandbox's components may hold at once, including those of their own resources. 100,000 by default,
    /// as in wasmtime.
    pub handles: usize,
    /// How much an extension may pass to a host function in one call, or return from one, in bytes. 1 MiB by default. This bounds what
    /// the host holds for a sandbox: 64 resources of this size. The host's own calls may return as much as the memory holds.
    #[serde(with = "size")]
    pub hostcall_bytes: usize,
    /// How long guest code, and the host functions that it calls, may compute; waits do not count. 10 s by default, checked
    /// every 2 ms.
    #[serde(with = "time")]
    pub cpu_time: Duration,
    /// How long the whole call may take, including waits. 120 s by default. The wait for a watch's next event is not limited.
    #[serde(with = "time")]
    pub wall_time: Duration,
}

/// How a [`RequestLimits`] is written in a configuration file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, remote = "RequestLimits")]
struct RequestText {
    #[serde(with = "time")]
    connect: Duration,
    #[serde(with = "time")]
    handshake: Duration,
    #[serde(with = "time")]
    first_byte: Duration,
    #[serde(with = "time")]
    between_bytes: Duration,
    #[serde(with = "time")]
    watch_pause: Duration,
    #[serde(with = "size")]
    response_bytes: u64,
}

impl Default for RequestText {
    fn default() -> Self {
        let RequestLimits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes } = RequestLimits::DEFAULT;
        RequestText { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes }
    }
}

impl Default for TenantLimits {
    fn default() -> Self {
        TenantLimits { instances: 64, concurrent_calls: 64, open_streams: 64, requests_per_second: 1000, request_burst: 2000 }
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        CallLimits {
            memory: 256 << 20,
            table_elements: 20_000,
            handles: 100_000,
            hostcall_bytes: 1 << 20,
            cpu_time: Duration::from_secs(10),
            wall_time: Duration::from_secs(120),
        }
    }
}

/// [`Limits`], or one group of them, which leaves the others as they are.
pub trait SetLimits {
    /// Replaces these limits.
    fn set(self, limits: &mut Limits);
}

impl SetLimits for Limits {
    fn set(self, limits: &mut Limits) {
        *limits = self;
    }
}

impl SetLimits for TenantLimits {
    fn set(self, limits: &mut Limits) {
        limits.tenant = self;
    }
}

impl SetLimits for CallLimits {
    fn set(self, limits: &mut Limits) {
        limits.call = self;
    }
}

impl SetLimits for RequestLimits {
    fn set(self, limits: &mut Limits) {
        limits.request = self;
    }
}

impl Limits {
    /// Checks that no limit is zero, and that tables have no more elements than the pool has room for ([`Pool::table_elements`](crate::Pool::table_elements)).
    /// Making a tenant does this, too.
    ///
    /// # Errors
    ///
    /// [`Error::Limits`] names the limit.
    pub fn check(&self, room_for_elements: usize) -> Result<(), Error> {
        let TenantLimits { instances, concurrent_calls, open_streams, requests_per_second, request_burst } = self.tenant;
        let CallLimits { memory, table_elements, handles, hostcall_bytes, cpu_time, wall_time } = self.call;
        let RequestLimits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes } = self.request;
        let zero = [
            ("tenant.instances", instances == 0),
            ("tenant.concurrentCalls", concurrent_calls == 0),
            ("tenant.openStreams", open_streams == 0),
            ("tenant.requestsPerSecond", requests_per_second == 0),
            ("tenant.requestBurst", request_burst == 0),
            ("call.memory", memory == 0),
            ("call.tableElements", table_elements == 0),
            ("call.handles", handles == 0),
            ("call.hostcallBytes", hostcall_bytes == 0),
            ("call.cpuTime", cpu_time.is_zero()),
            ("call.wallTime", wall_time.is_zero()),
            ("request.connect", connect.is_zero()),
            ("request.handshake", handshake.is_zero()),
            ("request.firstByte", first_byte.is_zero()),
            ("request.betweenBytes", between_bytes.is_zero()),
            ("request.watchPause", watch_pause.is_zero()),
            ("request.responseBytes", response_bytes == 0),
        ];
        if let Some((limit, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(Error::Limits { limit, problem: "is zero: nothing would work".into() });
        }
        if table_elements > room_for_elements {
            let problem = format!("is {table_elements}, and the pool has room for {room_for_elements} (Pool::table_elements)");
            return Err(Error::Limits { limit: "call.tableElements", problem });
        }
        Ok(())
    }
}

/// Durations as people write them: `90s`, `1m 30s`.
pub(crate) mod time {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|e| D::Error::custom(format!("`{text}` is not a time such as 90s: {e}")))
    }
}

/// Sizes as numbers of bytes, or as people write them: `32Mi`.
pub(crate) mod size {
    use bytesize::ByteSize;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size is a number of bytes, or a text such as `32Mi`")]
    enum Size {
        Bytes(u64),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer, T: Serialize>(bytes: &T, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
        let bytes = match Size::deserialize(deserializer)? {
            Size::Bytes(bytes) => bytes,
            Size::Text(text) => {
                let parsed: Result<ByteSize, _> = text.parse();
                parsed.map_err(|e| D::Error::custom(format!("`{text}` is not a size such as 32Mi: {e}")))?.as_u64()
            }
        };
        T::try_from(bytes).map_err(|_| D::Error::custom(format!("{bytes} bytes are more than this machine can address")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(document: &serde_json::Value) -> Result<Limits, String> {
        serde_json::from_value(document.clone()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_group_of_limits_replaces_itself_alone() {
        let mut limits = Limits::default();
        let (call, tenant) = (CallLimits { memory: 1, ..limits.call }, TenantLimits { instances: 2, ..limits.tenant });
        let request = RequestLimits { response_bytes: 3, ..limits.request };
        call.set(&mut limits);
        tenant.set(&mut limits);
        request.set(&mut limits);
        assert_eq!(limits, Limits { call, tenant, request });
        Limits::default().set(&mut limits);
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn omitted_limits_have_their_defaults() {
        let call = json!({"memory": "32Mi", "wallTime": "1m 30s", "hostcallBytes": 4096});
        let read = read(&json!({"tenant": {"instances": 2}, "call": call, "request": {"responseBytes": "1Gi"}})).unwrap();
        let call =
            CallLimits { memory: 32 << 20, wall_time: Duration::from_secs(90), hostcall_bytes: 4096, ..CallLimits::default() };
        let tenant = TenantLimits { instances: 2, ..TenantLimits::default() };
        assert_eq!(read, Limits { tenant, call, request: RequestLimits { response_bytes: 1 << 30, ..RequestLimits::DEFAULT } });
        assert_eq!(self::read(&serde_json::to_value(read).unwrap()), Ok(read));
        assert_eq!(self::read(&json!({})), Ok(Limits::default()));
    }

    #[test]
    fn an_invalid_limit_is_an_error() {
        for (document, says) in [
            (json!({"memory": 1}), "unknown field `memory`"),
            (json!({"call": {"memory": "much"}}), "32Mi"),
            (json!({"call": {"memory": -1}}), "a size is"),
            (json!({"call": {"wallTime": "long"}}), "90s"),
            (json!({"request": {"firstbyte": "1s"}}), "unknown field `firstbyte`"),
        ] {
            let error = read(&document).unwrap_err();
            assert!(error.contains(says), "{document}: {error}");
        }
    }

    /// Checks each limit, and that the error names it.
    #[test]
    fn no_limit_is_zero() {
        assert!(Limits::default().check(20_000).is_ok());
        let all = serde_json::to_value(Limits::default()).unwrap();
        for (group, limits) in all.as_object().unwrap() {
            for (name, value) in limits.as_object().unwrap() {
                let mut changed = all.clone();
                changed[group][name] = if value.is_string() { json!("0s") } else { json!(0) };
                let error = read(&changed).unwrap().check(20_000).unwrap_err().to_string();
                assert!(error.contains(&format!("{group}.{name} is zero")), "{error}");
            }
        }
        let error = Limits::default().check(10).unwrap_err().to_string();
        assert!(error.contains("call.tableElements is 20000, and the pool has room for 10"), "{error}");
    }
}
