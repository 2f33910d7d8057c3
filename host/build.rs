//! Builds the guests' components and compiles them ahead of time. The host embeds both: the components for other engines,
//! the compiled code to start in well under a millisecond without a compiler in the process. Outside the repository, the package
//! contains the built components.

use incluster_components::wasmtime;

#[path = "src/sandbox/compile.rs"]
mod compile;

use incluster_components::{Guests, packaged};
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

/// The files that cargo builds, and the names they get.
const COMPONENTS: [(&str, &str); 2] = [("incluster_plugin.wasm", "incluster-plugin"), ("incluster.wasm", "incluster")];

fn main() -> Result<(), Box<dyn Error>> {
    let mut components = Vec::new();
    if Guests::are_there("..") {
        let guests = Guests::new("..", "guests")?;
        guests.build(&["-p", "incluster-plugin", "-p", "incluster-command"])?;
        for (file, name) in COMPONENTS {
            components.push((name, guests.component(file, name)?));
        }
        guests.watch(&["host/src/sandbox/compile.rs"]);
    } else {
        for (_, name) in COMPONENTS {
            components.push((name, packaged(name)?));
        }
    }

    let mut config = compile::configuration();
    // Naming the target keeps this machine's own CPU features out of the code: the binary may run on another.
    config.target(&env::var("TARGET")?)?;
    let engine = wasmtime::Engine::new(&config)?;
    let out = env::var("OUT_DIR")?;
    for (name, component) in components {
        let precompiled = engine.precompile_component(&component).map_err(|e| format!("cannot compile {name}.wasm: {e:?}"))?;
        fs::write(Path::new(&out).join(name).with_extension("wasm"), component)?;
        fs::write(Path::new(&out).join(name).with_extension("cwasm"), precompiled)?;
    }
    Ok(())
}
