//! The engine that all sandboxes of a process share, and the components that come with this crate.

use crate::limits::{MAX_INSTANCES, MAX_TABLE_ELEMENTS};
use crate::{Error, compile};
use std::sync::Arc;
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
const TICK: Duration = Duration::from_millis(10);

/// The engine, its memory pool and its clock. Make one and clone it: a clone is the same runtime.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    instances: Arc<Semaphore>,
}

/// Room for one sandbox in a [`Runtime`]'s pool, until it is dropped.
#[must_use = "the room is given back when this is dropped"]
pub struct Permit {
    /// `None` if the semaphore were closed, which it never is.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Runtime {
    /// Reserves the address space for 100 sandboxes (4 GiB each; memory is used as guests use it), and starts the thread
    /// that interrupts guests which run too long. The thread ends with the engine's last clone.
    pub fn new() -> Result<Runtime, Error> {
        let mut config = compile::configuration();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
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
        Ok(Runtime { engine, instances: Arc::new(Semaphore::new(MAX_INSTANCES as usize)) })
    }

    /// The engine, for linkers and stores of an embedder's own.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits for room in the pool, which has 100 places. Whoever makes a store of their own takes a permit first, and drops it
    /// after the store: instantiation fails in a full pool. The calls of a [`Cluster`](crate::Cluster) do so themselves.
    pub async fn admit(&self) -> Permit {
        Permit { _permit: self.instances.clone().acquire_owned().await.ok() }
    }

    /// `incluster-plugin.wasm`, compiled for [`Runtime::engine`].
    pub fn plugin(&self) -> Result<Component, Error> {
        self.load(PRECOMPILED_PLUGIN)
    }

    /// `incluster.wasm`, compiled for [`Runtime::engine`].
    pub fn command(&self) -> Result<Component, Error> {
        self.load(PRECOMPILED_COMMAND)
    }

    #[expect(unsafe_code, reason = "deserializing trusts the bytes: they are our own build's, embedded in this binary")]
    fn load(&self, precompiled: &'static [u8]) -> Result<Component, Error> {
        // SAFETY: the bytes are what `precompile_component` returned in build.rs; nobody else can have made or changed them.
        unsafe { Component::deserialize(&self.engine, precompiled) }.map_err(Error::Runtime)
    }
}

fn pool() -> PoolingAllocationConfig {
    /// A component is a module or three: what was compiled, and what adapts it to the component model.
    const MODULES: u32 = 8;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_INSTANCES)
        .total_stacks(MAX_INSTANCES)
        .total_memories(MAX_INSTANCES)
        .total_tables(MAX_INSTANCES * 2)
        .total_core_instances(MAX_INSTANCES * MODULES)
        .max_core_instances_per_component(MODULES)
        .max_memories_per_component(1)
        .max_tables_per_component(2)
        .max_memory_size(4 << 30)
        .table_elements(MAX_TABLE_ELEMENTS);
    pool
}
