//! Sandboxes of one component for one tenant: a fresh one for each call, or warm ones that are used again.

use crate::ctx::{CtxBuilder, View, ended, limit};
use crate::identity::Identity;
use crate::{Error, Permit, Tenant};
use serde::Deserialize;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::Store;

/// Whether a sandbox serves more than one call. By default, none does: what a call leaves in a guest's memory, the next call
/// would find.
///
/// In a configuration file: `{kept: 4, calls: 1000, idleTime: 1m}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reuse {
    /// As many sandboxes are kept for the calls to come. None by default.
    pub kept: usize,
    /// After so many calls a sandbox ends.
    pub calls: u32,
    /// After so long without a call a sandbox ends.
    #[serde(with = "crate::limits::humantime_text")]
    pub idle_time: Duration,
}

/// The sandboxes of one component, for one tenant. Clones are the same.
///
/// `T` is the data of their stores: [`Ctx`](crate::Ctx), or what has one in it. `I` is what the component's bindings make of an instance.
/// One that trapped, exceeded a limit, or whose call was dropped before its end, is never used again.
pub struct Sandboxes<T: 'static, I>(Arc<Inner<T, I>>);

struct Inner<T: 'static, I> {
    identity: Arc<Identity>,
    data: Box<Data<T>>,
    instantiate: Box<Instantiate<T, I>>,
    /// Where it is not the limit for extensions: what guests may hand over in one call.
    hostcall_bytes: usize,
    warm: Mutex<Warm<T, I>>,
}

struct Warm<T: 'static, I> {
    sandboxes: Vec<Sandbox<T, I>>,
    /// Whether somebody ends those that are idle for too long.
    is_swept: bool,
}

type Data<T> = dyn Fn(CtxBuilder<'_>) -> Result<T, Error> + Send + Sync;

type Instantiate<T, I> = dyn for<'a> Fn(&'a mut Store<T>) -> Instantiating<'a, I> + Send + Sync;

/// An instance to come.
pub type Instantiating<'a, I> = Pin<Box<dyn Future<Output = wasmtime::Result<I>> + Send + 'a>>;

impl<T: View + Send + 'static, I: Send + 'static> Sandboxes<T, I> {
    /// Sandboxes for a tenant. `data` makes the data of each new store; `instantiate` the instance in it,
    /// by the `Pre` of the component's bindings.
    pub fn new(
        tenant: &Tenant,
        data: impl Fn(CtxBuilder<'_>) -> Result<T, Error> + Send + Sync + 'static,
        instantiate: impl for<'a> Fn(&'a mut Store<T>) -> Instantiating<'a, I> + Send + Sync + 'static,
    ) -> Sandboxes<T, I> {
        let identity = tenant.identity().clone();
        let hostcall_bytes = identity.limits().hostcall_bytes;
        Sandboxes::with(identity, hostcall_bytes, data, instantiate)
    }

    pub(crate) fn with(
        identity: Arc<Identity>,
        hostcall_bytes: usize,
        data: impl Fn(CtxBuilder<'_>) -> Result<T, Error> + Send + Sync + 'static,
        instantiate: impl for<'a> Fn(&'a mut Store<T>) -> Instantiating<'a, I> + Send + Sync + 'static,
    ) -> Sandboxes<T, I> {
        let (data, instantiate) = (Box::new(data), Box::new(instantiate));
        let warm = Mutex::new(Warm { sandboxes: Vec::new(), is_swept: false });
        Sandboxes(Arc::new(Inner { identity, data, instantiate, hostcall_bytes, warm }))
    }

    /// Makes a call in one of them, under the tenant's [`Limits`](crate::Limits).
    pub async fn call<R>(&self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let begun = Instant::now();
        let answer = self.try_call(call).await;
        self.0.identity.tell(begun.elapsed(), answer.as_ref().err());
        answer
    }

    /// The same, for whoever tells of it.
    pub(crate) async fn try_call<R>(&self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let identity = &self.0.identity;
        let run = async {
            let _running = identity.begin_call()?;
            let mut sandbox = self.sandbox().await?;
            let answer = sandbox.call(call).await?;
            self.keep(sandbox);
            Ok(answer)
        };
        identity.run(run).await?
    }

    /// A sandbox for as long as it is wanted: for what has a state, such as a list or a watch.
    pub async fn open(&self) -> Result<Sandbox<T, I>, Error> {
        self.0.identity.run(self.sandbox()).await?
    }

    /// How many are warm: kept, and not in use.
    pub fn warm(&self) -> usize {
        self.0.lock().sandboxes.len()
    }

    async fn sandbox(&self) -> Result<Sandbox<T, I>, Error> {
        let inner = &self.0;
        if let Some(warm) = inner.lock().sandboxes.pop() {
            return Ok(warm);
        }
        let instance = inner.identity.begin_instance()?;
        let room = inner.identity.settings.runtime.admit().await;
        let data = (inner.data)(CtxBuilder::new(&inner.identity))?;
        let mut store = Store::new(inner.identity.settings.runtime.engine(), data);
        limit(&mut store);
        store.set_hostcall_fuel(inner.hostcall_bytes);
        match (inner.instantiate)(&mut store).await {
            Ok(guest) => Ok(Sandbox {
                store,
                guest,
                identity: inner.identity.clone(),
                calls: 0,
                idle_since: Instant::now(),
                _room: room,
                _instance: instance,
            }),
            Err(trap) => Err(ended(store.data_mut().incluster(), trap)),
        }
    }

    fn keep(&self, mut sandbox: Sandbox<T, I>) {
        let Reuse { kept, calls, idle_time } = self.0.identity.settings.reuse;
        let mut warm = self.0.lock();
        if warm.sandboxes.len() < kept && sandbox.calls < calls && !idle_time.is_zero() {
            sandbox.idle_since = Instant::now();
            warm.sandboxes.push(sandbox);
            if !mem::replace(&mut warm.is_swept, true) {
                tokio::spawn(sweep(Arc::downgrade(&self.0), idle_time));
            }
        }
    }
}

impl<T, I> Inner<T, I> {
    fn lock(&self) -> MutexGuard<'_, Warm<T, I>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends sandboxes that are idle for too long, until there are none.
async fn sweep<T, I>(inner: Weak<Inner<T, I>>, idle_time: Duration) {
    let mut wake = Instant::now() + idle_time;
    loop {
        tokio::time::sleep_until(wake).await;
        let Some(inner) = inner.upgrade() else { return };
        let mut warm = inner.lock();
        let now = Instant::now();
        warm.sandboxes.retain(|sandbox| now.duration_since(sandbox.idle_since) < idle_time);
        match warm.sandboxes.iter().map(|sandbox| sandbox.idle_since).min() {
            Some(oldest) => wake = oldest + idle_time,
            None => {
                warm.is_swept = false;
                return;
            }
        }
    }
}

/// A store with an instance in it. It is one of its tenant's [`Limits::instances`](crate::Limits::instances) until it is dropped.
pub struct Sandbox<T: 'static, I> {
    store: Store<T>,
    guest: I,
    identity: Arc<Identity>,
    calls: u32,
    idle_since: Instant,
    // Dropped last: the store needs its place until then.
    _room: Permit,
    _instance: OwnedSemaphorePermit,
}

impl<T: View + Send + 'static, I> Sandbox<T, I> {
    /// Makes a call in it, under the tenant's limits. After any error, it is good for nothing but to be dropped.
    pub async fn run<R>(&mut self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let identity = self.identity.clone();
        identity.run(self.call(call)).await?
    }

    /// The same, for as long as it takes.
    pub(crate) async fn wait<R>(&mut self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let identity = self.identity.clone();
        identity.wait(self.call(call)).await?
    }

    async fn call<R>(&mut self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        self.calls += 1;
        self.store.data_mut().incluster().begin_call();
        let answer = call(&self.guest, &mut self.store).await;
        answer.map_err(|trap| ended(self.store.data_mut().incluster(), trap))
    }
}

impl<T, I> Clone for Sandboxes<T, I> {
    fn clone(&self) -> Self {
        Sandboxes(self.0.clone())
    }
}

impl<T, I> fmt::Debug for Sandboxes<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandboxes").field("tenant", &self.0.identity.settings.name).finish_non_exhaustive()
    }
}

impl<T, I> fmt::Debug for Sandbox<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("tenant", &self.identity.settings.name).finish_non_exhaustive()
    }
}
