//! How often, and for how long, a call is tried.

use std::time::Duration;

/// How often, and for how long, a call is tried. What passes is tried again: a server that is busy or away, a connection that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a call is tried at most. 1 is never again. `None`, the default: as often as there is time for.
    pub attempts: Option<u32>,
    /// How long a call may take with all attempts, waits and the reading of the answer, rounded down to milliseconds; for a watch, how long it
    /// may bring nothing because its connections fail. 90 s by default.
    pub deadline: Duration,
}

impl RetryPolicy {
    /// As often as there is time for, for 90 s: it rides out the restart of an API server.
    pub const DEFAULT: RetryPolicy =
        RetryPolicy { attempts: None, deadline: Duration::from_millis(incluster_core::limits::DEADLINE_MILLISECONDS as u64) };

    /// One attempt, for callers that try again themselves.
    pub const NEVER: RetryPolicy = RetryPolicy { attempts: Some(1), ..RetryPolicy::DEFAULT };

    /// Returns this policy with another number of attempts.
    pub const fn attempts(self, attempts: u32) -> RetryPolicy {
        RetryPolicy { attempts: Some(attempts), ..self }
    }

    /// Returns this policy with another deadline.
    pub const fn deadline(self, deadline: Duration) -> RetryPolicy {
        RetryPolicy { deadline, ..self }
    }
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy::DEFAULT
    }
}
