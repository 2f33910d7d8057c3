//! The room for sandboxes.

#[cfg(feature = "extensions")]
use super::movable;
use crate::error::Error;
use crate::figures::TARGET;
#[cfg(feature = "extensions")]
use crate::load_limits::LoadLimits;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::ptr;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The room that a [`Runtime`](crate::Runtime) has for sandboxes. Address space is reserved for all of it, 4 GiB for each memory of each
/// place; memory is used as guests use it.
///
/// If there is no address space for one place, for example under a `ulimit -v` of 4 GiB, nothing is reserved, and each sandbox takes address
/// space as it grows. This needs the feature `extensions`: the client is compiled again, which takes two to three seconds, and runs slower.
/// Without the feature, or with less than about 400 MiB, [`RuntimeBuilder::build`](crate::RuntimeBuilder::build) fails with
/// [`Error::AddressSpace`].
///
/// All fields except `places` are for one sandbox. By default they are what the components that come with this crate need. If extensions are
/// loaded, instances, memories and tables are at least that plus what `LoadLimits` allow, and tables are as large as given here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How many sandboxes there may be at once; further ones wait until one ends. 256 by default. If that much address space cannot be
    /// reserved, there are fewer, and an event says so: see [`Runtime::places`](crate::Runtime::places).
    pub places: u16,
    /// How many core instances one sandbox may have. A component has one to three: the compiled code, and what adapts it to the component
    /// model. 40 by default.
    pub core_instances: u32,
    /// How many linear memories one sandbox may have. 1 by default.
    pub memories: u32,
    /// How many tables one sandbox may have. 2 by default.
    pub tables: u32,
    /// How many elements each table may have. 20,000 by default.
    pub table_elements: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Pool { places: 256, core_instances: 40, memories: 1, tables: 2, table_elements: 20_000 }
    }
}

/// The size of the state of all instances of a component, without memories and tables, in bytes.
pub(crate) const STATE: usize = 1 << 20;

/// The size of the state of all instances of an extension, without memories and tables, in bytes.
#[cfg(feature = "extensions")]
pub(crate) fn state_for_extensions(limits: &LoadLimits) -> usize {
    // An entry of any kind takes less than 64 bytes.
    [limits.functions, limits.definitions, limits.imports, limits.exports, limits.globals]
        .into_iter()
        .map(|entries| usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(64))
        .fold(STATE, usize::saturating_add)
}

/// How many bytes of a table are kept by the process, and overwritten for the next sandbox.
const TABLE_KEPT: usize = 16 << 10;

impl Pool {
    /// This pool, with room for an extension together with the client.
    #[cfg(feature = "extensions")]
    pub(crate) fn for_extensions(self, limits: &LoadLimits) -> Pool {
        let own = Pool::default();
        // The limits have been checked: they are far below `u32::MAX`.
        let at_least = |asked: u32, own: u32, limit: u64| asked.max(own.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX)));
        Pool {
            core_instances: at_least(self.core_instances, own.core_instances, limits.instances),
            memories: at_least(self.memories, own.memories, limits.memories),
            tables: at_least(self.tables, own.tables, limits.tables),
            ..self
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let zero = [
            ("places", self.places == 0),
            ("coreInstances", self.core_instances == 0),
            ("memories", self.memories == 0),
            ("tables", self.tables == 0),
            ("tableElements", self.table_elements == 0),
        ];
        match zero.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((limit, _)) => Err(Error::Limits { limit, problem: "of the pool is zero: nothing would work".into() }),
            None => Ok(()),
        }
    }

    /// Returns an engine and how many places it has: all, or half of them, and so on; or else places that reserve no address space.
    pub(crate) fn engine(&self, state: usize, config: &Config) -> Result<(Engine, u16), Error> {
        let pooled: wasmtime::Result<_> = with_fewer(self.places, |places| {
            let engine = self.engine_with(places, state, config.clone())?;
            find_room(FOR_THE_PROCESS)?;
            Ok(engine)
        });
        match pooled {
            Err(error) if error.chain().any(|cause| cause.is::<Errno>()) => self.movable(config),
            pooled => pooled.map_err(Error::Runtime),
        }
    }

    /// Returns an engine whose places reserve no address space.
    #[cfg(feature = "extensions")]
    fn movable(&self, config: &Config) -> Result<(Engine, u16), Error> {
        let room = |places: u16| find_room(FOR_COMPILING + usize::from(places) * FOR_A_MOVABLE_SANDBOX);
        let ((), places) = with_fewer(self.places, room).map_err(|_| self.too_small())?;
        tracing::warn!(
            target: TARGET,
            places,
            raise_to = self.least(),
            "there is no address space for one sandbox of full size: the client is compiled again, and runs slower"
        );
        let engine = Engine::new(&movable::configuration(config.clone())).map_err(Error::Runtime)?;
        Ok((engine, places))
    }

    #[cfg(not(feature = "extensions"))]
    fn movable(&self, _config: &Config) -> Result<(Engine, u16), Error> {
        Err(self.too_small())
    }

    fn too_small(&self) -> Error {
        Error::AddressSpace { needed: self.least() }
    }

    /// How much address space is enough for one place and the rest of the process, in bytes: whole GiB.
    fn least(&self) -> u64 {
        /// A memory, and the space that wasmtime keeps free behind it. (It keeps as much free before the first memory.)
        const MEMORY: u64 = (4 << 30) + GUARD;
        const GUARD: u64 = 32 << 20;
        const ELEMENT: u64 = 16;
        let memories = MEMORY.saturating_mul(self.memories.into()).saturating_add(GUARD);
        let tables = ELEMENT.saturating_mul(self.tables.into()).saturating_mul(self.table_elements as u64);
        // At least one GiB is for the process itself.
        memories.saturating_add(tables).saturating_add(1 << 30).div_ceil(1 << 30).saturating_mul(1 << 30)
    }

    fn engine_with(&self, places: u16, state: usize, mut config: Config) -> wasmtime::Result<Engine> {
        let all = |each: u32| each.saturating_mul(places.into());
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(places.into())
            .total_stacks(places.into())
            .total_memories(all(self.memories))
            .total_tables(all(self.tables))
            .total_core_instances(all(self.core_instances))
            .max_core_instances_per_component(self.core_instances)
            .max_memories_per_component(self.memories)
            .max_memories_per_module(self.memories)
            .max_tables_per_component(self.tables)
            .max_tables_per_module(self.tables)
            .max_core_instance_size(state)
            .max_component_instance_size(state)
            .max_memory_size(4 << 30)
            .table_elements(self.table_elements)
            // Tables are small: overwriting one costs less than two page faults. Linear memories are given back to the kernel.
            // `pagemap_scan`, which would save most of that, is off: it skips pages that are swapped out or being moved, so that the
            // next sandbox, which may be another tenant's, would find their content (in wasmtime 48 to 50).
            .table_keep_resident(TABLE_KEPT);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config)
    }
}

/// How much address space to leave to the process itself, for threads and what they allocate.
const FOR_THE_PROCESS: usize = 128 << 20;

/// How much address space the process and compiling the client take. (With 128 MiB, sometimes too little was left for a sandbox.)
#[cfg(feature = "extensions")]
const FOR_COMPILING: usize = 256 << 20;

/// How much address space to count for a sandbox whose memories may move: a stack, what they hold, and room to grow.
#[cfg(feature = "extensions")]
const FOR_A_MOVABLE_SANDBOX: usize = 64 << 20;

/// Fails if this much address space is not left.
#[expect(unsafe_code, reason = "mapping is the only way to find out: the process's limit is one of several bounds")]
fn find_room(bytes: usize) -> Result<(), Errno> {
    // SAFETY: the kernel chooses where the mapping goes, so that it replaces no other; nobody else has its address when it is unmapped.
    unsafe {
        let room = mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)?;
        munmap(room, bytes)
    }
}

/// Makes something with this many places, or with half as many, and so on, until it succeeds.
fn with_fewer<T, E: std::fmt::Display>(places: u16, make: impl Fn(u16) -> Result<T, E>) -> Result<(T, u16), E> {
    let mut left = places;
    loop {
        match make(left) {
            Ok(made) => return Ok((made, left)),
            Err(error) if left <= 1 => return Err(error),
            Err(error) => {
                let fewer = left / 2;
                tracing::warn!(target: TARGET, places = left, fewer, %error, "there is no address space for so many sandboxes at once: trying fewer");
                left = fewer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_there_is_room_for() {
        let make = |most: u16| move |places: u16| if places <= most { Ok(()) } else { Err("too many") };
        assert_eq!(with_fewer(256, make(256)), Ok(((), 256)));
        assert_eq!(with_fewer(256, make(100)), Ok(((), 64)));
        assert_eq!(with_fewer(3, make(1)), Ok(((), 1)));
        assert_eq!(with_fewer(256, make(0)), Err("too many"));
    }

    #[test]
    fn room_is_found_only_if_there_is_enough() {
        assert_eq!(find_room(1 << 20), Ok(()));
        // More than any processor's address space has.
        assert_eq!(find_room(1 << 62), Err(Errno::NOMEM));
    }

    #[test]
    fn the_error_says_how_much_address_space_is_enough() {
        const GIB: u64 = 1 << 30;
        assert_eq!(Pool::default().least(), 6 * GIB);
        assert_eq!(Pool { memories: 4, ..Pool::default() }.least(), 18 * GIB);
        let error = Pool::default().too_small().to_string();
        assert!(error.contains("6 GiB or more (ulimit -v 6291456)"), "{error}");
    }

    #[test]
    fn a_pool_without_room_is_an_error() {
        let error = Pool { memories: 0, ..Pool::default() }.check().unwrap_err().to_string();
        assert!(error.contains("memories of the pool is zero"), "{error}");
    }
}
