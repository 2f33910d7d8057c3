//! What one call may use.

use crate::Error;
use serde::Deserialize;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Poll, ready};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

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
    /// looked at every 10 ms.
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

impl Default for Limits {
    fn default() -> Self {
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
            response_bytes: 256 << 20,
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
            watch_pause: Duration::from_secs(300),
        }
    }
}

/// Times as people write them: `90s`, `1m 30s`.
pub(crate) mod humantime_text {
    use serde::{Deserialize, Deserializer, de::Error};
    use std::time::Duration;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|e| D::Error::custom(format!("`{text}` is not a time such as 90s: {e}")))
    }
}

/// A call that has computed for longer takes turns with others like it.
const SHORT: Duration = Duration::from_millis(20);

/// Long computations of all tenants, as many at once as half of the processors: however many there are, the other half is for the
/// short ones, which most calls are.
static LONG: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Arc::new(Semaphore::new(processors.div_ceil(2)))
});

impl Limits {
    /// Runs a call under `wall_time` and `cpu_time`. The calls of a [`Tenant`](crate::Tenant) do so themselves; it is for
    /// whoever has a store of their own.
    ///
    /// Of the calls that have computed for more than 20 ms, as many go on at once as half of the processors, in turns of 10 ms.
    pub async fn run<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        self.run_beside(&LONG, call).await
    }

    async fn run_beside<T>(&self, long: &Arc<Semaphore>, call: impl Future<Output = T>) -> Result<T, Error> {
        let mut call = pin!(call);
        let mut computed = Duration::ZERO;
        let mut turns = PollSemaphore::new(long.clone());
        // Guests yield at every tick of the epoch, so that each poll is short, and what is not in a poll is a wait.
        let metered = poll_fn(|cx| {
            let _turn = if computed > SHORT { ready!(turns.poll_acquire(cx)) } else { None };
            let begun = Instant::now();
            let polled = call.as_mut().poll(cx);
            computed = computed.saturating_add(begun.elapsed());
            match polled {
                Poll::Ready(value) => Poll::Ready(Ok(value)),
                Poll::Pending if computed > self.cpu_time => Poll::Ready(Err(Error::CpuTime(self.cpu_time))),
                Poll::Pending => Poll::Pending,
            }
        });
        tokio::time::timeout(self.wall_time, metered).await.unwrap_or(Err(Error::WallTime(self.wall_time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for so long, in turns of 10 ms.
    async fn compute(time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let turn = Instant::now();
            while turn.elapsed() < Duration::from_millis(10) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_long_computation_waits_for_its_turn_and_a_short_one_does_not() {
        let (limits, long) = (Limits::default(), Arc::new(Semaphore::new(1)));
        let other = long.clone().acquire_owned().await.unwrap();
        let mut waits = pin!(limits.run_beside(&long, compute(SHORT * 2)));
        let short = limits.run_beside(&long, compute(Duration::ZERO));
        tokio::select! {
            biased;
            _ = &mut waits => panic!("it did not wait"),
            // It comes to its end once the long one waits.
            done = async { compute(SHORT * 3).await; short.await } => assert!(done.is_ok()),
        }
        drop(other);
        assert!(waits.await.is_ok());
        assert_eq!(long.available_permits(), 1);
    }

    #[tokio::test]
    async fn to_wait_for_a_turn_is_not_to_compute_but_it_takes_time() {
        let limits = Limits { wall_time: Duration::from_millis(100), ..Limits::default() };
        let long = Arc::new(Semaphore::new(0));
        let ended = limits.run_beside(&long, compute(Duration::from_secs(60))).await;
        assert!(matches!(ended, Err(Error::WallTime(_))));
    }
}
