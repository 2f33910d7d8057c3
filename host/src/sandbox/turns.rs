//! Turns: tenants that compute much share half of the processors.

use crate::error::Error;
use crate::limits::CallLimits;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::thread;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::Span;

/// The part of the time, as a divisor, that a tenant may compute without taking turns: a fiftieth of one processor.
const PART: u32 = 50;

/// How long a tenant may compute at once without taking turns, after a time of rest.
const AT_ONCE: Duration = Duration::from_millis(20);

/// How long a tenant must rest until everything that it has computed is forgiven.
const FORGIVEN: Duration = Duration::from_secs(2);

/// The turns of all busy tenants, as many at once as half of the processors. However many busy tenants there are, the other half is for
/// those that compute little, as most do.
static BUSY: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Arc::new(Semaphore::new(processors.div_ceil(2)))
});

/// How much one tenant has computed.
pub(crate) struct Turns {
    /// The moment when the tenant's computing so far will amount to its part of the time.
    even: Mutex<Instant>,
    busy: Arc<Semaphore>,
}

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns::beside(BUSY.clone())
    }

    fn beside(busy: Arc<Semaphore>) -> Turns {
        Turns { even: Mutex::new(Instant::now()), busy }
    }

    /// Runs a call under its time limits. The value that `computing` returns is held while the call computes.
    pub(crate) async fn run<T, C>(
        &self,
        limits: &CallLimits,
        computing: impl Fn() -> C,
        call: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut call = pin!(call);
        let mut computed = Duration::ZERO;
        // A call may get a turn that it does not need any more: if its tenant is not busy by then, it gives the turn back. A call whose
        // future is kept and not polled cannot do this. So each wait ends, and by then a tenant that computes nothing is not busy any more.
        let mut waits = None;
        // Guests yield at every tick of the epoch, so each poll is short, and the time between polls is a wait.
        let metered = poll_fn(|cx| {
            let mut turn = None;
            while turn.is_none() && self.is_busy(Instant::now()) {
                let wait = || Box::pin(timeout(FORGIVEN, self.busy.clone().acquire_owned()));
                turn = ready!(waits.get_or_insert_with(wait).as_mut().poll(cx)).ok();
                waits = None;
            }
            waits = None;
            let _computing = computing();
            let begun = Instant::now();
            let polled = call.as_mut().poll(cx);
            let ended = Instant::now();
            let took = ended - begun;
            self.computed(took, ended);
            computed = computed.saturating_add(took);
            match polled {
                Poll::Ready(value) => Poll::Ready(Ok(value)),
                Poll::Pending if computed > limits.cpu_time => Poll::Ready(Err(Error::CpuTime(limits.cpu_time))),
                Poll::Pending => Poll::Pending,
            }
        });
        let ended = timeout(limits.wall_time, metered).await.unwrap_or(Err(Error::WallTime(limits.wall_time)));
        Span::current().record("computed_seconds", computed.as_secs_f64());
        ended
    }

    fn is_busy(&self, now: Instant) -> bool {
        let even = *self.even.lock().unwrap_or_else(PoisonError::into_inner);
        even.saturating_duration_since(now) > AT_ONCE * PART
    }

    fn computed(&self, time: Duration, now: Instant) {
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let later = (*even).max(now) + time.min(FORGIVEN) * PART;
        *even = later.min(now + FORGIVEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::pending;

    /// Computes in this many polls, each of 10 ms, or longer if the machine is busy.
    async fn compute(polls: u32) {
        for _ in 0..polls {
            let turn = Instant::now();
            while turn.elapsed() < Duration::from_millis(10) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_long_computation_waits_for_its_turn_and_another_tenants_short_one_does_not() {
        let (limits, busy) = (CallLimits::default(), Arc::new(Semaphore::new(1)));
        let (long, short) = (Turns::beside(busy.clone()), Turns::beside(busy.clone()));
        let other = busy.clone().acquire_owned().await.unwrap();
        let mut waits = pin!(long.run(&limits, || (), compute(8)));
        tokio::select! {
            biased;
            _ = &mut waits => panic!("the long computation did not wait"),
            // This ends once the long one waits.
            done = async { compute(10).await; short.run(&limits, || (), compute(0)).await } => assert!(done.is_ok()),
        }
        drop(other);
        assert!(waits.await.is_ok());
        assert_eq!(busy.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_turn_that_is_not_needed_any_more_is_given_back() {
        let (limits, busy) = (CallLimits::default(), Arc::new(Semaphore::new(1)));
        let turns = Turns::beside(busy.clone());
        let other = busy.clone().acquire_owned().await.unwrap();
        let mut call = pin!(turns.run(&limits, || (), async {
            compute(8).await;
            pending::<()>().await;
        }));
        for _ in 0..20 {
            assert!((&mut call).now_or_never().is_none());
        }
        drop(other);
        assert_eq!(busy.available_permits(), 0, "the turn is the call's");
        for _ in 0..20 {
            *turns.even.lock().unwrap() = Instant::now();
            assert!((&mut call).now_or_never().is_none());
        }
        assert_eq!(busy.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_never_given_back_delays_others_only_briefly() {
        let (limits, busy) = (CallLimits::default(), Arc::new(Semaphore::new(1)));
        let _kept = busy.clone().acquire_owned().await.unwrap();
        let (turns, begun) = (Turns::beside(busy), Instant::now());
        *turns.even.lock().unwrap() = begun + FORGIVEN;
        assert!(turns.run(&limits, || (), async {}).await.is_ok());
        assert_eq!(begun.elapsed(), FORGIVEN);
    }

    #[tokio::test]
    async fn waiting_for_a_turn_counts_as_wall_time_and_not_as_cpu_time() {
        let limits = CallLimits { wall_time: Duration::from_millis(100), ..CallLimits::default() };
        let ended = Turns::beside(Arc::new(Semaphore::new(0))).run(&limits, || (), compute(6000)).await;
        assert!(matches!(ended, Err(Error::WallTime(_))));
    }

    /// Whether a tenant that computes for 1 ms in every this many milliseconds is busy after 2 s.
    fn is_busy_with_1_ms_in(every: u64) -> bool {
        let (turns, mut now) = (Turns::new(), Instant::now());
        for _ in 0..2000 / every {
            now += Duration::from_millis(every);
            turns.computed(Duration::from_millis(1), now);
        }
        turns.is_busy(now)
    }

    #[test]
    fn many_short_computations_of_one_tenant_are_a_long_one() {
        assert!(!is_busy_with_1_ms_in(50) && !is_busy_with_1_ms_in(100));
        assert!(is_busy_with_1_ms_in(1) && is_busy_with_1_ms_in(20));
    }

    #[test]
    fn computing_is_forgiven_in_time() {
        let (turns, now) = (Turns::new(), Instant::now());
        turns.computed(AT_ONCE / 2, now);
        assert!(!turns.is_busy(now));
        turns.computed(Duration::from_secs(3600), now);
        assert!(turns.is_busy(now) && !turns.is_busy(now + FORGIVEN));
    }
}
