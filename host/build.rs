//! Builds the guests' components and compiles them ahead of time. The host embeds both: the components for other engines,
//! the compiled code to start in well under a millisecond without a compiler in the process.

#[path = "src/compile.rs"]
mod compile;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let built = build_guests(&workspace, &out)?;

    let mut config = compile::configuration();
    // Naming the target keeps this machine's own CPU features out of the code: the binary may run on another.
    config.target(&env::var("TARGET")?)?;
    let engine = wasmtime::Engine::new(&config)?;
    for (file, name) in [("incluster_plugin.wasm", "incluster-plugin"), ("incluster-command.wasm", "incluster")] {
        let component = fs::read(built.join(file))?;
        let precompiled = engine.precompile_component(&component).map_err(|e| format!("cannot compile {name}.wasm: {e:?}"))?;
        fs::write(out.join(name).with_extension("wasm"), component)?;
        fs::write(out.join(name).with_extension("cwasm"), precompiled)?;
    }

    println!("cargo::rerun-if-changed=src/compile.rs");
    for path in ["guest", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    Ok(())
}

/// Runs a cargo of its own, in a target folder of its own, and returns the folder of what it built.
fn build_guests(workspace: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    // Beside the build's other profiles, so that all of them share it; `OUT_DIR` is target/PROFILE/build/incluster-HASH/out.
    let target_dir = out.ancestors().nth(4).ok_or("OUT_DIR is not in a target folder")?.join("guests");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--profile", "component", "--target", TARGET, "-p", "incluster-plugin", "-p", "incluster-command"])
        .arg("--target-dir")
        .arg(&target_dir)
        // The outer build's flags are for another target.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    match cargo.status() {
        Ok(status) if status.success() => Ok(target_dir.join(TARGET).join("component")),
        Ok(status) => Err(format!(
            "building the guests for {TARGET} ended with {status}; if the target is missing, run `./justw setup` or `rustup target add {TARGET}`"
        )
        .into()),
        Err(e) => Err(format!("cannot run cargo to build the guests: {e}").into()),
    }
}
