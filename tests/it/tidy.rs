//! Checks of the repository itself.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the name and text of each file that git tracks or would add, and whose name ends with `ending`.
pub fn files(ending: &str) -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git");
    let names = String::from_utf8(listed.stdout).expect("names");
    let read = |name: &str| std::fs::read_to_string(root().join(name)).ok().map(|text| (name.to_string(), text));
    let found: Vec<_> = names.lines().filter(|name| name.ends_with(ending)).filter_map(read).collect();
    assert!(!found.is_empty(), "no {ending} files");
    found
}

#[test]
fn no_source_file_is_long() {
    for (name, text) in files(".rs") {
        assert!(text.lines().count() <= 400, "{name} has {} lines", text.lines().count());
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (name, text) in
        files(".rs").into_iter().chain(files(".wit")).chain(files(".md")).filter(|(name, _)| !name.ends_with("tidy.rs"))
    {
        for mark in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore]"] {
            assert!(!text.contains(mark), "{name} has {mark}");
        }
    }
}

/// `catch_unwind` would catch nothing where an embedder builds with `panic = "abort"`.
#[test]
fn nothing_relies_on_unwinding() {
    for (name, text) in files(".rs").into_iter().filter(|(name, _)| name.starts_with("host/") || name.starts_with("guest/")) {
        assert!(!text.contains("catch_unwind"), "{name}");
    }
}

/// Every item of the contract has a doc comment.
#[test]
fn the_contract_is_documented() {
    for (name, text) in files(".wit") {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (place, line) in lines.iter().enumerate() {
            let declares = !line.is_empty() && !line.starts_with("//") && !line.starts_with(['}', '@']);
            let is_plain = ["package ", "use ", "include ", "import ", "export "].iter().any(|word| line.starts_with(word));
            if declares && !is_plain {
                let before = lines[..place].iter().rev().find(|line| !line.starts_with("@since("));
                assert!(before.is_some_and(|line| line.starts_with("///")), "{name}:{}: {line} has no doc comment", place + 1);
            }
            // Fields and cases are as old as their type.
            let is_part = line.ends_with(',') || line.starts_with("package ");
            if declares && !is_part && name.starts_with("wit/") {
                assert!(place > 0 && lines[place - 1].starts_with("@since("), "{name}:{}: {line} has no @since", place + 1);
            }
        }
    }
}

/// Every test that a Markdown file links to by its name is in the file that the link leads to.
#[test]
fn the_tests_that_documents_name_exist() {
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let mut seen = 0;
    for (document, text) in files(".md") {
        let folder = root().join(document.rsplit_once('/').map_or("", |(folder, _)| folder));
        for link in text.split("[`").skip(1).filter_map(|link| link.split_once(')')) {
            let Some((name, target)) = link.0.split_once("`](").filter(|(name, _)| is_name(name)) else { continue };
            if target.ends_with(".rs") {
                let source = std::fs::read_to_string(folder.join(target)).unwrap_or_default();
                assert!(source.contains(&format!("fn {name}(")), "{document}: there is no {name} in {target}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen} links to tests");
}

/// Every recipe that a Markdown file names exists. (The README's Rust and WIT are compiled, the Rust as a doctest of the crate.)
#[test]
fn the_readme_names_only_recipes_that_exist() {
    let (_, justfile) = files("Justfile").remove(0);
    for (name, text) in files(".md") {
        for (place, _) in text.match_indices("./justw ") {
            let recipe: String =
                text[place + "./justw ".len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
            let declared = justfile.lines().any(|line| line.split([' ', ':']).next() == Some(&*recipe));
            assert!(declared || recipe.is_empty() || recipe.starts_with("--"), "{name}: ./justw {recipe}");
        }
    }
}

/// All files name the same version of this project, and what is published is built with the oldest Rust that the crates permit.
#[test]
fn versions_agree() {
    let manifest = include_str!("../../Cargo.toml");
    let value =
        |key: &str| manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')).unwrap();
    let version = value("version");
    for (name, text) in files("Cargo.toml").into_iter().chain(files("manifest.toml")) {
        let ours = |line: &&str| line.starts_with("incluster") && line.contains("version = ");
        let others: Vec<_> =
            text.lines().filter(ours).filter(|line| !line.contains(&format!("version = \"{version}\""))).collect();
        assert!(others.is_empty(), "{name}: {others:?}, and not {version}");
    }
    let mut images = 0;
    for (name, text) in files(".yaml").into_iter().filter(|(name, _)| name.starts_with("deploy/")) {
        for image in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image: incluster")) {
            assert!(image.ends_with(&format!(":{version}")), "{name}: incluster{image}, and not {version}");
            images += 1;
        }
    }
    assert!(images > 4, "{images} images");
    let changes = include_str!("../../CHANGELOG.md");
    assert!(
        changes.lines().find(|line| line.starts_with("## ")).unwrap().contains(version),
        "CHANGELOG.md begins with another version"
    );
    let published = include_str!("../../tools/programs.sh");
    assert!(published.contains(&format!("\nrust={}.", value("rust-version"))), "tools/programs.sh builds with another Rust");
}
