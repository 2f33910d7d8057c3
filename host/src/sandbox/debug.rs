//! Engine settings for authors of extensions.

use super::compile;
use wasmtime::{Config, WasmBacktraceDetails};

/// The settings of all other engines, and those that let a trap name its place in the source.
pub(crate) fn configuration() -> Config {
    let mut config = compile::configuration();
    config.generate_address_map(true).wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}
