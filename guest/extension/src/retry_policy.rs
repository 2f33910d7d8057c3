//! How many times, and for how long, a call is tried.

use std::time::Duration;

/// How many times, and for how long, a call is tried. Only passing failures are retried: a server that is busy or unavailable, a connection that
/// breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The maximum number of attempts. 1 means no retry. `None`, the default, means as many attempts as there is time for.
    pub attempts: Option<u32>,
    /// How long a call may take with all attempts, waits and the reading of the answer, rounded down to milliseconds. For a watch, how long
    /// it may bring nothing because its connections fail. 90 s by default.
    pub deadline: Duration,
}

impl RetryPolicy {
    /// As many attempts as there is time for in 90 s, which rides out the restart of an API server.
    pub const DEFAULT: RetryPolicy =
        RetryPolicy { attempts: None, deadline: Duration::from_millis(incluster_core::limits::DEADLINE_MILLISECONDS as u64) };

    /// One attempt, for callers that retry by themselves.
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
