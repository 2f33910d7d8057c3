//! Builds the guests' components and compiles them ahead of time. The host embeds both: the components for other engines,
//! the compiled code to start in well under a millisecond without a compiler in the process.

use incluster_components::wasmtime;

#[path = "src/sandbox/compile.rs"]
mod compile;

use incluster_components::Guests;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let guests = Guests::new("..", "guests")?;
    guests.build(&["-p", "incluster-plugin", "-p", "incluster-command"])?;

    let mut config = compile::configuration();
    // Naming the target keeps this machine's own CPU features out of the code: the binary may run on another.
    config.target(&env::var("TARGET")?)?;
    let engine = wasmtime::Engine::new(&config)?;
    let out = env::var("OUT_DIR")?;
    for (file, name) in [("incluster_plugin.wasm", "incluster-plugin"), ("incluster.wasm", "incluster")] {
        let component = guests.component(file, name)?;
        let precompiled = engine.precompile_component(&component).map_err(|e| format!("cannot compile {name}.wasm: {e:?}"))?;
        fs::write(Path::new(&out).join(name).with_extension("wasm"), component)?;
        fs::write(Path::new(&out).join(name).with_extension("cwasm"), precompiled)?;
    }
    guests.watch(&["host/src/sandbox/compile.rs"]);
    Ok(())
}
