//! The engine that all sandboxes of a process share, and the components that come with this crate.

#[cfg(feature = "extensions")]
use super::loader::{Compiler, Folder};
use super::pool::{self, Pool};
use super::ticks::{Computing, Ticks};
use super::{code, compile};
use crate::closing::Closing;
use crate::error::Error;
use crate::figures::{self, Counted, describe_metrics};
#[cfg(feature = "extensions")]
use crate::load_limits::LoadLimits;
#[cfg(feature = "extensions")]
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// `incluster-plugin.wasm`: exports `incluster:kubernetes/client`. For engines other than [`Runtime::engine`].
pub static PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin.wasm"));

/// `incluster.wasm`: exports `wasi:cli/run`. What `wasmtime run` and the `incluster` binary run.
pub static COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster.wasm"));

static PRECOMPILED_PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin.cwasm"));
static PRECOMPILED_COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster.cwasm"));

/// In this time a call that is ended has given its place back.
const ENDED_IN: Duration = Duration::from_secs(1);

/// The engine, its memory pool and its clock. Make one and clone it: a clone is the same runtime.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    pool: Pool,
    room: Arc<Semaphore>,
    components: Arc<Components>,
    closing: Closing,
    /// Absent where the engine is the embedder's own.
    ticks: Option<Arc<Ticks>>,
    _counted: Arc<Counted>,
    #[cfg(feature = "extensions")]
    loading: Arc<Loading>,
}

/// What is compiled already.
#[derive(Default)]
struct Components {
    plugin: OnceLock<Component>,
    command: OnceLock<Component>,
    #[cfg(feature = "extensions")]
    extensions: super::loader::Cache,
}

/// How extensions are loaded.
#[cfg(feature = "extensions")]
#[derive(Default)]
pub(super) struct Loading {
    pub(super) compiler: Option<Compiler>,
    pub(super) limits: LoadLimits,
    /// The names of what none of them may import.
    pub(super) refused: Vec<String>,
    /// Where what was compiled is kept.
    pub(super) folder: Option<Arc<Folder>>,
}

/// Room for one sandbox in a [`Runtime`]'s pool, until it is dropped.
#[must_use = "the room is given back when this is dropped"]
pub struct Permit {
    /// `None` if the semaphore were closed, which it never is.
    _permit: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

/// Builds a [`Runtime`].
#[derive(Default)]
#[must_use = "it makes nothing until it is built"]
pub struct RuntimeBuilder {
    pool: Pool,
    engine: Option<Engine>,
    #[cfg(feature = "extensions")]
    loading: Loading,
    /// Whether there is to be room for them, whatever else is said.
    #[cfg(feature = "extensions")]
    loads_extensions: bool,
    #[cfg(feature = "extensions")]
    cache: Option<PathBuf>,
    #[cfg(feature = "extensions")]
    cache_bytes: Option<u64>,
    #[cfg(feature = "debug")]
    debug: bool,
}

/// What the entries of a cache may have together, unless the embedder says otherwise.
#[cfg(feature = "extensions")]
const CACHE_BYTES: u64 = 1 << 30;

impl RuntimeBuilder {
    /// How much room there is for sandboxes.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// An engine of the embedder's own, which can run the component model and has epoch interruption. Whoever owns the engine increments its
    /// epoch, best every 2 ms: running guests yield then, and it is the grain of [`CallLimits::cpu_time`](crate::CallLimits::cpu_time). Where the
    /// engine's settings differ from those that the embedded components were compiled for, they are compiled again, once; and extensions
    /// can only be compiled by [`Compiler::in_process`](crate::Compiler::in_process).
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Where extensions are compiled. Nowhere by default: loading one is an error then.
    #[cfg(feature = "extensions")]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.loading.compiler = Some(compiler);
        self
    }

    /// What the files of extensions may hold. With these, a [`RuntimeBuilder::compiler`] or a [`RuntimeBuilder::cache`], the pool has room for as
    /// many instances, memories and tables in each sandbox; a runtime that loads nothing but what was precompiled is given these.
    #[cfg(feature = "extensions")]
    pub fn load_limits(mut self, limits: LoadLimits) -> Self {
        self.loading.limits = limits;
        self.loads_extensions = true;
        self
    }

    /// Keeps compiled extensions in this folder, and finds them there, also those of earlier processes: a load takes milliseconds then, in place
    /// of seconds, and no compiler. The folder is made if there is none. It is for one user: in a pod, an `emptyDir` that no other container has.
    ///
    /// Whoever may write to it may have this process do anything. So it must be this user's own, and nobody else may write to it, nor to an
    /// entry of it; what is not so is not read. Entries are for one component, version of this crate, engine, processor and
    /// [`RuntimeBuilder::load_limits`]; one that is damaged is removed, and compiled anew. Where an entry cannot be written, because the disk is
    /// full or read-only, an event of the level warn says so. Processes may share a folder.
    #[cfg(feature = "extensions")]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// How many bytes the entries of [`RuntimeBuilder::cache`] may have together, 1 GiB by default. Those that were not used for longest go
    /// first; a larger one is not kept.
    #[cfg(feature = "extensions")]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Interfaces that no extension may import, by their names with or without a version, such as `wasi:http/outgoing-handler`, or all of a
    /// package's by its name, such as `wasi:sockets`. One that does is not loaded, whatever else allows it. Without this, the ordinary world of
    /// WASI 0.2 is there, and what reaches out in it is closed: see [`Runtime::extension`].
    #[cfg(feature = "extensions")]
    pub fn refuse_imports(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.loading.refused = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the text of an extension's trap names the functions, files and lines of its source, as far as the extension was built with
    /// them. It does not by default: code and its tables take more memory so, and the client is compiled again, which takes a second. It is
    /// for authors of extensions, and not for hosts that run those of others. An engine of the embedder's own stays as it is.
    #[cfg(feature = "debug")]
    pub fn debug(mut self, debug: bool) -> Self {
        self.debug = debug;
        self
    }

    /// What the engine is made with.
    fn configuration(&self) -> Config {
        #[cfg(feature = "debug")]
        if self.debug {
            return super::debug::configuration();
        }
        compile::configuration()
    }

    /// The runtime. Unless there is an engine already, this starts the thread that interrupts guests which run too long; it ends with the
    /// runtime's last clone, and sleeps while nothing runs under a [`Tenant`](crate::Tenant)'s limits.
    ///
    /// # Errors
    ///
    /// [`Error::AddressSpace`], where there is no room for one sandbox; [`Error::CacheFolder`], where the folder of
    /// [`RuntimeBuilder::cache`] cannot be used; [`Error::Runtime`], where the engine cannot be set up;
    /// [`Error::Limits`] and [`Error::LoadLimits`], where limits make no sense.
    #[cfg_attr(not(feature = "extensions"), expect(unused_mut, reason = "for extensions"))]
    pub fn build(mut self) -> Result<Runtime, Error> {
        self.pool.check()?;
        let config = self.configuration();
        #[cfg(not(feature = "extensions"))]
        let (pool, state) = (self.pool, pool::STATE);
        #[cfg(feature = "extensions")]
        let (pool, state) = {
            self.loading.limits.check(self.pool.table_elements)?;
            if let Some(path) = &self.cache {
                self.loading.folder = Some(Arc::new(Folder::open(path, self.cache_bytes.unwrap_or(CACHE_BYTES))?));
            }
            if self.loads_extensions || self.loading.compiler.is_some() || self.cache.is_some() {
                (self.pool.for_extensions(&self.loading.limits), pool::state_for_extensions(&self.loading.limits))
            } else {
                (self.pool, pool::STATE)
            }
        };
        let (engine, places, ticks) = match self.engine {
            // What it has room for, its owner knows.
            Some(engine) => (engine, pool.places, None),
            None => {
                let (engine, places) = pool.engine(state, &config)?;
                let ticks = ticks(&engine)?;
                (engine, places, Some(Arc::new(ticks)))
            }
        };
        describe_metrics();
        let counted = Counted::of(metrics::gauge!(figures::PLACES), places.into());
        Ok(Runtime {
            engine,
            pool: Pool { places, ..pool },
            room: Arc::new(Semaphore::new(places.into())),
            components: Arc::default(),
            closing: Closing::default(),
            ticks,
            _counted: Arc::new(counted),
            #[cfg(feature = "extensions")]
            loading: Arc::new(self.loading),
        })
    }
}

/// Starts the engine's clock.
fn ticks(engine: &Engine) -> Result<Ticks, Error> {
    let weak = engine.weak();
    let tick = move || {
        if let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
        }
    };
    Ticks::new(tick).map_err(|e| Error::Runtime(e.into()))
}

impl Runtime {
    /// A runtime with room for 256 sandboxes at once, which loads no extensions.
    pub fn new() -> Result<Runtime, Error> {
        Runtime::builder().build()
    }

    /// A builder for a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// The engine, for linkers and stores of an embedder's own. Guest code yields only while some call runs under
    /// [`Tenant::run`](crate::Tenant::run), [`Tenant::store`](crate::Tenant::store) or [`Sandboxes`](crate::Sandboxes): run it so.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many sandboxes there is room for at once: [`Pool::places`], or fewer, where the address space is too small for them.
    pub fn places(&self) -> u16 {
        self.pool.places
    }

    /// How many elements each table has room for.
    pub(crate) fn table_elements(&self) -> usize {
        self.pool.table_elements
    }

    /// Waits for room in the pool. Whoever makes a store of their own takes a permit first, and drops it after the store:
    /// instantiation fails in a full pool. A [`Tenant`](crate::Tenant) and [`Sandboxes`](crate::Sandboxes) do so themselves.
    pub async fn admit(&self) -> Permit {
        let permit = self.room.clone().acquire_owned().await.ok();
        Permit { _permit: permit, _counted: Counted::one(metrics::gauge!(figures::PLACES_IN_USE)) }
    }

    /// Ends what runs, in order. From now on, no call begins, nothing more is awaited of watches, and warm sandboxes end. Calls, tokens that
    /// are being asked for and processes that compile have until this time; then they are ended, too. What ends so is
    /// [`Error::ShuttingDown`]. It returns whether all sandboxes have ended: those of lists, watches and stores that the embedder holds end
    /// when they are dropped. Call it in the tokio runtime.
    pub async fn shutdown(&self, within: Duration) -> bool {
        let all = async || self.room.acquire_many(self.pool.places.into()).await;
        let _ = timeout(within, async { (self.closing.begin().await, all().await) }).await;
        self.closing.end();
        // What is ended has its place for as long as it takes to drop it.
        timeout(ENDED_IN, all()).await.is_ok()
    }

    /// A guest computes, until this is dropped.
    pub(crate) fn computing(&self) -> Option<Computing<'_>> {
        self.ticks.as_ref().map(|ticks| ticks.computing())
    }

    /// Whether it is ending.
    pub(crate) fn closing(&self) -> &Closing {
        &self.closing
    }

    /// `incluster-plugin.wasm`, compiled for [`Runtime::engine`].
    pub fn plugin(&self) -> Result<Component, Error> {
        self.load(&self.components.plugin, PRECOMPILED_PLUGIN, PLUGIN)
    }

    /// `incluster.wasm`, compiled for [`Runtime::engine`].
    pub fn command(&self) -> Result<Component, Error> {
        self.load(&self.components.command, PRECOMPILED_COMMAND, COMMAND)
    }

    /// The extensions that are compiled already.
    #[cfg(feature = "extensions")]
    pub(crate) fn extensions(&self) -> &super::loader::Cache {
        &self.components.extensions
    }

    /// What the files of extensions may hold.
    #[cfg(feature = "extensions")]
    pub fn load_limits(&self) -> &LoadLimits {
        &self.loading.limits
    }

    /// How extensions are loaded.
    #[cfg(feature = "extensions")]
    pub(super) fn loading(&self) -> &Loading {
        &self.loading
    }

    fn load(&self, loaded: &OnceLock<Component>, precompiled: &'static [u8], wasm: &[u8]) -> Result<Component, Error> {
        if let Some(component) = loaded.get() {
            return Ok(component.clone());
        }
        let component = match self.deserialize(precompiled) {
            // An engine of the embedder's own may have other settings.
            Err(other_settings) => self.compile(wasm).unwrap_or(Err(other_settings)).map_err(Error::Runtime)?,
            Ok(component) => component,
        };
        Ok(loaded.get_or_init(|| component).clone())
    }

    #[expect(unsafe_code, reason = "deserializing trusts the bytes: our own build or this process made them")]
    fn deserialize(&self, precompiled: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `precompile_component` returned, in build.rs or in `compile`; nobody else can have made or changed them.
        unsafe { code::component(&self.engine, precompiled) }
    }

    /// `None` without a compiler.
    #[cfg(feature = "extensions")]
    fn compile(&self, wasm: &[u8]) -> Option<wasmtime::Result<Component>> {
        Some(self.engine.precompile_component(wasm).and_then(|code| self.deserialize(&code)))
    }

    #[cfg(not(feature = "extensions"))]
    fn compile(&self, _wasm: &[u8]) -> Option<wasmtime::Result<Component>> {
        None
    }
}
