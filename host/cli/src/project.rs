//! `incluster new`: a project of an extension, with all that it needs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The sources of the crates that the project depends on.
const CRATES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/crates.rs"));

/// The project's own files. `NAME` stands for its name.
const RUST: [(&str, &str); 8] = [
    (".cargo/config.toml", include_str!("../templates/rust/cargo/config.toml")),
    (".gitignore", include_str!("../templates/rust/gitignore")),
    ("Cargo.toml", include_str!("../templates/rust/manifest.toml")),
    ("README.md", include_str!("../templates/rust/README.md")),
    ("pods.yaml", include_str!("../templates/rust/pods.yaml")),
    ("policy.yaml", include_str!("../templates/rust/policy.yaml")),
    ("rust-toolchain.toml", include_str!("../templates/rust/rust-toolchain.toml")),
    ("src/main.rs", include_str!("../templates/rust/src/main.rs")),
];

/// Writes a project in Rust to a folder, which may be there if it is empty. Returns the lines that tell what to do next.
pub fn write(dir: &Path) -> Result<String, String> {
    let name = name(dir)?;
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(format!("{} is not empty: name a folder that is not there yet", dir.display())),
        Ok(false) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("failed to read {}: {error}", dir.display())),
    }
    let put = |path: &Path, text: &str| {
        let path = dir.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .map_err(|error: io::Error| format!("failed to write {}: {error}", path.display()))
    };
    for (path, text) in RUST {
        put(Path::new(path), &text.replace("NAME", name))?;
    }
    let crates = Path::new("crates");
    for (path, text) in CRATES {
        put(&crates.join(path), text)?;
    }
    for (path, text) in incluster::WIT {
        put(&crates.join("incluster-extension/wit").join(path), text)?;
    }
    let dir = dir.display();
    Ok(format!(
        "{dir} is an extension that lists pods. Try it:\n\n  cd {dir}\n  cargo build --release\n  incluster run --pods pods.yaml --policy policy.yaml target/wasm32-wasip2/release/{name}.wasm\n"
    ))
}

/// Names that cargo has other uses for, and those of the crates that come with a project.
const TAKEN: [&str; 6] = ["build", "deps", "examples", "incremental", "incluster-core", "incluster-extension"];

/// The folder's name, if a crate can have it.
fn name(dir: &Path) -> Result<&str, String> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !TAKEN.contains(&name);
    is_name.then_some(name).ok_or_else(|| {
        let (dir, taken) = (dir.display(), TAKEN.join(", "));
        format!(
            "{dir}: the folder's name becomes the crate's: letters, digits, - and _, with a letter first, and none of {taken}"
        )
    })
}
