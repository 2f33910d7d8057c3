//! `incluster new`: writes the project of an extension, with everything that it needs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;

/// The sources of the crates that the project depends on.
const CRATES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/crates.rs"));

/// The programs in other languages, and the world that they are built against.
const PROGRAMS: &[(&str, &[(&str, &str)])] = &include!(concat!(env!("OUT_DIR"), "/languages.rs"));

/// The files of a project without its program. [`NAME`] stands for the project's name.
const PODS: (&str, &str) = ("pods.yaml", include_str!("../templates/pods.yaml"));
const RUST: [(&str, &str); 7] = [
    (".cargo/config.toml", include_str!("../templates/rust/cargo/config.toml")),
    (".gitignore", include_str!("../templates/rust/gitignore")),
    ("Cargo.toml", include_str!("../templates/rust/manifest.toml")),
    ("README.md", include_str!("../templates/rust/README.md")),
    ("policy.yaml", include_str!("../templates/rust/policy.yaml")),
    ("rust-toolchain.toml", include_str!("../templates/rust/rust-toolchain.toml")),
    ("src/main.rs", include_str!("../templates/rust/src/main.rs")),
];
const POLICY: (&str, &str) = ("policy.yaml", include_str!("../templates/policy.yaml"));

/// What stands for the project's name in these files.
const NAME: &str = "{{name}}";

/// The language of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    JavaScript,
    Python,
    Go,
}

impl FromStr for Language {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Language, &'static str> {
        match name {
            "rust" => Ok(Language::Rust),
            "javascript" => Ok(Language::JavaScript),
            "python" => Ok(Language::Python),
            "go" => Ok(Language::Go),
            _ => Err("--language takes rust, javascript, python or go"),
        }
    }
}

impl Language {
    /// The language's name in [`PROGRAMS`], the README of its project, and the content of `.gitignore`. `None` for Rust, which has its own
    /// files.
    fn other(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Language::Rust => None,
            Language::JavaScript => {
                Some(("javascript", include_str!("../templates/javascript/README.md"), "/node_modules\n*.wasm\n"))
            }
            Language::Python => Some(("python", include_str!("../templates/python/README.md"), "/.venv\n__pycache__\n*.wasm\n")),
            Language::Go => Some((
                "go",
                include_str!("../templates/go/README.md"),
                "*.wasm\n/pkg\n/lister/*\n!/lister/export_wasi_cli_run\n!/lister/kubernetes\n",
            )),
        }
    }
}

/// Writes a project to a folder, which may exist if it is empty. Returns the lines that say what to do next.
pub fn write(dir: &Path, language: Language) -> Result<String, String> {
    let name = name(dir, language)?;
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(format!("{} is not empty: name a folder that does not exist yet", dir.display())),
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
    let put_contract = |folder: &str| incluster::WIT.iter().try_for_each(|(path, text)| put(&Path::new(folder).join(path), text));
    put(Path::new(PODS.0), PODS.1)?;
    let Some((language, readme, ignored)) = language.other() else {
        for (path, text) in RUST {
            put(Path::new(path), &text.replace(NAME, name))?;
        }
        for (path, text) in CRATES {
            put(&Path::new("crates").join(path), text)?;
        }
        put_contract("crates/incluster-extension/wit")?;
        return Ok(next(
            dir,
            &format!(
                "cargo build --release\nincluster run --pods pods.yaml --policy policy.yaml target/wasm32-wasip2/release/{name}.wasm"
            ),
        ));
    };
    let program = PROGRAMS.iter().find(|(of, _)| *of == language).map_or(&[][..], |(_, files)| files);
    for (path, text) in program.iter().chain([&POLICY, &("README.md", readme), &(".gitignore", ignored)]) {
        put(Path::new(path), &text.replace(NAME, name))?;
    }
    put_contract("wit/deps/incluster-kubernetes")?;
    // The commands come from the README, so that they are written in one place.
    let commands: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    Ok(next(dir, &commands.join("\n")))
}

/// The lines that say what to do with a new project.
fn next(dir: &Path, commands: &str) -> String {
    let dir = dir.display();
    let commands = commands.replace('\n', "\n  ");
    format!("{dir} is an extension that lists pods. Try it:\n\n  cd {dir}\n  {commands}\n")
}

/// Names that cargo uses for other things, and the names of the crates that come with a project.
const TAKEN: [&str; 6] = ["build", "deps", "examples", "incremental", "incluster-core", "incluster-extension"];

/// The folder's name, if it can also be the project's name.
fn name(dir: &Path, language: Language) -> Result<&str, String> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let (dir, taken) = (dir.display(), TAKEN.join(", "));
    if !is_name {
        return Err(format!(
            "{dir}: the folder's name becomes the project's name: use letters, digits, - and _, with a letter first"
        ));
    }
    if language == Language::Rust && TAKEN.contains(&name) {
        return Err(format!("{dir}: the folder's name becomes the crate's, which cannot be one of {taken}"));
    }
    Ok(name)
}
