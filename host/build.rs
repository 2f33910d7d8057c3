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
    // Beside the build's profiles, so that all of them share it; `OUT_DIR` is target/PROFILE/build/incluster-HASH/out.
    let target_dir = out.ancestors().nth(4).ok_or("OUT_DIR is not in a target folder")?.join("guests");
    build_guests(&workspace, &target_dir)?;
    let built = target_dir.join(TARGET).join("component");

    let mut config = compile::configuration();
    // Naming the target keeps this machine's own CPU features out of the code: the binary may run on another.
    config.target(&env::var("TARGET")?)?;
    let engine = wasmtime::Engine::new(&config)?;
    for (file, name) in [("incluster_plugin.wasm", "incluster-plugin"), ("incluster-command.wasm", "incluster")] {
        let component = without_names(&fs::read(built.join(file))?).ok_or("what cargo built is no component")?;
        let precompiled = engine.precompile_component(&component).map_err(|e| format!("cannot compile {name}.wasm: {e:?}"))?;
        // Where `just dist` finds it.
        fs::write(target_dir.join(name).with_extension("wasm"), &component)?;
        fs::write(out.join(name).with_extension("wasm"), component)?;
        fs::write(out.join(name).with_extension("cwasm"), precompiled)?;
    }

    println!("cargo::rerun-if-changed=src/compile.rs");
    for path in ["guest", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    Ok(())
}

/// Runs a cargo of its own, in a target folder of its own.
fn build_guests(workspace: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--profile", "component", "--target", TARGET, "-p", "incluster-plugin", "-p", "incluster-command"])
        .arg("--target-dir")
        .arg(target_dir)
        // The outer build's flags are for another target. SIMD is in WebAssembly 2.0; reading JSON is a fifth faster by it.
        // Without names, wasm-ld can write numbers in as few bytes as they need, and does so only when it is told to: 31 KB of
        // the plugin.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128\x1f-Clink-arg=--compress-relocations")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    match cargo.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "building the guests for {TARGET} ended with {status}; if the target is missing, run `./justw setup` or `rustup target add {TARGET}`"
        )
        .into()),
        Err(e) => Err(format!("cannot run cargo to build the guests: {e}").into()),
    }
}

/// A component without the names of its inner parts, which are of use to debuggers alone: the custom section
/// `component-name`, which rustc's `strip` leaves in.
fn without_names(component: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = component.split_at_checked(8)?;
    let mut kept = header.to_vec();
    while let Some((&id, after_id)) = rest.split_first() {
        let digits = after_id.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let length = after_id
            .get(..digits)?
            .iter()
            .rev()
            .try_fold(0_usize, |n, byte| Some(n.checked_mul(128)? + usize::from(byte & 0x7f)))?;
        let (section, next) = rest.split_at_checked(1 + digits + length)?;
        let content = &section[1 + digits..];
        if id != 0 || !content.starts_with(b"\x0ecomponent-name") {
            kept.extend_from_slice(section);
        }
        rest = next;
    }
    Some(kept)
}
