//! The places of a pool, and the warm sandboxes that give them up.

use crate::figures::{self, Counted};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Room for one sandbox in a [`Runtime`](crate::Runtime)'s pool, until this is dropped.
#[must_use = "the room is given back when this is dropped"]
pub struct Permit {
    /// `None` if the semaphore were closed, which it never is.
    _permit: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

/// What may hold warm sandboxes.
pub(crate) trait HoldsWarm: Send + Sync {
    /// When the last call ended of the sandbox that has been idle for the longest time; `None` if none is warm.
    fn idle_since(&self) -> Option<Instant>;

    /// Ends that sandbox. Returns whether there was one.
    fn end_one(&self) -> bool;
}

/// All that may hold warm sandboxes in a place where they must not keep a call out.
#[derive(Default)]
pub(crate) struct WarmSandboxes(Mutex<Vec<Weak<dyn HoldsWarm>>>);

impl WarmSandboxes {
    pub(crate) fn add(&self, holder: Weak<dyn HoldsWarm>) {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(holder);
    }

    /// Ends the sandbox that has been idle for the longest time. Returns whether there was one.
    pub(crate) fn end_oldest(&self) -> bool {
        let holders = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        loop {
            let oldest = holders.iter().filter_map(|holder| Some((holder.idle_since()?, holder))).min_by_key(|(since, _)| *since);
            match oldest {
                None => return false,
                Some((_, holder)) if holder.end_one() => return true,
                // A call has just taken it.
                Some(_) => {}
            }
        }
    }
}

/// The places of a pool.
pub(crate) struct Room {
    places: Arc<Semaphore>,
    /// How many wait for a place.
    waiting: AtomicUsize,
    pub(crate) warm: WarmSandboxes,
}

impl Room {
    pub(crate) fn new(places: u16) -> Room {
        Room { places: Arc::new(Semaphore::new(places.into())), waiting: AtomicUsize::new(0), warm: WarmSandboxes::default() }
    }

    /// Waits for a place. A warm sandbox that is idle gives up its own.
    pub(crate) async fn admit(&self) -> Permit {
        let permit = match self.places.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => self.wait().await,
        };
        Permit { _permit: permit, _counted: Counted::one(metrics::gauge!(figures::PLACES_IN_USE)) }
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        // First, so that a sandbox that becomes warm from now on makes way by itself.
        let _waiting = Waiting::begin(&self.waiting);
        // Its place goes to whoever has waited the longest; each who waits has ended one, or there was none.
        self.warm.end_oldest();
        self.places.clone().acquire_owned().await.ok()
    }

    /// Ends a warm sandbox if somebody waits for a place. To be called after a sandbox has become warm.
    pub(crate) fn make_way(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.warm.end_oldest();
        }
    }

    /// Waits until all places are free.
    pub(crate) async fn all_free(&self, places: u16) {
        let _ = self.places.acquire_many(places.into()).await;
    }
}

/// Counts one who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(waiting: &AtomicUsize) -> Waiting<'_> {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
