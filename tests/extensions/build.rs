//! Builds the sample extensions, as `host/build.rs` builds the components that come with the host.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let target_dir = out.ancestors().nth(4).ok_or("OUT_DIR is not in a target folder")?.join("extensions");
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&workspace)
        .args(["build", "--profile", "component", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target_dir)
        .args(
            ["controller", "decode-guest", "extension-guests", "handler", "rust-extensions", "sticky", "unruly"]
                .iter()
                .flat_map(|package| ["-p", package]),
        )
        // The outer build's flags are for another target. With the plugin's own flags, the decoding benchmark measures the plugin's code.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()?;
    if !status.success() {
        return Err(format!("building the extensions failed: {status}").into());
    }
    println!("cargo::rustc-env=EXTENSIONS={}", target_dir.join("wasm32-wasip2/component").display());
    for path in [
        "benches/guest",
        "core",
        "guest/client",
        "guest/extension",
        "tests/extensions",
        "examples/controller",
        "examples/extensions/rust",
        "examples/gateway/sticky",
        "examples/gateway/wit",
        "wit",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    Ok(())
}
