//! The engine that all sandboxes of a process share, and the components that come with this crate.

use crate::limits::MAX_TABLE_ELEMENTS;
#[cfg(feature = "extensions")]
use crate::{Compiler, LoadLimits};
use crate::{Error, compile};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Component;
use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// `incluster-plugin.wasm`: exports `incluster:kubernetes/client`. For engines other than [`Runtime::engine`].
pub const PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin.wasm"));

/// `incluster.wasm`: exports `wasi:cli/run`. What `wasmtime run` and the `incluster` binary run.
pub const COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster.wasm"));

static PRECOMPILED_PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster-plugin.cwasm"));
static PRECOMPILED_COMMAND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/incluster.cwasm"));

/// How often running guests yield: the grain of [`Limits::cpu_time`](crate::Limits::cpu_time).
const TICK: Duration = Duration::from_millis(2);

/// The engine, its memory pool and its clock. Make one and clone it: a clone is the same runtime.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    room: Arc<Semaphore>,
    components: Arc<Components>,
    #[cfg(feature = "extensions")]
    loading: Arc<Loading>,
}

/// What is compiled already.
#[derive(Default)]
struct Components {
    plugin: OnceLock<Component>,
    command: OnceLock<Component>,
    #[cfg(feature = "extensions")]
    extensions: crate::loader::Cache,
}

/// How extensions are loaded.
#[cfg(feature = "extensions")]
#[derive(Default)]
struct Loading {
    compiler: Option<Compiler>,
    limits: LoadLimits,
}

/// Room for one sandbox in a [`Runtime`]'s pool, until it is dropped.
#[must_use = "the room is given back when this is dropped"]
pub struct Permit {
    /// `None` if the semaphore were closed, which it never is.
    _permit: Option<OwnedSemaphorePermit>,
}

/// Builds a [`Runtime`].
#[derive(Default)]
pub struct RuntimeBuilder {
    sandboxes: Option<u16>,
    engine: Option<Engine>,
    #[cfg(feature = "extensions")]
    loading: Loading,
}

impl RuntimeBuilder {
    /// How many sandboxes there are room for at once; further ones wait for one to end. 256 by default. Their address space is reserved,
    /// up to 16 GiB each by default (memory is used as guests use it).
    pub fn sandboxes(mut self, sandboxes: u16) -> Self {
        self.sandboxes = Some(sandboxes);
        self
    }

    /// An engine of the embedder's own, which can run the component model and has epoch interruption. Whoever owns the engine increments its
    /// epoch, best every 2 ms: running guests yield then, and it is the grain of [`Limits::cpu_time`](crate::Limits::cpu_time). Where the
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

    /// What the files of extensions may hold. The pool has room for as many instances, memories and tables in each sandbox.
    #[cfg(feature = "extensions")]
    pub fn load_limits(mut self, limits: LoadLimits) -> Self {
        self.loading.limits = limits;
        self
    }

    /// The runtime. Unless there is an engine already, this starts the thread that interrupts guests which run too long; it ends with the
    /// engine's last clone.
    ///
    /// # Errors
    ///
    /// The engine cannot be set up, or the limits make no sense ([`Error::LoadLimits`]).
    pub fn build(self) -> Result<Runtime, Error> {
        let sandboxes = self.sandboxes.unwrap_or(256);
        #[cfg(feature = "extensions")]
        self.loading.limits.check()?;
        #[cfg(feature = "extensions")]
        let pool = Pool::for_extensions(&self.loading.limits);
        #[cfg(not(feature = "extensions"))]
        let pool = Pool::OWN;
        let engine = match self.engine {
            Some(engine) => engine,
            None => ticking(pool.engine(sandboxes)?)?,
        };
        Ok(Runtime {
            engine,
            room: Arc::new(Semaphore::new(sandboxes.into())),
            components: Arc::default(),
            #[cfg(feature = "extensions")]
            loading: Arc::new(self.loading),
        })
    }
}

/// Starts the engine's clock.
fn ticking(engine: Engine) -> Result<Engine, Error> {
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("incluster-epoch".into()).spawn(tick).map_err(|e| Error::Runtime(e.into()))?;
    Ok(engine)
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

    /// The engine, for linkers and stores of an embedder's own.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits for room in the pool. Whoever makes a store of their own takes a permit first, and drops it after the store:
    /// instantiation fails in a full pool. A [`Tenant`](crate::Tenant) and [`Sandboxes`](crate::Sandboxes) do so themselves.
    pub async fn admit(&self) -> Permit {
        Permit { _permit: self.room.clone().acquire_owned().await.ok() }
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
    pub(crate) fn extensions(&self) -> &crate::loader::Cache {
        &self.components.extensions
    }

    /// What the files of extensions may hold.
    #[cfg(feature = "extensions")]
    pub fn load_limits(&self) -> &LoadLimits {
        &self.loading.limits
    }

    /// Where extensions are compiled, and what their files may hold.
    #[cfg(feature = "extensions")]
    pub(crate) fn loading(&self) -> (Option<&Compiler>, &LoadLimits) {
        (self.loading.compiler.as_ref(), &self.loading.limits)
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

    #[expect(unsafe_code, reason = "deserializing trusts the bytes: they are our own build's, embedded in this binary")]
    fn deserialize(&self, precompiled: &'static [u8]) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `precompile_component` returned in build.rs; nobody else can have made or changed them.
        unsafe { Component::deserialize(&self.engine, precompiled) }
    }

    /// `None` without a compiler.
    #[cfg(feature = "extensions")]
    fn compile(&self, wasm: &[u8]) -> Option<wasmtime::Result<Component>> {
        Some(Component::new(&self.engine, wasm))
    }

    #[cfg(not(feature = "extensions"))]
    fn compile(&self, _wasm: &[u8]) -> Option<wasmtime::Result<Component>> {
        None
    }
}

/// What one sandbox's component may have of the pool.
struct Pool {
    /// A component is a module or three: what was compiled, and what adapts it to the component model.
    core_instances: u32,
    memories: u32,
    tables: u32,
    /// The state of all of a component's instances beside memories and tables, in bytes.
    state: usize,
}

impl Pool {
    /// For the components that come with this crate.
    const OWN: Pool = Pool { core_instances: 40, memories: 1, tables: 2, state: 1 << 20 };

    /// For an extension, and the client with it.
    #[cfg(feature = "extensions")]
    fn for_extensions(limits: &LoadLimits) -> Pool {
        // The limits were checked: they are far below this.
        let and = |own: u32, limit: u64| own.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX));
        Pool {
            core_instances: and(Pool::OWN.core_instances, limits.instances),
            memories: and(Pool::OWN.memories, limits.memories),
            tables: and(Pool::OWN.tables, limits.tables),
            // An entry of any kind takes less than 64 bytes.
            state: [limits.functions, limits.definitions, limits.imports, limits.exports, limits.globals]
                .into_iter()
                .map(|entries| usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(64))
                .fold(Pool::OWN.state, usize::saturating_add),
        }
    }

    fn engine(&self, sandboxes: u16) -> Result<Engine, Error> {
        let all = |each: u32| each.saturating_mul(sandboxes.into());
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(sandboxes.into())
            .total_stacks(sandboxes.into())
            .total_memories(all(self.memories))
            .total_tables(all(self.tables))
            .total_core_instances(all(self.core_instances))
            .max_core_instances_per_component(self.core_instances)
            .max_memories_per_component(self.memories)
            .max_memories_per_module(self.memories)
            .max_tables_per_component(self.tables)
            .max_tables_per_module(self.tables)
            .max_core_instance_size(self.state)
            .max_component_instance_size(self.state)
            .max_memory_size(4 << 30)
            .table_elements(MAX_TABLE_ELEMENTS);
        let mut config = compile::configuration();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config).map_err(Error::Runtime)
    }
}
