//! How much of a tenant's limits is in use, together with all tenants that are derived from it.

use crate::door::RequestQuota;
use crate::error::Error;
use crate::limits::TenantLimits;
use crate::sandbox::room::WarmSandboxes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is left of a tenant's sandboxes, calls and requests.
pub(crate) struct Quotas {
    instances: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    /// What holds warm sandboxes that count as instances.
    pub(crate) warm: WarmSandboxes,
    pub(crate) requests: Arc<RequestQuota>,
}

impl Quotas {
    pub(crate) fn new(limits: &TenantLimits) -> Quotas {
        Quotas {
            instances: Arc::new(Semaphore::new(limits.instances as usize)),
            calls: Arc::new(Semaphore::new(limits.concurrent_calls as usize)),
            warm: WarmSandboxes::default(),
            requests: Arc::new(RequestQuota::new(limits)),
        }
    }

    /// Counts one more sandbox. A warm one that is idle makes way.
    pub(crate) fn begin_instance(&self, limits: &TenantLimits) -> Result<OwnedSemaphorePermit, Error> {
        loop {
            match self.instances.clone().try_acquire_owned() {
                Ok(permit) => return Ok(permit),
                Err(_) if self.warm.end_oldest() => {}
                Err(_) => return Err(Error::Instances(limits.instances)),
            }
        }
    }

    pub(crate) fn begin_call(&self, limits: &TenantLimits) -> Result<OwnedSemaphorePermit, Error> {
        self.calls.clone().try_acquire_owned().map_err(|_| Error::ConcurrentCalls(limits.concurrent_calls))
    }
}
