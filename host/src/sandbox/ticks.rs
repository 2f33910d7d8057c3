//! The engine's clock, which interrupts guests that compute. While none does, it stands still, so that an idle process sleeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// How often running guests yield: the granularity of [`CallLimits::cpu_time`](crate::CallLimits::cpu_time).
const TICK: Duration = Duration::from_millis(2);

/// How many idle ticks there are before the clock stops: a tenth of a second. Waking it costs the next call some microseconds.
const IDLE: u32 = 50;

/// A clock that ticks while guests compute. The clock ends when this is dropped.
pub(crate) struct Ticks {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    computing: AtomicUsize,
    is_stopped: AtomicBool,
    is_over: AtomicBool,
}

/// The mark of a guest that computes, until this is dropped.
pub(crate) struct Computing<'a>(&'a Ticks);

impl Ticks {
    /// Starts a clock that calls `tick` at each tick.
    pub(crate) fn new(tick: impl FnMut() + Send + 'static) -> io::Result<Ticks> {
        let shared = Arc::<Shared>::default();
        let ticking = thread::Builder::new().name("incluster-epoch".into()).spawn({
            let shared = shared.clone();
            move || shared.run(tick)
        })?;
        Ok(Ticks { shared, thread: ticking.thread().clone() })
    }

    /// Marks that a guest computes, from now on.
    pub(crate) fn computing(&self) -> Computing<'_> {
        // Sequentially consistent: either the clock sees that a guest computes before it stops, or this sees that it has stopped.
        self.shared.computing.fetch_add(1, Ordering::SeqCst);
        if self.shared.is_stopped.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Computing(self)
    }
}

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.shared.computing.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, mut tick: impl FnMut()) {
        let mut idle = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            tick();
            idle = if self.is_idle() { idle + 1 } else { 0 };
            if idle > IDLE {
                self.is_stopped.store(true, Ordering::SeqCst);
                while self.is_idle() && !self.is_over.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.is_stopped.store(false, Ordering::SeqCst);
                idle = 0;
            }
            thread::sleep(TICK);
        }
    }

    fn is_idle(&self) -> bool {
        self.computing.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn until(happens: impl Fn() -> bool) {
        let begun = Instant::now();
        while !happens() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the expected event does not happen");
            thread::yield_now();
        }
    }

    #[test]
    fn the_clock_ticks_while_something_computes_and_only_then() {
        let ticked = Arc::new(AtomicUsize::new(0));
        let ticks = Ticks::new({
            let ticked = ticked.clone();
            move || _ = ticked.fetch_add(1, Ordering::SeqCst)
        })
        .unwrap();
        let is_stopped = || ticks.shared.is_stopped.load(Ordering::SeqCst);
        for _ in 0..2 {
            until(is_stopped);
            let before = ticked.load(Ordering::SeqCst);
            assert!((0..1000).all(|_| is_stopped()) && ticked.load(Ordering::SeqCst) == before);
            let (one, other) = (ticks.computing(), ticks.computing());
            drop(other);
            until(|| ticked.load(Ordering::SeqCst) > before + 2 * IDLE as usize);
            assert!(!is_stopped());
            drop(one);
        }
        let shared = Arc::downgrade(&ticks.shared);
        drop(ticks);
        until(|| shared.upgrade().is_none());
    }
}
