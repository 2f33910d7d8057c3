//! Gathers what `incluster new` writes: the sources of the crates that an extension in Rust depends on, and the programs in other
//! languages. In the repository, they are beside this package. Once it is packaged, they are in it, in `crates/` and `languages/`.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate, and its folder in the repository.
const CRATES: [(&str, &str); 2] = [("incluster-core", "core"), ("incluster-extension", "guest/extension")];

/// The files of `examples/extensions` for a project of each language. Those for every project are in `WORLD`.
const LANGUAGES: [(&str, &[&str]); 3] = [
    ("javascript", &[".npmrc", "build.js", "errors.js", "lister.js", "package.json"]),
    ("python", &["errors.py", "lister.py", "requirements.txt"]),
    ("go", &["build.sh", "lister/export_wasi_cli_run/lister.go", "lister/kubernetes/errors.go"]),
];
const WORLD: [&str; 2] = ["wit/lister.wit", "wit/deps/wasi-cli/cli.wit"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let repository = package.join("../..");
    let is_packaged = package.join("crates").is_dir();
    // cargo leaves folders with a Cargo.toml out of a package.
    let manifest_name = if is_packaged { "manifest.toml" } else { "Cargo.toml" };
    let mut files = Vec::new();
    for (name, folder) in CRATES {
        let dir = if is_packaged { package.join("crates").join(name) } else { repository.join(folder) };
        let manifest = fs::read_to_string(dir.join(manifest_name))?;
        files.push((format!("{name}/Cargo.toml"), without_tests(&manifest)));
        for readme in [dir.join("README.md")].into_iter().filter(|path| path.is_file()) {
            files.push((format!("{name}/README.md"), fs::read_to_string(readme)?));
        }
        sources(&dir.join("src"), &format!("{name}/src"), &mut files)?;
        println!("cargo::rerun-if-changed={}", dir.display());
    }
    let workspace = if is_packaged { package.join("crates") } else { repository.clone() }.join(manifest_name);
    println!("cargo::rerun-if-changed={}", workspace.display());
    files.push(("Cargo.toml".into(), workspace_of(&fs::read_to_string(workspace)?)));
    let mut code = String::from("[\n");
    for (path, text) in &files {
        writeln!(code, "    ({path:?}, {text:?}),")?;
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("crates.rs"), code + "]\n")?;
    let languages = if is_packaged { package.join("languages") } else { repository.join("examples/extensions") };
    fs::write(out.join("languages.rs"), programs(&languages)?)?;
    Ok(())
}

/// The programs in other languages, as Rust source: the paths and texts of the project of each language.
fn programs(dir: &Path) -> Result<String, Box<dyn Error>> {
    let mut code = String::from("[\n");
    for (language, files) in LANGUAGES {
        write!(code, "    ({language:?}, &[")?;
        let own = files.iter().map(|file| (*file, dir.join(language).join(file)));
        for (path, file) in own.chain(WORLD.iter().map(|file| (*file, dir.join(file)))) {
            println!("cargo::rerun-if-changed={}", file.display());
            let text = fs::read_to_string(&file).map_err(|error| format!("failed to read {}: {error}", file.display()))?;
            // In a project, `wit` is in the project's own folder.
            write!(code, "({path:?}, {:?}), ", text.replace("../wit", "wit"))?;
        }
        code += "]),\n";
    }
    Ok(code + "]\n")
}

/// A manifest without the dependencies for tests.
fn without_tests(manifest: &str) -> String {
    manifest.split("\n[dev-dependencies]").next().unwrap_or_default().to_string() + "\n"
}

/// The Rust sources of a folder and the folders in it, without tests, in the order of their names.
fn sources(dir: &Path, name: &str, files: &mut Vec<(String, String)>) -> Result<(), Box<dyn Error>> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            sources(&entry.path(), &path, files)?;
        } else {
            let text = fs::read_to_string(entry.path())?;
            // A module's tests are at its end.
            files.push((path, text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default().to_string()));
        }
    }
    Ok(())
}

/// The part of the repository's manifest that the crates inherit from, for a workspace of only these crates.
fn workspace_of(manifest: &str) -> String {
    let mut text = String::from("[workspace]\nresolver = \"3\"\nmembers = [");
    text += &CRATES.map(|(name, _)| format!("{name:?}")).join(", ");
    text += "]\n";
    for table in manifest.split("\n[").map(|table| format!("[{table}")) {
        if ["[workspace.package]", "[workspace.lints."].iter().any(|name| table.starts_with(name)) {
            text += &format!("\n{}\n", table.trim_end());
        } else if table.starts_with("[workspace.dependencies]") {
            // Keep the dependencies from registries, and add the crate that is in the same folder here.
            let kept = table.lines().filter(|line| !line.contains("path = "));
            text += &format!("\n{}\n", kept.collect::<Vec<_>>().join("\n").trim_end());
            text += "incluster-core = { path = \"incluster-core\" }\n";
        }
    }
    text
}
