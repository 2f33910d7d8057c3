//! What an author of an extension sees, and others do without.

use super::compile;
use wasmtime::{Config, WasmBacktraceDetails};

/// That of all other engines, and what it takes to say where in its source a component trapped.
pub(crate) fn configuration() -> Config {
    let mut config = compile::configuration();
    config.generate_address_map(true).wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}
