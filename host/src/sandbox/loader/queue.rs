//! The queue for compiling: a number of components at once, and one of each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The queue of components that wait for a place. A tenant has one place in the queue, however many components it has: its others wait
/// behind that one, and keep no other tenant waiting.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    tenants: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place for compiling, until this is dropped.
pub(crate) struct Place {
    /// Both permits are `None` if the semaphores were closed, which they never are.
    _place: Option<OwnedSemaphorePermit>,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Queue {
    /// A queue for this many places.
    pub(crate) fn new(places: usize) -> Queue {
        Queue { places: Arc::new(Semaphore::new(places)), tenants: Mutex::default() }
    }

    /// Waits for a place for this tenant.
    pub(crate) async fn enter(&self, tenant: &str) -> Place {
        let turn = self.tenant(tenant).acquire_owned().await.ok();
        Place { _place: self.places.clone().acquire_owned().await.ok(), _turn: turn }
    }

    fn tenant(&self, name: &str) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit keeps its semaphore alive, so this removes only semaphores that nobody holds or waits for.
        tenants.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = tenants.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(1));
        tenants.insert(name.into(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_in(waits: std::pin::Pin<&mut impl Future<Output = Place>>) -> Option<Place> {
        match waits.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_tenant_with_many_keeps_no_other_waiting() {
        let queue = Queue::new(2);
        let (mut first, mut second, mut third) =
            (pin!(queue.enter("many")), pin!(queue.enter("many")), pin!(queue.enter("many")));
        let (mut other, mut another) = (pin!(queue.enter("other")), pin!(queue.enter("another")));
        let place = is_in(first.as_mut()).expect("the first has a place");
        assert!(is_in(second.as_mut()).is_none() && is_in(third.as_mut()).is_none(), "one component of a tenant at once");
        let beside = is_in(other.as_mut()).expect("another tenant has the second place");
        assert!(is_in(another.as_mut()).is_none(), "there are two places");
        drop(place);
        // The components of `many` came first, and yet are behind.
        assert!(is_in(second.as_mut()).is_none());
        let last = is_in(another.as_mut()).expect("the next tenant is served");
        drop(beside);
        let place = is_in(second.as_mut()).expect("then it is the turn of `many` again");
        drop((last, place));
        drop(is_in(third.as_mut()).expect("and again"));
        drop(queue.enter("new"));
        let _now = queue.tenant("now");
        assert_eq!(queue.tenants.lock().unwrap().len(), 1, "tenants that are done are forgotten");
    }
}
