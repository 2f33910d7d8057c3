//! A monotonic clock for guests, on which a long wait is short: whoever waits for longer than [`LONG`] has waited after
//! [`SHORT`], and the clock says that all of the time has passed. So the client's own deadlines are tested, which are 10 s and
//! more, in no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep_until;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Host};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// Longer than any wait before another attempt, and shorter than any phase's deadline.
const LONG: Duration = Duration::from_secs(5);

/// Longer than a handshake takes.
const SHORT: Duration = Duration::from_millis(250);

/// The clock.
#[derive(Clone)]
pub struct Clock {
    begun: Instant,
    skipped: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that begins now.
    pub fn new() -> Clock {
        Clock { begun: Instant::now(), skipped: Arc::default() }
    }

    /// Lets so much time pass at once.
    pub fn skip(&self, time: Duration) {
        self.skipped.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }

    /// Whether a long wait was made short.
    pub fn has_skipped(&self) -> bool {
        self.skipped.load(Ordering::SeqCst) > 0
    }

    /// What time it is, since it began.
    pub fn now(&self) -> Duration {
        self.begun.elapsed() + Duration::from_nanos(self.skipped.load(Ordering::SeqCst))
    }
}

/// What has a clock, and a table for what waits for it.
pub trait HasClock: Send + 'static {
    /// Both.
    fn clock(&mut self) -> ClockView<'_>;
}

/// A guest's view of it.
pub struct ClockView<'a> {
    /// The clock.
    pub clock: Clock,
    /// The guest's resources.
    pub table: &'a mut ResourceTable,
}

/// Puts this clock where WASI's would be.
pub fn add_to_linker<T: HasClock>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    struct Has;
    impl HasData for Has {
        type Data<'a> = ClockView<'a>;
    }
    monotonic_clock::add_to_linker::<T, Has>(linker, T::clock)
}

impl Host for ClockView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.clock.now().as_nanos() as u64)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(when.saturating_sub(self.clock.now().as_nanos() as u64))
    }

    fn subscribe_duration(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let time = Duration::from_nanos(nanoseconds);
        let (wait, skips) = if time > LONG { (SHORT, time - SHORT) } else { (time, Duration::ZERO) };
        let until = tokio::time::Instant::now() + wait;
        let timer = self.table.push(Timer { until, skips, clock: self.clock.clone() })?;
        subscribe(self.table, timer)
    }
}

struct Timer {
    until: tokio::time::Instant,
    skips: Duration,
    clock: Clock,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        sleep_until(self.until).await;
        self.clock.skip(std::mem::take(&mut self.skips));
    }
}
