//! How many requests a tenant may make, together with all tenants that are derived from it.

use super::Refusal;
use crate::limits::TenantLimits;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is left of a tenant's request rate and open streams.
pub(crate) struct RequestQuota {
    per_second: u32,
    rate: DefaultDirectRateLimiter,
    most_streams: u32,
    streams: Arc<Semaphore>,
}

impl RequestQuota {
    pub(crate) fn new(limits: &TenantLimits) -> RequestQuota {
        let TenantLimits { requests_per_second: per_second, request_burst, open_streams: most_streams, .. } = *limits;
        // Limits are never zero, because they have been checked.
        let [rate, burst] = [per_second, request_burst].map(|limit| NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN));
        let rate = RateLimiter::direct(Quota::per_second(rate).allow_burst(burst));
        RequestQuota { per_second, rate, most_streams, streams: Arc::new(Semaphore::new(most_streams as usize)) }
    }

    /// Counts a request, even if it is denied later: a denial writes a line to the log.
    pub(super) fn count(&self) -> Result<(), Refusal> {
        match self.rate.check().is_err() {
            true => Err(Refusal::Rate(self.per_second)),
            false => Ok(()),
        }
    }

    /// Takes a place for one more open stream.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.streams.clone().try_acquire_owned().map_err(|_| Refusal::Streams(self.most_streams))
    }
}
