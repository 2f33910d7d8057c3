//! The engine that all sandboxes of a process share, and the components that come with this crate.

#[cfg(feature = "extensions")]
use super::loader::{Compiler, Folder};
use super::pool::{self, Pool};
use super::room::{Permit, Room};
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
use tokio::time::timeout;
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// `incluster-plugin.wasm`: exports `incluster:kubernetes/client`. For engines other than [`Runtime::engine`].
pub static PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin.wasm"));

/// `incluster.wasm`: exports `wasi:cli/run`. What `wasmtime run` and the `incluster` binary run.
pub static COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster.wasm"));

static PRECOMPILED_PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin.cwasm"));
static PRECOMPILED_COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster.cwasm"));

/// How long a call that is ended may take to give its place back.
const ENDED_IN: Duration = Duration::from_secs(1);

/// The engine, its memory pool and its clock. Make one and clone it: a clone is the same runtime.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    pool: Pool,
    room: Arc<Room>,
    components: Arc<Components>,
    closing: Closing,
    /// Absent if the engine is the embedder's own.
    ticks: Option<Arc<Ticks>>,
    _counted: Arc<Counted>,
    #[cfg(feature = "extensions")]
    loading: Arc<Loading>,
}

/// The components that are already compiled.
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
    /// The names of the interfaces that no extension may import.
    pub(super) refused: Vec<String>,
    /// The folder for compiled extensions.
    pub(super) folder: Option<Arc<Folder>>,
}

/// Builds a [`Runtime`].
#[derive(Default)]
#[must_use = "a builder makes nothing until it is built"]
pub struct RuntimeBuilder {
    pool: Pool,
    engine: Option<Engine>,
    #[cfg(feature = "extensions")]
    loading: Loading,
    /// Whether there must be room for extensions, even without a compiler or a cache.
    #[cfg(feature = "extensions")]
    loads_extensions: bool,
    #[cfg(feature = "extensions")]
    cache: Option<PathBuf>,
    #[cfg(feature = "extensions")]
    cache_bytes: Option<u64>,
    #[cfg(feature = "debug")]
    debug: bool,
}

/// The default limit of the total size of a cache's entries, in bytes.
#[cfg(feature = "extensions")]
const CACHE_BYTES: u64 = 1 << 30;

impl RuntimeBuilder {
    /// How much room there is for sandboxes.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// An engine of the embedder's own, with the component model and epoch interruption. The engine's owner must increment its epoch, best
    /// every 2 ms: running guests yield then, and [`CallLimits::cpu_time`](crate::CallLimits::cpu_time) is checked then. If the engine's
    /// settings differ from those that the embedded components were compiled for, the components are compiled again, once; and extensions
    /// can only be compiled by [`Compiler::in_process`](crate::Compiler::in_process).
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Where extensions are compiled. Nowhere by default: then loading an extension is an error.
    #[cfg(feature = "extensions")]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.loading.compiler = Some(compiler);
        self
    }

    /// What the files of extensions may contain. If these limits, a [`RuntimeBuilder::compiler`] or a [`RuntimeBuilder::cache`] are set, the
    /// pool has room for that many instances, memories and tables in each sandbox. Set the limits for a runtime that only loads precompiled
    /// extensions.
    #[cfg(feature = "extensions")]
    pub fn load_limits(mut self, limits: LoadLimits) -> Self {
        self.loading.limits = limits;
        self.loads_extensions = true;
        self
    }

    /// Keeps compiled extensions in this folder, and finds them there, including those of earlier processes. Then a load takes milliseconds
    /// instead of seconds, and needs no compiler. The folder is created if it is missing. It is for one user: in a pod, use an `emptyDir`
    /// that no other container mounts.
    ///
    /// Whoever can write to the folder can make this process do anything. So the folder must belong to this user, and nobody else may be able
    /// to write to it or to an entry; otherwise it is not read. An entry is for one component, version of this crate, engine, processor and
    /// [`RuntimeBuilder::load_limits`]. A damaged entry is removed, and compiled again. If an entry cannot be written, because the disk is
    /// full or read-only, an event of the level warn says so. Processes may share a folder.
    #[cfg(feature = "extensions")]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// The limit of the total size of the entries of [`RuntimeBuilder::cache`], in bytes. 1 GiB by default. The least recently used entries are
    /// removed first; an entry that is larger than the limit is not kept.
    #[cfg(feature = "extensions")]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Interfaces that no extension may import, by their names with or without a version, such as `wasi:http/outgoing-handler`, or all
    /// interfaces of a package by its name, such as `wasi:sockets`. An extension that imports one is not loaded, whatever else allows it.
    /// Without this, extensions have the ordinary world of WASI 0.2, but what reaches outside is closed: see [`Runtime::extension`].
    #[cfg(feature = "extensions")]
    pub fn refuse_imports(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.loading.refused = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the text of an extension's trap names the functions, files and lines of its source, as far as the extension was built with
    /// them. Off by default: it makes code and its tables take more memory, and the client is compiled again, which takes a second. It is
    /// for authors of extensions, not for hosts that run other people's extensions. An engine of the embedder's own stays as it is.
    #[cfg(feature = "debug")]
    pub fn debug(mut self, debug: bool) -> Self {
        self.debug = debug;
        self
    }

    /// The engine's settings.
    fn configuration(&self) -> Config {
        #[cfg(feature = "debug")]
        if self.debug {
            return super::debug::configuration();
        }
        compile::configuration()
    }

    /// Builds the runtime. Unless an engine was given, this starts the thread that interrupts guests that run too long. The thread ends with
    /// the runtime's last clone, and sleeps while nothing runs under a [`Tenant`](crate::Tenant)'s limits.
    ///
    /// # Errors
    ///
    /// [`Error::AddressSpace`], if there is no room for one sandbox; [`Error::CacheFolder`], if the folder of
    /// [`RuntimeBuilder::cache`] cannot be used; [`Error::Runtime`], if the engine cannot be set up;
    /// [`Error::Limits`] and [`Error::LoadLimits`], if a limit has an unusable value.
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
            // The engine's owner knows how much room it has.
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
            room: Arc::new(Room::new(places)),
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
    /// [`Tenant::run`](crate::Tenant::run), [`Tenant::store`](crate::Tenant::store) or [`Sandboxes`](crate::Sandboxes): run it under one of them.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many sandboxes there is room for at once: [`Pool::places`], or fewer if the address space is too small for them.
    pub fn places(&self) -> u16 {
        self.pool.places
    }

    /// How many elements each table has room for.
    pub(crate) fn table_elements(&self) -> usize {
        self.pool.table_elements
    }

    /// Waits for room in the pool; a warm sandbox that is idle makes way at once. If you make a store of your own, take a permit first, and drop it after the store:
    /// instantiation fails in a full pool. A [`Tenant`](crate::Tenant) and [`Sandboxes`](crate::Sandboxes) do this themselves.
    pub async fn admit(&self) -> Permit {
        self.room.admit().await
    }

    /// Shuts the runtime down, in order. From now on no call begins, waits for a watch's events end, and warm sandboxes end. Calls, requests
    /// for tokens and compiling processes may go on for this long; then they are ended, too. What is ended fails with
    /// [`Error::ShuttingDown`]. Returns whether all sandboxes have ended: sandboxes of lists, watches and stores that the embedder holds end
    /// when they are dropped. Call this in the tokio runtime.
    pub async fn shutdown(&self, within: Duration) -> bool {
        let all = async || self.room.all_free(self.pool.places).await;
        let _ = timeout(within, async { (self.closing.begin().await, all().await) }).await;
        self.closing.end();
        // A call that is ended keeps its place until it is dropped.
        timeout(ENDED_IN, all()).await.is_ok()
    }

    /// The places of the pool.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Marks that a guest computes, until the returned value is dropped.
    pub(crate) fn computing(&self) -> Option<Computing<'_>> {
        self.ticks.as_ref().map(|ticks| ticks.computing())
    }

    /// The runtime's shutdown state.
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

    /// The extensions that are already compiled.
    #[cfg(feature = "extensions")]
    pub(crate) fn extensions(&self) -> &super::loader::Cache {
        &self.components.extensions
    }

    /// What the files of extensions may contain.
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

    /// Compiles a component; `None` without a compiler.
    #[cfg(feature = "extensions")]
    fn compile(&self, wasm: &[u8]) -> Option<wasmtime::Result<Component>> {
        Some(self.engine.precompile_component(wasm).and_then(|code| self.deserialize(&code)))
    }

    #[cfg(not(feature = "extensions"))]
    fn compile(&self, _wasm: &[u8]) -> Option<wasmtime::Result<Component>> {
        None
    }
}
