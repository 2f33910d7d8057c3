//! The watch of a store, which begins again for as long as the store is in use.

use super::super::Tenant;
use super::Shared;
use super::object::{Next, Object};
use super::table::Full;
use crate::closing::Closing;
use crate::error::Error;
use crate::figures::TARGET;
use crate::types::{self, WatchOptions};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The longest pause after a first failure, and after many. Before each pause, the client has already retried the request.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Keeps a store up to date until its runtime ends.
pub(super) async fn follow<T: Object>(tenant: Tenant, place: String, options: WatchOptions, over: Over<T>) {
    let shared = &over.0;
    // What is logged says which of several collections in a namespace it is.
    let selectors = [("labelSelector", &options.label_selector), ("fieldSelector", &options.field_selector)];
    let selectors = selectors.iter().filter_map(|(name, selector)| Some(format!("?{name}={}", selector.as_ref()?)));
    let shown = std::iter::once(place.clone()).chain(selectors).collect::<String>();
    let mut backoff = Backoff { failures: 0, hashing: RandomState::new(), closing: tenant.runtime().closing().clone() };
    loop {
        shared.begin();
        let ended = match T::watch(&tenant, &place, &options).await {
            Ok(watch) => read(watch, &shown, shared, &mut backoff).await,
            Err(error) => Err(error),
        };
        match ended {
            Err(Error::ShuttingDown) => return,
            Err(error) => failed(shared, &shown, &error),
            // The watch begins again soon, and after a longer pause each time if it keeps expiring.
            Ok(End::Expired) => shared.failed("the watch has expired, and begins again".into()),
            Ok(End::Full(full)) => {
                let tenant = &*shared.tenant;
                tracing::warn!(target: TARGET, tenant, place = shown, %full, "a store is out of date: its collection exceeds a limit");
                shared.failed(full.to_string());
            }
        }
        backoff.pause().await;
    }
}

/// Why another watch must begin.
enum End {
    /// The watch has expired.
    Expired,
    /// The collection is too large.
    Full(Full),
}

/// Takes a watch's events until the watch ends.
async fn read<T: Object>(mut watch: T::Watch, place: &str, shared: &Shared<T>, backoff: &mut Backoff) -> Result<End, Error> {
    loop {
        match T::next(&mut watch).await {
            Ok(Next::Event(event)) => {
                if let Err(full) = shared.take(event) {
                    return Ok(End::Full(full));
                }
                if shared.lock().table.is_followed() {
                    backoff.failures = 0;
                }
            }
            Ok(Next::Other) => {}
            Ok(Next::Unreadable(why)) => {
                let tenant = &*shared.tenant;
                tracing::warn!(target: TARGET, tenant, place, why, "a store leaves out an object that cannot be read");
                shared.damaged(why);
            }
            Ok(Next::Ended) => return Ok(End::Expired),
            // The events in between are lost: the next watch begins with the existing objects.
            Err(error) if matches!(error.kubernetes(), Some(types::Error::Expired(_))) => return Ok(End::Expired),
            // The next watch will show what happened to that object.
            Err(error) if matches!(error.kubernetes(), Some(types::Error::MalformedResponse(_))) => {
                failed(shared, place, &error);
                shared.damaged(error.to_string());
                backoff.pause().await;
            }
            // Objects that the tenant may not request must not be shown, either.
            Err(error) if is_denied(&error) => return Err(error),
            // The watch continues where it was.
            Err(error @ Error::Kubernetes(_)) => {
                failed(shared, place, &error);
                backoff.pause().await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn failed<T: Object>(shared: &Shared<T>, place: &str, error: &Error) {
    let tenant = &*shared.tenant;
    tracing::warn!(target: TARGET, tenant, place, %error, "a store is out of date: its watch failed, and is tried again");
    if is_denied(error) {
        shared.forget();
    }
    shared.failed(error.to_string());
}

/// Whether the tenant's policy denied the request. (A request that RBAC forbids is a failure like any other: the known objects stay.)
fn is_denied(error: &Error) -> bool {
    matches!(error.kubernetes(), Some(types::Error::Denied(_)))
}

/// How long to pause before another attempt.
struct Backoff {
    failures: u32,
    hashing: RandomState,
    closing: Closing,
}

impl Backoff {
    async fn pause(&mut self) {
        self.failures = self.failures.saturating_add(1);
        // A watch that pauses holds a sandbox, which a shutdown waits for. Its next call says that the runtime shuts down.
        tokio::select! {
            () = sleep(length(self.failures, self.hashing.hash_one(Instant::now()))) => {}
            () = self.closing.begun() => {}
        }
    }
}

/// The length of a pause: a random time between half of its maximum and its maximum, which doubles with each failure. So watches that
/// failed together do not all come back together.
fn length(failures: u32, random: u64) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    most / 2 + Duration::from_micros(random % (most.as_micros() as u64 / 2 + 1))
}

/// Marks the store as over when this is dropped, even if the runtime ends or this task panics.
pub(super) struct Over<T: Object>(pub(super) Arc<Shared<T>>);

impl<T: Object> Drop for Over<T> {
    fn drop(&mut self) {
        self.0.over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_longer_each_time_and_random() {
        for (failures, most) in [(1, 250), (2, 500), (3, 1000), (8, 30_000), (u32::MAX, 30_000)] {
            let most = Duration::from_millis(most);
            assert_eq!(length(failures, 0), most / 2);
            assert!((0..1000).map(|random| length(failures, random << 40 | random)).all(|time| time >= most / 2 && time <= most));
        }
        assert_ne!(length(3, 1), length(3, 2));
    }
}
