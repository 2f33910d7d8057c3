//! The engine that all sandboxes of a process share, and the components that come with this crate.

use crate::limits::MAX_TABLE_ELEMENTS;
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
}

/// What is compiled already.
#[derive(Default)]
struct Components {
    plugin: OnceLock<Component>,
    command: OnceLock<Component>,
    #[cfg(feature = "extensions")]
    extensions: crate::extension::Cache,
}

/// Room for one sandbox in a [`Runtime`]'s pool, until it is dropped.
#[must_use = "the room is given back when this is dropped"]
pub struct Permit {
    /// `None` if the semaphore were closed, which it never is.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Runtime {
    /// A runtime with room for 256 sandboxes at once.
    pub fn new() -> Result<Runtime, Error> {
        Runtime::with_capacity(256)
    }

    /// A runtime with room for so many sandboxes at once; further ones wait for one to end. It reserves their address space, up to
    /// 16 GiB each (memory is used as guests use it), and starts the thread that interrupts guests which run too long. The
    /// thread ends with the engine's last clone.
    pub fn with_capacity(sandboxes: u16) -> Result<Runtime, Error> {
        let mut config = compile::configuration();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(sandboxes.into())));
        let engine = Engine::new(&config).map_err(Error::Runtime)?;
        let weak = engine.weak();
        let tick = move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        };
        thread::Builder::new().name("incluster-epoch".into()).spawn(tick).map_err(|e| Error::Runtime(e.into()))?;
        Ok(Runtime::with_engine(engine, sandboxes))
    }

    /// A runtime on an engine of the embedder's own, which can run the component model and has epoch interruption. Whoever owns the
    /// engine increments its epoch, best every 2 ms: running guests yield then, and it is the grain of
    /// [`Limits::cpu_time`](crate::Limits::cpu_time). Where the engine's settings differ from those that the embedded
    /// components were compiled for, they are compiled again, once.
    pub fn with_engine(engine: Engine, sandboxes: u16) -> Runtime {
        let room = Arc::new(Semaphore::new(sandboxes.into()));
        Runtime { engine, room, components: Arc::default() }
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
    pub(crate) fn extensions(&self) -> &crate::extension::Cache {
        &self.components.extensions
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

fn pool(sandboxes: u32) -> PoolingAllocationConfig {
    /// A component is a module or three: what was compiled, and what adapts it to the component model. One that was composed is
    /// two components or more.
    const MODULES: u32 = 24;
    /// An extension's own, the client's, and a few for one that was composed itself.
    const MEMORIES: u32 = 4;
    const TABLES: u32 = 8;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_stacks(sandboxes)
        .total_memories(sandboxes * MEMORIES)
        .total_tables(sandboxes * TABLES)
        .total_core_instances(sandboxes * MODULES)
        .max_core_instances_per_component(MODULES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(4 << 30)
        .table_elements(MAX_TABLE_ELEMENTS);
    pool
}
