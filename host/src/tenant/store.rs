//! A store of an embedder's own, bound to its place in the pool and its limits.

use super::state::{State, Waiting};
use crate::error::Error;
use crate::figures::{self, Counted};
use crate::sandbox::ctx::{CtxBuilder, View, ended, limit};
use crate::sandbox::room::Permit;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;

/// A store for one tenant's components: [`Tenant::store`](crate::Tenant::store). Until it is dropped, it has its place in the pool and counts as
/// one of its tenant's [`TenantLimits::instances`](crate::TenantLimits::instances). What runs in it is subject to the tenant's limits.
pub struct TenantStore<T: 'static> {
    store: Store<T>,
    state: Arc<State>,
    /// Whether a call failed, or was dropped before its end: what is in the store may be in any state.
    is_over: bool,
    _counted: Counted,
    // Dropped last: the store needs its place until then.
    _room: Permit,
    instance: Option<OwnedSemaphorePermit>,
}

impl<T: View + 'static> TenantStore<T> {
    pub(crate) async fn new(
        state: &Arc<State>,
        waiting: &Waiting,
        hostcall_bytes: usize,
        data: impl FnOnce(CtxBuilder) -> T,
    ) -> Result<TenantStore<T>, Error> {
        let instance = state.quotas.begin_instance(&state.limits().tenant)?;
        let runtime = &state.settings.runtime;
        let room = waiting.admit(runtime).await;
        let data = data(CtxBuilder::new(&state.given)?);
        let mut store = Store::new(runtime.engine(), data);
        limit(&mut store);
        store.set_hostcall_fuel(hostcall_bytes);
        let counted = Counted::one(metrics::gauge!(figures::SANDBOXES, "tenant" => state.settings.name.clone()));
        Ok(TenantStore { store, state: state.clone(), is_over: false, _counted: counted, _room: room, instance: Some(instance) })
    }

    /// Does not count as one of its tenant's instances any more, because it is about to be dropped.
    pub(crate) fn give_up_instance(&mut self) {
        self.instance = None;
    }

    /// The total size of the linear memories of the store's guests, in bytes.
    pub(crate) fn memory(&mut self) -> usize {
        self.store.data_mut().incluster().memory()
    }

    /// Records the size of the memories in the call's span, if they grew. A store that is dropped does so by itself.
    pub(crate) fn record_growth(&mut self) {
        self.store.data_mut().incluster().record_growth();
    }

    /// Runs a call in the store, or makes an instance. A call that computes for too long, takes too long, or asks for too much is ended.
    ///
    /// After an error, or if the call was dropped before its end, the store is over: every further call fails with [`Error::Over`].
    pub async fn run<R>(&mut self, call: impl AsyncFnOnce(&mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let state = self.state.clone();
        state.told(None, false, self.try_run(call)).await
    }

    /// Like [`TenantStore::run`], but leaves metrics and spans to the caller.
    pub(crate) async fn try_run<R>(&mut self, call: impl AsyncFnOnce(&mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let state = self.state.clone();
        let recorded = Recorded(self);
        state.run(Box::pin(recorded.0.call(call))).await?
    }

    /// Like [`TenantStore::try_run`], but the call may wait for as long as it takes.
    pub(crate) async fn wait<R>(&mut self, call: impl AsyncFnOnce(&mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let state = self.state.clone();
        let recorded = Recorded(self);
        state.wait(Box::pin(recorded.0.call(call))).await?
    }

    /// Like [`TenantStore::try_run`], but under the time limits that the caller applies.
    pub(crate) async fn call<R>(&mut self, call: impl AsyncFnOnce(&mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        if std::mem::replace(&mut self.is_over, true) {
            return Err(Error::Over);
        }
        self.store.data_mut().incluster().begin_call();
        let answer = call(&mut self.store).await.map_err(|trap| ended(self.store.data_mut().incluster(), trap))?;
        self.is_over = false;
        Ok(answer)
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The store's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The store's data, to change it.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }
}

/// Records the growth of a store that outlives its call, even if the call is dropped.
struct Recorded<'a, T: View + 'static>(&'a mut TenantStore<T>);

impl<T: View> Drop for Recorded<'_, T> {
    fn drop(&mut self) {
        self.0.record_growth();
    }
}

impl<T> fmt::Debug for TenantStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantStore").field("tenant", &self.state.settings.name).finish_non_exhaustive()
    }
}
