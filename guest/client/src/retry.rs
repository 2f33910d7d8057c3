//! Which failures are worth another try, and when.

use crate::types::{Error, Failure};
use incluster_core::error::Problem;
use std::time::Duration;

/// The longest first wait; each further one may be twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait, unless the server asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Whether the same request may succeed later: `Some` with how long the server wants to be left alone, if it says so.
///
/// A redirect or a refusal will be the same the next time. So will an untrusted certificate, unless the server was trusted before
/// ([`Settings::is_between_certificates`](crate::asking::Settings::is_between_certificates)).
pub fn worth_it(error: &Error) -> Option<Duration> {
    Problem::from(error).is_retryable().then(|| match error {
        Error::Api(status) => Duration::from_secs(status.retry_after_seconds.unwrap_or(0).into()),
        _ => Duration::ZERO,
    })
}

/// The wait after this many attempts: exponential, with full jitter from a random number, so that callers that failed together do not come
/// back together.
pub fn backoff(attempts: u32, random: u64) -> Duration {
    backoff_up_to(LONGEST_WAIT, attempts, random)
}

/// Like [`backoff`], but no wait is longer than `longest`.
pub fn backoff_up_to(longest: Duration, attempts: u32, random: u64) -> Duration {
    random_up_to(FIRST_WAIT.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(longest), random)
}

/// A random time between zero and `longest`.
pub fn random_up_to(longest: Duration, random: u64) -> Duration {
    Duration::from_micros(random % (longest.as_micros() as u64 + 1))
}

/// A time in whole seconds, rounded up. (Using `as_millis`, which divides 128 bits, would add 1 KB.)
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Makes the failure of a call that was tried this many times, for this long.
pub fn gave_up(error: Error, attempts: u32, elapsed: Duration) -> Failure {
    let milliseconds = elapsed.as_secs().saturating_mul(1000).saturating_add(elapsed.subsec_millis().into());
    Failure { error, attempts, elapsed: u32::try_from(milliseconds).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Status, TransportError};

    fn status(code: u16, retry_after_seconds: Option<u32>) -> Error {
        let message = "busy".into();
        Error::Api(Status { code, reason: None, message, details: None, retry_after_seconds })
    }

    #[test]
    fn a_busy_server_is_asked_again_and_others_are_not() {
        for code in [429, 500, 502, 503, 504] {
            assert_eq!(worth_it(&status(code, None)), Some(Duration::ZERO), "{code}");
            assert_eq!(worth_it(&status(code, Some(7))), Some(Duration::from_secs(7)), "{code}");
        }
        for code in [400, 401, 403, 404, 405, 406, 409, 410, 422, 501, 505] {
            assert_eq!(worth_it(&status(code, Some(1))), None, "{code}");
        }
    }

    #[test]
    fn a_connection_is_made_again_unless_it_is_not_to_be_trusted() {
        let text = String::new;
        for lost in [TransportError::ConnectionRefused(text()), TransportError::ConnectionLost(text())] {
            assert!(worth_it(&Error::Transport(lost)).is_some());
        }
        for final_one in [
            TransportError::Certificate(text()),
            TransportError::Tls(text()),
            TransportError::HttpProtocol(text()),
            TransportError::Redirected(text()),
            TransportError::Other(text()),
        ] {
            assert_eq!(worth_it(&Error::Transport(final_one)), None);
        }
        for error in [Error::Denied(text()), Error::MalformedResponse(text()), Error::LimitExceeded(text())] {
            assert_eq!(worth_it(&error), None);
        }
    }

    #[test]
    fn waits_are_random_up_to_a_bound_that_doubles() {
        for (attempts, longest) in [(1, 200), (2, 400), (3, 800), (6, 6_400), (7, 10_000), (u32::MAX, 10_000)] {
            let longest = Duration::from_millis(longest);
            let waits: Vec<_> = (0..1000_u64).map(|n| backoff(attempts, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
            assert!(waits.iter().all(|wait| *wait <= longest), "{attempts}");
            assert!(waits.iter().any(|wait| *wait < longest / 10), "{attempts}");
            assert!(waits.iter().any(|wait| *wait > longest * 9 / 10), "{attempts}");
        }
    }

    #[test]
    fn a_failure_says_how_often_and_how_long() {
        let tried = gave_up(status(503, None), 6, Duration::from_micros(3_270_999));
        assert_eq!((tried.attempts, tried.elapsed), (6, 3270));
        assert_eq!(gave_up(status(503, None), 1, Duration::MAX).elapsed, u32::MAX);
    }
}
