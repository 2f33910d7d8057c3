//! Sandboxes of one component for one tenant: a fresh one for each call, or warm ones that are used again.

use super::Tenant;
#[cfg(feature = "extensions")]
use super::lines::Lines;
use super::state::{State, Waiting};
use super::store::TenantStore;
use crate::closing::Closing;
use crate::error::Error;
use crate::figures::{self, Counted};
use crate::sandbox::ctx::{CtxBuilder, View};
use crate::sandbox::room::HoldsWarm;
#[cfg(feature = "extensions")]
use crate::sandbox::{ctx::Ctx, linker::pre_instantiate, loader::Extension};
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::Span;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

/// Whether a sandbox serves more than one call. By default, none does: the next call would find what a call leaves in a guest's
/// memory. `Reuse { kept: 4, ..Reuse::default() }` keeps four.
///
/// In a configuration file: `{kept: 4}`, or `{kept: 4, memory: 64Mi, calls: 100, idleTime: 30s}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reuse {
    /// How many sandboxes are kept for later calls, for each [`Sandboxes`], such as one extension of a tenant. None by default. Those of a
    /// tenant count as its [`TenantLimits::instances`](crate::TenantLimits::instances); one that is idle makes way for a call that would find
    /// no instance or no place in the pool left, the longest idle one first.
    pub kept: usize,
    /// The limit of the total size of the kept sandboxes' linear memories, in bytes. 1 GiB by default. A sandbox that would exceed it ends after
    /// its call. Usually less than the size is resident: a Python interpreter has 12 MiB, and writes to 0.8 MiB of it. The limit is for each
    /// [`Sandboxes`], such as one extension of a tenant.
    #[serde(with = "crate::limits::size")]
    pub memory: usize,
    /// After how many calls a sandbox ends. 1,000 by default.
    pub calls: u32,
    /// After how long without a call a sandbox ends. One minute by default.
    #[serde(with = "crate::limits::time")]
    pub idle_time: Duration,
}

impl Default for Reuse {
    fn default() -> Self {
        Reuse { kept: 0, memory: 1 << 30, calls: 1000, idle_time: Duration::from_secs(60) }
    }
}

/// The sandboxes of one component, for one tenant. Clones share the same sandboxes.
///
/// `T` is the data of their stores: `Ctx`, or a type that contains one. `I` is what the component's bindings make of an instance.
/// A sandbox that trapped, exceeded a limit, or whose call was dropped before its end, is never used again.
pub struct Sandboxes<T: 'static, I>(Arc<Inner<T, I>>);

struct Inner<T: 'static, I> {
    state: Arc<State>,
    /// The component's name in spans and logs.
    extension: Option<Arc<str>>,
    data: Box<Data<T>>,
    instantiate: Box<Instantiate<T, I>>,
    /// How many bytes guests may hand over in one call. For the client, this is not the limit for extensions.
    hostcall_bytes: usize,
    warm: Mutex<Kept<T, I>>,
}

/// A sandbox that waits for its next call.
struct Warm<T: 'static, I> {
    sandbox: Sandbox<T, I>,
    /// The total size of the sandbox's linear memories, in bytes.
    memory: usize,
    idle_since: Instant,
    _counted: Counted,
}

struct Kept<T: 'static, I> {
    sandboxes: Vec<Warm<T, I>>,
    /// Whether a task runs that ends sandboxes that are idle for too long.
    is_swept: bool,
}

type Data<T> = dyn Fn(CtxBuilder) -> T + Send + Sync;

type Instantiate<T, I> = dyn for<'a> Fn(&'a mut Store<T>) -> Instantiating<'a, I> + Send + Sync;

/// A future that makes an instance.
type Instantiating<'a, I> = Pin<Box<dyn Future<Output = wasmtime::Result<I>> + Send + 'a>>;

#[cfg(feature = "extensions")]
impl<I: Send + 'static> Sandboxes<Ctx, I> {
    /// Makes sandboxes of an extension, for a tenant, with this crate's host functions and none of the embedder's own. What the extension
    /// writes to its standard output and error goes to `tracing`, by [`Lines::to_tracing`].
    ///
    /// `exports` looks up the component's exports, once: for a world `filter`, it is `FilterIndices::new` of its bindings. `typed` turns an
    /// instance into the value that calls use: `|indices, store, instance| indices.load(store, instance)`.
    ///
    /// # Errors
    ///
    /// [`Error::NotLinked`], if the extension imports something that this crate does not have, or does not export what `exports` looks for.
    pub fn typed<X: Send + Sync + 'static>(
        tenant: &Tenant,
        extension: &Extension,
        exports: impl FnOnce(&InstancePre<Ctx>) -> wasmtime::Result<X>,
        typed: impl Fn(&X, &mut Store<Ctx>, &Instance) -> wasmtime::Result<I> + Send + Sync + 'static,
    ) -> Result<Sandboxes<Ctx, I>, Error> {
        let pre = pre_instantiate(tenant.runtime(), extension.component())?;
        let lines = Lines::to_tracing(tenant.name(), extension.name());
        let data = move |ctx: CtxBuilder| ctx.stdout(lines.clone()).stderr(lines.clone()).build();
        Sandboxes::new(tenant, extension.name(), pre, data, exports, typed)
    }
}

impl<T: View + Send + 'static, I: Send + 'static> Sandboxes<T, I> {
    /// Makes sandboxes of a component that an embedder's own linker has linked, for a tenant. `name` is for spans and logs. `data` makes the
    /// data of each new store; `exports` and `typed` are as for [`Sandboxes::typed`].
    ///
    /// # Errors
    ///
    /// [`Error::NotLinked`], if the component does not export what `exports` looks for.
    pub fn new<X: Send + Sync + 'static>(
        tenant: &Tenant,
        name: &str,
        pre: InstancePre<T>,
        data: impl Fn(CtxBuilder) -> T + Send + Sync + 'static,
        exports: impl FnOnce(&InstancePre<T>) -> wasmtime::Result<X>,
        typed: impl Fn(&X, &mut Store<T>, &Instance) -> wasmtime::Result<I> + Send + Sync + 'static,
    ) -> Result<Sandboxes<T, I>, Error> {
        let exports = exports(&pre).map_err(|e| Error::not_linked(&e))?;
        let made = Arc::new((pre, exports, typed));
        let hostcall_bytes = tenant.limits().call.hostcall_bytes;
        Ok(Sandboxes::with(tenant.state(), Some(name), hostcall_bytes, data, move |store| {
            let made = made.clone();
            Box::pin(async move {
                let (pre, exports, typed) = &*made;
                let instance = pre.instantiate_async(&mut *store).await?;
                typed(exports, store, &instance)
            })
        }))
    }

    pub(crate) fn with(
        state: &Arc<State>,
        extension: Option<&str>,
        hostcall_bytes: usize,
        data: impl Fn(CtxBuilder) -> T + Send + Sync + 'static,
        instantiate: impl for<'a> Fn(&'a mut Store<T>) -> Instantiating<'a, I> + Send + Sync + 'static,
    ) -> Sandboxes<T, I> {
        let (data, instantiate) = (Box::new(data), Box::new(instantiate));
        let warm = Mutex::new(Kept { sandboxes: Vec::new(), is_swept: false });
        let extension = extension.map(|name| text::name(name).into());
        let inner = Arc::new(Inner { state: state.clone(), extension, data, instantiate, hostcall_bytes, warm });
        if state.settings.reuse.kept > 0 {
            let holder: Weak<dyn HoldsWarm> = Arc::downgrade(&(inner.clone() as Arc<dyn HoldsWarm>));
            state.quotas.warm.add(holder.clone());
            state.settings.runtime.room().warm.add(holder);
        }
        Sandboxes(inner)
    }

    /// Makes a call in one of the sandboxes, under the tenant's [`Limits`](crate::Limits).
    pub async fn call<R>(&self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        self.told(self.try_call(call)).await
    }

    /// Makes a call, and reports it in metrics and spans.
    pub(crate) async fn told<R>(&self, call: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
        self.0.state.told(self.0.extension.as_deref(), false, call).await
    }

    /// Like [`Sandboxes::call`], but leaves metrics and spans to the caller.
    pub(crate) async fn try_call<R>(&self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let state = &self.0.state;
        let run = async |waiting: &Waiting| {
            let _running = state.quotas.begin_call(&state.limits().tenant)?;
            let mut sandbox = self.sandbox(waiting).await?;
            let answer = sandbox.call(call).await?;
            self.keep(sandbox);
            Ok(answer)
        };
        state.run_in_place(run).await
    }

    /// Opens a sandbox that lasts until it is dropped, for something with a state, such as a list or a watch.
    pub async fn open(&self) -> Result<Sandbox<T, I>, Error> {
        let open = async {
            let mut sandbox = self.try_open().await?;
            sandbox.store.record_growth();
            Ok(sandbox)
        };
        self.told(open).await
    }

    /// Like [`Sandboxes::open`], but leaves metrics and spans to the caller.
    pub(crate) async fn try_open(&self) -> Result<Sandbox<T, I>, Error> {
        self.0.state.run_in_place(async |waiting| self.sandbox(waiting).await).await
    }

    /// How many sandboxes are warm: kept, and not in use.
    pub fn warm(&self) -> usize {
        self.0.lock().sandboxes.len()
    }

    async fn sandbox(&self, waiting: &Waiting) -> Result<Sandbox<T, I>, Error> {
        let inner = &self.0;
        let warm = inner.lock().sandboxes.pop();
        Span::current().record("warm", warm.is_some());
        if let Some(Warm { sandbox, .. }) = warm {
            return Ok(sandbox);
        }
        let mut store = TenantStore::new(&inner.state, waiting, inner.hostcall_bytes, |ctx| (inner.data)(ctx)).await?;
        let guest = store.call(async |store| (inner.instantiate)(store).await).await?;
        Ok(Sandbox { store, guest, extension: inner.extension.clone(), calls: 0 })
    }

    fn keep(&self, mut sandbox: Sandbox<T, I>) {
        let Reuse { kept, memory: most, calls, idle_time } = self.0.state.settings.reuse;
        sandbox.store.record_growth();
        let memory = sandbox.store.memory();
        let mut warm = self.0.lock();
        let all = warm.sandboxes.iter().fold(memory, |all, warm| all.saturating_add(warm.memory));
        if warm.sandboxes.len() < kept && all <= most && sandbox.calls < calls && !idle_time.is_zero() {
            let state = &self.0.state;
            let counted = Counted::one(metrics::gauge!(figures::WARM, "tenant" => state.settings.name.clone()));
            warm.sandboxes.push(Warm { sandbox, memory, idle_since: Instant::now(), _counted: counted });
            if !mem::replace(&mut warm.is_swept, true) {
                tokio::spawn(sweep(Arc::downgrade(&self.0), idle_time, state.settings.runtime.closing().clone()));
            }
            drop(warm);
            state.settings.runtime.room().make_way();
        }
    }
}

impl<T, I> Inner<T, I> {
    fn lock(&self) -> MutexGuard<'_, Kept<T, I>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: View + Send, I: Send + 'static> HoldsWarm for Inner<T, I> {
    fn idle_since(&self) -> Option<Instant> {
        // The longest idle one is first, as calls take the last one.
        self.lock().sandboxes.first().map(|warm| warm.idle_since)
    }

    fn end_one(&self) -> bool {
        let mut warm = self.lock();
        if warm.sandboxes.is_empty() {
            return false;
        }
        let mut oldest = warm.sandboxes.remove(0);
        // Under the lock: a call of the same tenant finds either a warm sandbox or a free instance.
        oldest.sandbox.store.give_up_instance();
        drop(warm);
        metrics::counter!(figures::EVICTED, "tenant" => self.state.settings.name.clone()).increment(1);
        // Ending it takes a while, and writes the last line of its guest to the log: neither is for the call that needs the room.
        match Handle::try_current() {
            Ok(tokio) => drop(tokio.spawn(async move { drop(oldest) })),
            Err(_) => drop(oldest),
        }
        true
    }
}

/// A time that is as good as for ever.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Ends sandboxes that are idle for too long, until no idle ones are left.
async fn sweep<T, I>(inner: Weak<Inner<T, I>>, idle_time: Duration, closing: Closing) {
    let after = |since: Instant| since.checked_add(idle_time).unwrap_or(since + FAR);
    let mut wake = after(Instant::now());
    loop {
        let is_closing = tokio::select! {
            () = tokio::time::sleep_until(wake) => false,
            () = closing.begun() => true,
        };
        let Some(inner) = inner.upgrade() else { return };
        let now = Instant::now();
        let (ended, oldest) = {
            let mut warm = inner.lock();
            let is_over = |warm: &mut Warm<T, I>| is_closing || now.duration_since(warm.idle_since) >= idle_time;
            let ended = warm.sandboxes.extract_if(.., is_over).collect::<Vec<_>>();
            let oldest = warm.sandboxes.iter().map(|warm| warm.idle_since).min();
            warm.is_swept = oldest.is_some();
            (ended, oldest)
        };
        // Not under the lock: ending sandboxes takes a while.
        drop(ended);
        match oldest {
            Some(oldest) => wake = after(oldest),
            None => return,
        }
    }
}

/// A store with an instance in it. It counts as one of its tenant's [`TenantLimits::instances`](crate::TenantLimits::instances) until it is
/// dropped.
pub struct Sandbox<T: 'static, I> {
    store: TenantStore<T>,
    guest: I,
    extension: Option<Arc<str>>,
    calls: u32,
}

impl<T: View + Send + 'static, I> Sandbox<T, I> {
    /// Makes a call in the sandbox, under the tenant's limits. After an error, or a call that was dropped before its end, every further call
    /// fails with [`Error::Over`].
    pub async fn run<R>(&mut self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        let (state, extension) = (self.store.state().clone(), self.extension.clone());
        state.told(extension.as_deref(), false, self.try_run(call)).await
    }

    /// Like [`Sandbox::run`], but the call may wait for as long as it takes.
    pub(crate) async fn wait<R>(&mut self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        self.calls += 1;
        let (state, extension) = (self.store.state().clone(), self.extension.clone());
        let wait = self.store.wait(async |store| call(&self.guest, store).await);
        state.told(extension.as_deref(), true, wait).await
    }

    /// Like [`Sandbox::run`], but leaves metrics and spans to the caller.
    pub(crate) async fn try_run<R>(
        &mut self,
        call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>,
    ) -> Result<R, Error> {
        self.calls += 1;
        self.store.try_run(async |store| call(&self.guest, store).await).await
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        self.store.state()
    }

    async fn call<R>(&mut self, call: impl AsyncFnOnce(&I, &mut Store<T>) -> wasmtime::Result<R>) -> Result<R, Error> {
        self.calls += 1;
        self.store.call(async |store| call(&self.guest, store).await).await
    }
}

impl<T, I> Clone for Sandboxes<T, I> {
    fn clone(&self) -> Self {
        Sandboxes(self.0.clone())
    }
}

impl<T, I> fmt::Debug for Sandboxes<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandboxes").field("tenant", &self.0.state.settings.name).finish_non_exhaustive()
    }
}

impl<T, I> fmt::Debug for Sandbox<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sandbox").field(&self.store).finish()
    }
}
