//! Reports in a second, before a compiler is built, that the target of the guests is missing.

use std::env;
use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    // Outside the repository, components come prebuilt.
    let has_guests = Path::new(&variable("CARGO_MANIFEST_DIR")).join("../plugin/Cargo.toml").is_file();
    if has_guests && !is_installed(&variable("RUSTC")) {
        println!(
            "cargo::error=Rust's target {TARGET}, which the guests are built for, is missing: run `./justw setup`, or `rustup target add {TARGET}`"
        );
    }
}

/// Whether the target's standard library is installed. If the compiler cannot say so, the build will.
fn is_installed(rustc: &str) -> bool {
    let said = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    said.is_ok_and(|said| !said.status.success() || Path::new(String::from_utf8_lossy(&said.stdout).trim()).is_dir())
}
