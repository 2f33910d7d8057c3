//! The places of a pool, and the warm sandboxes that give them up.

use crate::figures::{self, Counted};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
        // Only when the vector would grow otherwise, so that thousands of holders are not gone through for each new one.
        if holders.len() == holders.capacity() {
            holders.retain(|holder| holder.strong_count() > 0);
        }
        holders.push(holder);
    }

    fn holders(&self) -> Vec<Arc<dyn HoldsWarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    fn are_any(&self) -> bool {
        self.holders().iter().any(|holder| holder.idle_since().is_some())
    }

    /// Ends the sandbox that has been idle for the longest time. Returns whether there was one.
    pub(crate) fn end_oldest(&self) -> bool {
        let holders = self.holders();
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
    queue: Mutex<Queue>,
    pub(crate) warm: WarmSandboxes,
}

/// Those who wait for a place.
#[derive(Default)]
struct Queue {
    waiting: usize,
    /// For how many of them a warm sandbox has yet to make way. If one of them leaves, this may be one too many, and never too few.
    owed: usize,
}

impl Room {
    pub(crate) fn new(places: u16) -> Room {
        Room { places: Arc::new(Semaphore::new(places.into())), queue: Mutex::default(), warm: WarmSandboxes::default() }
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
        let mut place = pin!(self.places.clone().acquire_owned());
        // In the semaphore's queue first: otherwise, whoever comes later could take the place of the sandbox that makes way.
        let _waiting = tokio::select! {
            biased;
            place = &mut place => return place.ok(),
            waiting = async { Waiting::begin(self) } => waiting,
        };
        self.make_way();
        place.await.ok()
    }

    /// Ends a warm sandbox if one has yet to make way for somebody who waits. To be called after a sandbox has become warm.
    pub(crate) fn make_way(&self) {
        while self.claim() {
            if self.warm.end_oldest() {
                return;
            }
            let mut queue = self.queue();
            queue.owed = queue.waiting.min(queue.owed + 1);
            drop(queue);
            // One that became warm in between found nothing owed.
            if !self.warm.are_any() {
                return;
            }
        }
    }

    /// Whether a warm sandbox has yet to make way, which the caller now sees to.
    fn claim(&self) -> bool {
        let mut queue = self.queue();
        let is_owed = queue.owed > 0;
        queue.owed = queue.owed.saturating_sub(1);
        is_owed
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all places are free.
    pub(crate) async fn all_free(&self, places: u16) {
        let _ = self.places.acquire_many(places.into()).await;
    }
}

/// One who waits, until this is dropped.
struct Waiting<'a>(&'a Room);

impl Waiting<'_> {
    fn begin(room: &Room) -> Waiting<'_> {
        let mut queue = room.queue();
        queue.waiting += 1;
        queue.owed += 1;
        drop(queue);
        Waiting(room)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.waiting = queue.waiting.saturating_sub(1);
        queue.owed = queue.owed.min(queue.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    /// Warm sandboxes, and their places.
    #[derive(Default)]
    struct Shelf {
        permits: Mutex<Vec<Permit>>,
        /// What another thread does when the shelf is looked at next, and just after a sandbox has ended.
        when_looked_at: Mutex<Option<Box<dyn FnOnce() + Send>>>,
        when_ended: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl Shelf {
        fn put(&self, permit: Permit) {
            self.permits.lock().unwrap().push(permit);
        }

        fn take(&self) -> Option<Permit> {
            self.permits.lock().unwrap().pop()
        }

        fn len(&self) -> usize {
            self.permits.lock().unwrap().len()
        }
    }

    impl HoldsWarm for Shelf {
        fn idle_since(&self) -> Option<Instant> {
            let idle = (self.len() > 0).then(Instant::now);
            let meanwhile = self.when_looked_at.lock().unwrap().take();
            meanwhile.into_iter().for_each(|act| act());
            idle
        }

        fn end_one(&self) -> bool {
            let ended = self.take().is_some();
            let meanwhile = self.when_ended.lock().unwrap().take();
            meanwhile.into_iter().for_each(|act| act());
            ended
        }
    }

    fn holder(shelf: &Arc<Shelf>) -> Weak<dyn HoldsWarm> {
        Arc::downgrade(&(shelf.clone() as Arc<dyn HoldsWarm>))
    }

    /// A pool whose places are all in use, a shelf for sandboxes that become warm, and the sandboxes.
    fn full(places: u16) -> (Arc<Room>, Arc<Shelf>, Vec<Permit>) {
        let (room, shelf) = (Arc::new(Room::new(places)), Arc::<Shelf>::default());
        room.warm.add(holder(&shelf));
        let permits = (0..places).map(|_| now(pin!(room.admit())).unwrap()).collect();
        (room, shelf, permits)
    }

    /// Polls a future once.
    fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_warm_sandbox_makes_way_for_each_who_waits_however_late_they_notice() {
        let (room, shelf, permits) = full(3);
        let mut slow = pin!(room.admit());
        assert!(now(slow.as_mut()).is_none(), "nothing is warm");
        // All become warm, one after another, before the one who waits is polled again.
        for permit in permits {
            shelf.put(permit);
            room.make_way();
        }
        assert_eq!(shelf.len(), 2);
        assert!(now(slow).is_some());
    }

    #[test]
    fn who_waits_no_longer_ends_nothing() {
        let (room, shelf, mut permits) = full(1);
        assert!(now(pin!(room.admit())).is_none());
        shelf.put(permits.remove(0));
        room.make_way();
        assert_eq!(shelf.len(), 1);
    }

    #[test]
    fn whoever_comes_later_does_not_take_the_place() {
        let (room, shelf, permits) = full(1);
        permits.into_iter().for_each(|permit| shelf.put(permit));
        let another = room.clone();
        *shelf.when_ended.lock().unwrap() = Some(Box::new(move || assert!(now(pin!(another.admit())).is_none())));
        let mut first = pin!(room.admit());
        assert!(now(first.as_mut()).is_some() || now(first).is_some());
    }

    #[test]
    fn what_becomes_warm_during_a_search_makes_way() {
        let (room, shelf, mut permits) = full(1);
        let (another, warm) = (room.clone(), shelf.clone());
        let permit = permits.remove(0);
        *shelf.when_looked_at.lock().unwrap() = Some(Box::new(move || {
            warm.put(permit);
            another.make_way();
        }));
        let mut waits = pin!(room.admit());
        assert!(now(waits.as_mut()).is_some() || now(waits).is_some());
    }

    #[test]
    fn each_who_waits_has_a_turn() {
        let (room, shelf, permits) = full(1);
        let (mut first, mut second) = (pin!(room.admit()), pin!(room.admit()));
        assert!(now(first.as_mut()).is_none() && now(second.as_mut()).is_none());
        permits.into_iter().for_each(|permit| shelf.put(permit));
        room.make_way();
        assert!(now(second.as_mut()).is_none());
        // What the first one held becomes warm in turn.
        shelf.put(now(first).unwrap());
        room.make_way();
        assert!(now(second).is_some());
    }

    #[test]
    fn holders_that_have_gone_are_forgotten() {
        let (warm, stays) = (WarmSandboxes::default(), Arc::<Shelf>::default());
        warm.add(holder(&stays));
        for _ in 0..1000 {
            warm.add(holder(&Arc::default()));
            assert!(warm.0.lock().unwrap().len() < 10);
        }
        assert_eq!(Arc::weak_count(&stays), 1);
    }
}
