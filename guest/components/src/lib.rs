//! Builds guests into components, for build scripts: by a cargo of its own.

#[cfg(feature = "wasmtime")]
pub use wasmtime;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// A build's workspace, and where its guests go.
pub struct Guests {
    workspace: PathBuf,
    target_dir: PathBuf,
}

/// The folder with components that were built elsewhere, where a package has none.
const COMPONENTS: &str = "INCLUSTER_COMPONENTS";

/// A component that came built: with the package whose build script runs, or in the folder that a variable names.
pub fn packaged(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={COMPONENTS}");
    let with_package = || Ok::<_, env::VarError>(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("components"));
    let folder = env::var_os(COMPONENTS).map_or_else(with_package, |folder| Ok(folder.into()))?;
    let path = folder.join(name).with_extension("wasm");
    println!("cargo::rerun-if-changed={}", path.display());
    let missing = |e| {
        format!(
            "{}: {e}; this package has no components, as it was vendored from git: set {COMPONENTS} to a folder with those that `./justw dist` makes",
            path.display()
        )
    };
    Ok(fs::read(&path).map_err(missing)?)
}

impl Guests {
    /// Whether they are so far above the package whose build script runs: in the repository.
    pub fn are_there(above: &str) -> bool {
        let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        Path::new(&manifest).join(above).join("guest/plugin/Cargo.toml").is_file()
    }

    /// Those of the workspace that is so far above the package whose build script runs, in a folder of this name. Builds with
    /// other features need another folder: cargo runs build scripts beside each other.
    pub fn new(above: &str, folder: &str) -> Result<Guests, Box<dyn Error>> {
        let out = PathBuf::from(env::var("OUT_DIR")?);
        let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(above).canonicalize()?;
        // Beside the build's profiles, so that all of them share it; `OUT_DIR` is target/PROFILE/build/PACKAGE-HASH/out.
        let target_dir = out.ancestors().nth(4).ok_or("OUT_DIR is not in a target folder")?.join(folder);
        Ok(Guests { workspace, target_dir })
    }

    /// Builds these packages with these arguments.
    pub fn build(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let mut cargo = Command::new(env::var("CARGO")?);
        cargo
            .current_dir(&self.workspace)
            .args(["build", "--profile", "component", "--target", TARGET])
            .args(arguments)
            .arg("--target-dir")
            .arg(&self.target_dir)
            // The outer build's flags are for another target. SIMD is in WebAssembly 2.0; reading JSON is a fifth faster by it.
            // Without names, wasm-ld can write numbers in as few bytes as they need, and does so only when it is told to: 31 KB
            // of the plugin.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                ["-Ctarget-feature=+simd128".into(), "-Clink-arg=--compress-relocations".into()]
                    .into_iter()
                    .chain(without_paths())
                    .collect::<Vec<String>>()
                    .join("\x1f"),
            )
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

    /// The component that was built as this file, which is put where `just dist` finds it, too, as `name`.wasm.
    pub fn component(&self, file: &str, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let built = fs::read(self.target_dir.join(TARGET).join("component").join(file))?;
        let component = without_names(&built).ok_or("what cargo built is no component")?;
        fs::write(self.target_dir.join(name).with_extension("wasm"), &component)?;
        Ok(component)
    }

    /// Has cargo build again when one of these changes.
    pub fn watch(&self, paths: &[&str]) {
        for path in paths.iter().chain(&["core", "guest", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]) {
            println!("cargo::rerun-if-changed={}", Path::new(&self.workspace).join(path).display());
        }
    }
}

/// What takes the folder of each registry out of the file names in panics: whoever runs a component has no use for where its builder
/// keeps crates. It is 8 KB of the largest.
fn without_paths() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let folders = registries.into_iter().flatten().flatten().map(|folder| folder.path());
    folders.map(|folder| format!("--remap-path-prefix={}/=", folder.display())).collect()
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
