//! Limits on how long the parts of a request may take, and on how large an answer may be.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

/// How long a call may take by default, with all its attempts.
pub const DEADLINE_MILLISECONDS: u32 = 90_000;

/// The environment variable in which a host tells a guest its limits. The guest enforces them too, because not every host has any: the
/// wasmtime CLI would wait for ten minutes.
pub const VARIABLE: &str = "INCLUSTER_LIMITS";

/// The limits of one request to the API server. Its `Display` is a value for [`VARIABLE`]: `name=number` pairs with commas between them, in
/// milliseconds and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The time to resolve the name and to connect by TCP. 10 s by default.
    pub connect: Duration,
    /// The time for the TLS handshake. 10 s by default.
    pub handshake: Duration,
    /// The time from asking for a connection to the answer's head, in addition to `connect` and `handshake`. 60 s by default, like the API
    /// server's own limit for lists.
    pub first_byte: Duration,
    /// The time between two pieces of an answer's body. 30 s by default.
    pub between_bytes: Duration,
    /// The time between two pieces of a watch. A watch is quiet while nothing happens, except for the server's bookmarks, about one a
    /// minute. 300 s by default.
    pub watch_pause: Duration,
    /// The size of one answer's body in bytes, unless it is a watch's. 256 MiB by default: 5,000 large pods are about 106 MB of JSON.
    pub response_bytes: u64,
}

impl RequestLimits {
    /// The default limits: enough for a list of 5,000 large pods from a busy API server.
    pub const DEFAULT: RequestLimits = RequestLimits {
        connect: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
        first_byte: Duration::from_secs(60),
        between_bytes: Duration::from_secs(30),
        watch_pause: Duration::from_secs(300),
        response_bytes: 256 << 20,
    };

    /// How long an answer's head may take. The time counts from asking for a connection, which may have to be made first.
    pub fn head(&self) -> Duration {
        self.connect.saturating_add(self.handshake).saturating_add(self.first_byte)
    }

    /// How long an answer's body may pause.
    pub fn pause(&self, is_watch: bool) -> Duration {
        if is_watch { self.watch_pause } else { self.between_bytes }
    }

    /// How many bytes an answer's body may have.
    pub fn body_bytes(&self, is_watch: bool) -> u64 {
        if is_watch { u64::MAX } else { self.response_bytes }
    }

    /// The value of [`VARIABLE`] that a host sets. For the default limits it is empty, which says only that the host enforces limits: a
    /// longer text would cost each sandbox more to read than all its other input.
    pub fn told(&self) -> String {
        if *self == RequestLimits::DEFAULT { String::new() } else { self.to_string() }
    }

    /// Parses the value of [`VARIABLE`]. A limit that is missing or malformed has its default. A host that sets the variable enforces the
    /// limits too, so the guest waits a bit longer: the host is then the one that notices and reports.
    pub fn from_environment(value: Option<&str>) -> RequestLimits {
        let Some(value) = value else { return RequestLimits::DEFAULT };
        let number = |name: &str| {
            let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(known, _)| *known == name).find_map(|(_, number)| u64::from_str(number).ok())
        };
        let limits = if value.is_empty() {
            RequestLimits::DEFAULT
        } else {
            let time = |name: &str, default| number(name).map_or(default, Duration::from_millis);
            let RequestLimits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes } =
                RequestLimits::DEFAULT;
            RequestLimits {
                connect: time("connect", connect),
                handshake: time("handshake", handshake),
                first_byte: time("first-byte", first_byte),
                between_bytes: time("between-bytes", between_bytes),
                watch_pause: time("watch-pause", watch_pause),
                response_bytes: number("response-bytes").unwrap_or(response_bytes),
            }
        };
        limits.later()
    }

    fn later(self) -> RequestLimits {
        let later = |time: Duration| time.saturating_add(Duration::from_secs(1));
        RequestLimits {
            first_byte: later(self.first_byte),
            between_bytes: later(self.between_bytes),
            watch_pause: later(self.watch_pause),
            ..self
        }
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits::DEFAULT
    }
}

impl Display for RequestLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestLimits { connect, handshake, first_byte, between_bytes, watch_pause, response_bytes } = self;
        let times = [
            ("connect", connect),
            ("handshake", handshake),
            ("first-byte", first_byte),
            ("between-bytes", between_bytes),
            ("watch-pause", watch_pause),
        ];
        for (name, time) in times {
            let milliseconds = time.as_nanos().div_ceil(1_000_000);
            write!(f, "{name}={},", u64::try_from(milliseconds).unwrap_or(u64::MAX))?;
        }
        write!(f, "response-bytes={response_bytes}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_tells_a_guest_reads() {
        let raised = RequestLimits {
            connect: Duration::from_millis(1),
            handshake: Duration::ZERO,
            first_byte: Duration::from_secs(3600),
            between_bytes: Duration::from_secs(7),
            watch_pause: Duration::from_millis(u64::MAX),
            response_bytes: u64::MAX,
        };
        for limits in [RequestLimits::DEFAULT, raised] {
            assert_eq!(RequestLimits::from_environment(Some(&limits.told())), limits.later());
        }
        let endless = RequestLimits { watch_pause: Duration::MAX, ..raised };
        assert_eq!(RequestLimits::from_environment(Some(&endless.told())), raised.later());
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        assert_eq!(RequestLimits::from_environment(None), RequestLimits::DEFAULT);
        for value in [Some(""), Some("connect"), Some("connect=-1,other=5,=,,first-byte=1s"), Some("\0")] {
            assert_eq!(RequestLimits::from_environment(value), RequestLimits::DEFAULT.later());
        }
    }
}
