//! A monotonic clock for guests that shortens long waits: a wait longer than [`LONG`] ends after [`SHORT`], and the clock moves
//! forward by the whole wait. It makes tests of the client's own deadlines, which are 10 s and more, quick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep_until;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Host};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// The longest wait that is not shortened: longer than any pause between attempts, shorter than any phase's deadline.
const LONG: Duration = Duration::from_secs(5);

/// How long a shortened wait takes: longer than a handshake.
const SHORT: Duration = Duration::from_millis(250);

/// A monotonic clock that can skip time. Clones are the same clock.
#[derive(Clone)]
pub struct Clock {
    begun: Instant,
    skipped: Arc<AtomicU64>,
}

impl Clock {
    /// Creates a clock that begins now.
    pub fn new() -> Clock {
        Clock { begun: Instant::now(), skipped: Arc::default() }
    }

    /// Moves the clock forward.
    pub fn skip(&self, time: Duration) {
        self.skipped.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }

    /// Whether the clock has skipped any time.
    pub fn has_skipped(&self) -> bool {
        self.skipped.load(Ordering::SeqCst) > 0
    }

    /// The time since the clock began.
    pub fn now(&self) -> Duration {
        self.begun.elapsed() + Duration::from_nanos(self.skipped.load(Ordering::SeqCst))
    }
}

/// A store's data with a clock and a resource table.
pub trait HasClock: Send + 'static {
    /// The clock and the table.
    fn clock(&mut self) -> ClockView<'_>;
}

/// A guest's view of the clock.
pub struct ClockView<'a> {
    /// The clock.
    pub clock: Clock,
    /// The guest's resources.
    pub table: &'a mut ResourceTable,
}

/// Adds this clock to the linker in place of WASI's monotonic clock.
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
