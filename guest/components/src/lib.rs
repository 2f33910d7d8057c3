//! Builds guests into components, for build scripts, by a separate run of cargo.

#[cfg(feature = "wasmtime")]
pub use wasmtime;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// The workspace of a build, and the folder for its guests.
pub struct Guests {
    workspace: PathBuf,
    target_dir: PathBuf,
}

/// The variable that names a folder with components that were built elsewhere, for a package that has none.
const COMPONENTS: &str = "INCLUSTER_COMPONENTS";

/// Reads a prebuilt component: from the package whose build script runs, or from the folder that `INCLUSTER_COMPONENTS` names.
pub fn packaged(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={COMPONENTS}");
    let with_package = || Ok::<_, env::VarError>(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("components"));
    let folder = env::var_os(COMPONENTS).map_or_else(with_package, |folder| Ok(folder.into()))?;
    let path = folder.join(name).with_extension("wasm");
    println!("cargo::rerun-if-changed={}", path.display());
    let missing = |e| {
        format!(
            "{}: {e}; this package has no components, because it was vendored from git: set {COMPONENTS} to a folder with those that `./justw programs` makes",
            path.display()
        )
    };
    Ok(fs::read(&path).map_err(missing)?)
}

impl Guests {
    /// Whether the guests are at the path `above` from the package whose build script runs, as they are in the repository.
    pub fn are_there(above: &str) -> bool {
        let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        Path::new(&manifest).join(above).join("guest/plugin/Cargo.toml").is_file()
    }

    /// The guests of the workspace at the path `above` from the package whose build script runs; they are built in a folder with this name.
    /// Builds with other features need another folder, because cargo runs build scripts at the same time.
    pub fn new(above: &str, folder: &str) -> Result<Guests, Box<dyn Error>> {
        let out = PathBuf::from(env::var("OUT_DIR")?);
        let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(above).canonicalize()?;
        // The folder is beside the build's profiles, so that all of them share it; `OUT_DIR` is target/PROFILE/build/PACKAGE-HASH/out.
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
            // The outer build's flags are for another target. SIMD is in WebAssembly 2.0, and makes reading JSON a fifth faster. Without
            // names, wasm-ld can write numbers in as few bytes as they need, but does so only when it is told to: 31 KB of the plugin.
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

    /// Reads the component that was built as this file, and also puts it where `just dist` finds it, as `name`.wasm.
    pub fn component(&self, file: &str, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let built = fs::read(self.target_dir.join(TARGET).join("component").join(file))?;
        let component = without_names(&built).ok_or("what cargo built is not a component")?;
        fs::write(self.target_dir.join(name).with_extension("wasm"), &component)?;
        Ok(component)
    }

    /// Makes cargo build again when one of these paths changes.
    pub fn watch(&self, paths: &[&str]) {
        for path in paths.iter().chain(&["core", "guest", "wit", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"]) {
            println!("cargo::rerun-if-changed={}", Path::new(&self.workspace).join(path).display());
        }
    }
}

/// The flags that remove the folder of each registry from the file names in panics. Whoever runs a component has no use for where its
/// builder keeps crates, and it is 8 KB of the largest component.
fn without_paths() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let folders = registries.into_iter().flatten().flatten().map(|folder| folder.path());
    folders.map(|folder| format!("--remap-path-prefix={}/=", folder.display())).collect()
}

/// Removes the names of a component's inner parts, which only debuggers use: the custom section `component-name`, which rustc's `strip`
/// leaves in.
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
