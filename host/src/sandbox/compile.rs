//! What compiled code depends on: shared by `build.rs`, which compiles the components, and the engine, which runs them.

// The engine's own, or the build script's.
use crate::wasmtime::{self, Config};
use std::num::NonZeroUsize;

/// Says everything itself that a cargo feature of wasmtime, turned on by another crate of the embedder's, or an environment
/// variable would otherwise decide: code compiled at build time must fit the engine in every build.
pub(crate) fn configuration() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .concurrency_support(false)
        .gc_support(false)
        .memory_may_move(false)
        // A trap's text has no more frames (`Trap`); each has a name that the component chose.
        .wasm_backtrace_max_frames(NonZeroUsize::new(10));
    config
}
