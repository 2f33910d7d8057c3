//! Whose a sandbox is: one identity in one cluster, what it may do, and how much.

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
use crate::limits::Limits;
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

/// An API server, a service account to talk to it with, what may be asked for, and how much may be used. It has connections of
/// its own. Clones are the same tenant; it is removed by dropping the last one, and what is under way goes on to its end.
#[derive(Clone)]
pub struct Tenant {
    state: Arc<State>,
    own: Sandboxes<Ctx, Loaded>,
    plugin: PluginPre<Ctx>,
}

impl Tenant {
    /// The pod that this process runs in, with a [`Runtime`] of its own. Its calls may ask for whatever RBAC allows.
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

    /// Returns this tenant with a policy of its own, which can only narrow: it may ask for what both permit. It shares its connections
    /// and its limits: what one uses, the other does not have.
    pub fn with_policy(&self, policy: Policy) -> Tenant {
        Tenant::of(self.state.derived(self.state.settings.clone(), Some(policy)), self.plugin.clone())
    }

    /// Returns this tenant with other limits. Where those of the tenant are others, it shares them with nobody; where those of requests are,
    /// it has connections of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Limits`], where one makes no sense.
    pub fn with_limits(&self, limits: impl Into<Limits>) -> Result<Tenant, Error> {
        let limits = limits.into();
        limits.check(self.runtime().table_elements())?;
        Ok(self.derived(|settings| settings.limits = limits))
    }

    /// Returns this tenant with another retry policy. It shares its connections and its limits.
    pub fn with_retry_policy(&self, retry_policy: RetryPolicy) -> Tenant {
        self.derived(|settings| settings.retry_policy = retry_policy)
    }

    /// Returns this tenant with another policy of reuse. It shares its connections and its limits.
    pub fn with_reuse(&self, reuse: Reuse) -> Tenant {
        self.derived(|settings| settings.reuse = reuse)
    }

    /// Replaces the tenant's policy, at once: also for its sandboxes, those of tenants that are derived from it, and its open requests. A
    /// request that is not permitted any more, such as a watch, ends with `denied`, whether or not anybody reads it. Of a tenant that is derived, it
    /// is still what the others before it permit, too.
    pub fn set_policy(&self, policy: Policy) {
        self.state.door().permission.set(policy);
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What it is called in logs and metrics.
    pub fn name(&self) -> &str {
        &self.state.settings.name
    }

    /// The process's engine and pool.
    pub fn runtime(&self) -> &Runtime {
        &self.state.settings.runtime
    }

    /// Where the API server is.
    pub fn server(&self) -> &Server {
        &self.state.door().server
    }

    /// What it may ask for; of a tenant that is derived, its own part of it.
    pub fn policy(&self) -> Arc<Policy> {
        self.state.door().permission.policy()
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        self.state.limits()
    }

    /// How often, and for how long, its calls are tried.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.state.settings.retry_policy
    }

    /// A store for components of the tenant's, with its place in the pool and its limits. `data` makes what is in it, of the sandbox's
    /// state and whatever else the embedder's host functions need. It waits for a place.
    ///
    /// # Errors
    ///
    /// [`Error::Instances`], where the tenant has as many sandboxes as it may; [`Error::Full`], where no place became free in
    /// [`CallLimits::wall_time`](crate::CallLimits::wall_time).
    pub async fn store<T: View + 'static>(&self, data: impl FnOnce(CtxBuilder) -> T) -> Result<TenantStore<T>, Error> {
        let hostcall_bytes = self.limits().call.hostcall_bytes;
        let make = self.state.run_in_place(async |waiting| TenantStore::new(&self.state, waiting, hostcall_bytes, data).await);
        self.state.told(None, false, make).await
    }

    /// The state of one sandbox, for a store that is made in another way than by [`Tenant::store`]. [`limit`](crate::limit) says what it
    /// takes.
    pub fn ctx(&self) -> Result<CtxBuilder, Error> {
        CtxBuilder::new(&self.state.given)
    }

    /// Runs a call of a store of your own under [`CallLimits::wall_time`](crate::CallLimits::wall_time) and [`CallLimits::cpu_time`](crate::CallLimits::cpu_time). The tenant's own calls, and those
    /// of [`Sandboxes`], do so themselves.
    ///
    /// A tenant that computes for more than a fiftieth of the time of one processor, and more than 20 ms at once, takes turns of
    /// 2 ms with others like it, on half of the processors: the other half is for those who compute little. Once it rests, that is
    /// forgiven within two seconds.
    pub async fn run<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        self.state.run(call).await
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("name", &self.name()).field("server", self.server()).finish_non_exhaustive()
    }
}
