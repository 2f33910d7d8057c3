//! Engines for an address space that is too small to reserve 4 GiB for each memory.

use wasmtime::Config;

/// How much address space to reserve behind a memory, so that it can grow without moving.
const GROWTH: u64 = 16 << 20;

/// The guard pages behind a memory. Compiled code need not check constant offsets up to this.
const GUARD: u64 = 64 << 10;

/// Changes settings so that a memory takes little more address space than it holds, and moves when it grows. Code compiled with them checks
/// bounds, which makes it slower, and does not run in other engines.
pub(crate) fn configuration(mut config: Config) -> Config {
    config
        .memory_may_move(true)
        .memory_reservation(0)
        .memory_reservation_for_growth(GROWTH)
        .memory_guard_size(GUARD)
        // Each thread would take a stack, and 64 MiB for glibc's allocator.
        .parallel_compilation(false);
    config
}
