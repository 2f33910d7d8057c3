//! The settings that compiled code depends on, shared by `build.rs`, which compiles the components, and the engine, which runs them.

// This crate's wasmtime, or the build script's.
use crate::wasmtime::{self, Config};
use std::num::NonZeroUsize;

/// Sets everything explicitly that would otherwise depend on an environment variable, or on a cargo feature of wasmtime that another
/// crate of the embedder turns on: code compiled at build time must fit the engine in every build.
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
        // A trap's text has at most ten frames (`Trap`), and before them come a dozen of a Rust panic's own.
        .wasm_backtrace_max_frames(NonZeroUsize::new(32));
    config
}
