//! Tenants, to which sandboxes belong: one identity in one cluster, what it may do, and how much.

mod calls;
mod commands;
pub(crate) mod identity;
pub(crate) mod lines;
mod output;
mod quotas;
pub(crate) mod sandboxes;
pub(crate) mod sessions;
pub(crate) mod settings;
mod state;
pub(crate) mod store;
pub(crate) mod stores;

use crate::bindings::PluginPre;
use crate::door::policy::Policy;
use crate::error::Error;
use crate::limits::{Limits, SetLimits};
use crate::sandbox::ctx::{Ctx, CtxBuilder, View};
use crate::sandbox::runtime::Runtime;
use crate::types::RetryPolicy;
use calls::{Loaded, load};
use incluster_core::Server;
use sandboxes::{Reuse, Sandboxes};
use settings::{Settings, TenantBuilder};
use state::State;
use std::fmt;
use std::sync::Arc;
use store::TenantStore;

/// A tenant: an API server, a service account to talk to it with, what may be requested, and how much may be used. It has its own
/// connections. Clones are the same tenant. Dropping the last one removes the tenant; calls under way go on to their end.
#[derive(Clone)]
pub struct Tenant {
    state: Arc<State>,
    own: Sandboxes<Ctx, Loaded>,
    plugin: PluginPre<Ctx>,
}

impl Tenant {
    /// The tenant of the pod that this process runs in, with its own [`Runtime`]. Its calls may request whatever RBAC allows.
    pub fn in_cluster() -> Result<Tenant, Error> {
        Tenant::builder(&Runtime::new()?, "in-cluster").policy(Policy::allow_all()).build()
    }

    /// A builder for a tenant. The name is for logs and metrics.
    pub fn builder(runtime: &Runtime, name: &str) -> TenantBuilder {
        TenantBuilder::new(runtime, name)
    }

    fn of(state: State, plugin: PluginPre<Ctx>) -> Tenant {
        let Settings { limits, retry_policy, .. } = &state.settings;
        let (memory, retry_policy) = (limits.call.memory, *retry_policy);
        let (state, pre) = (Arc::new(state), plugin.clone());
        let own = Sandboxes::with(&state, None, memory, CtxBuilder::build, move |store| {
            Box::pin(load(pre.clone(), store, retry_policy))
        });
        Tenant { state, own, plugin }
    }

    fn derived(&self, change: impl FnOnce(&mut Settings)) -> Tenant {
        let mut settings = self.state.settings.clone();
        change(&mut settings);
        Tenant::of(self.state.derived(settings, None), self.plugin.clone())
    }

    /// Returns this tenant with an additional policy, which can only narrow: the new tenant may request what both policies permit. Both tenants
    /// share their connections and limits: what one uses, the other does not have.
    pub fn with_policy(&self, policy: Policy) -> Tenant {
        Tenant::of(self.state.derived(self.state.settings.clone(), Some(policy)), self.plugin.clone())
    }

    /// Returns this tenant with other limits, which may be wider: all of them, or one group, which leaves the others as they are. If its
    /// [`Limits::tenant`] differ, the new tenant does not share them; if its [`Limits::request`] differ, it has its own connections.
    ///
    /// # Errors
    ///
    /// [`Error::Limits`], if a limit has an unusable value.
    pub fn with_limits(&self, change: impl SetLimits) -> Result<Tenant, Error> {
        let mut limits = self.state.settings.limits;
        change.set(&mut limits);
        limits.check(self.runtime().table_elements())?;
        Ok(self.derived(|settings| settings.limits = limits))
    }

    /// Returns this tenant with another retry policy. Both tenants share their connections and limits.
    pub fn with_retry_policy(&self, retry_policy: RetryPolicy) -> Tenant {
        self.derived(|settings| settings.retry_policy = retry_policy)
    }

    /// Returns this tenant with another reuse policy. Both tenants share their connections and limits.
    pub fn with_reuse(&self, reuse: Reuse) -> Tenant {
        self.derived(|settings| settings.reuse = reuse)
    }

    /// Replaces the tenant's policy at once, including for its sandboxes, for tenants that are derived from it, and for open requests. A
    /// request that is not permitted any more, such as a watch, ends with `denied`, whether or not anybody reads it. A derived tenant may still
    /// request only what the tenants that it is derived from permit, too.
    pub fn set_policy(&self, policy: Policy) {
        self.state.door().permission.set(policy);
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The tenant's name in logs and metrics.
    pub fn name(&self) -> &str {
        &self.state.settings.name
    }

    /// The process's engine and pool.
    pub fn runtime(&self) -> &Runtime {
        &self.state.settings.runtime
    }

    /// The address of the API server.
    pub fn server(&self) -> &Server {
        &self.state.door().server
    }

    /// The tenant's policy. For a derived tenant, only its own.
    pub fn policy(&self) -> Arc<Policy> {
        self.state.door().permission.policy()
    }

    /// What the tenant may use.
    pub fn limits(&self) -> &Limits {
        self.state.limits()
    }

    /// How often, and for how long, the tenant's calls are tried.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.state.settings.retry_policy
    }

    /// Makes a store for the tenant's components, with a place in the pool and the tenant's limits. `data` makes the store's data from the
    /// sandbox's state and whatever else the embedder's host functions need. This waits for a place.
    ///
    /// # Errors
    ///
    /// [`Error::Instances`], if the tenant has as many sandboxes as it may; [`Error::Full`], if no place became free within
    /// [`CallLimits::wall_time`](crate::CallLimits::wall_time).
    pub async fn store<T: View + 'static>(&self, data: impl FnOnce(CtxBuilder) -> T) -> Result<TenantStore<T>, Error> {
        let hostcall_bytes = self.limits().call.hostcall_bytes;
        let make = self.state.run_in_place(async |waiting| TenantStore::new(&self.state, waiting, hostcall_bytes, data).await);
        self.state.told(None, false, make).await
    }

    /// The state of one sandbox, for a store that you make in another way than by [`Tenant::store`]. [`limit`](crate::limit) says what else
    /// you must do.
    pub fn ctx(&self) -> Result<CtxBuilder, Error> {
        CtxBuilder::new(&self.state.given)
    }

    /// Runs a call in a store of your own under [`CallLimits::wall_time`](crate::CallLimits::wall_time) and
    /// [`CallLimits::cpu_time`](crate::CallLimits::cpu_time). The tenant's own calls, and those of [`Sandboxes`], do this themselves.
    ///
    /// A tenant that computes for more than a fiftieth of one processor's time, and for more than 20 ms at once, takes turns of 2 ms with
    /// other such tenants, on half of the processors. The other half is for tenants that compute little. Once the tenant rests, its
    /// computing is forgiven within two seconds.
    pub async fn run<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        self.state.run(call).await
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("name", &self.name()).field("server", self.server()).finish_non_exhaustive()
    }
}
