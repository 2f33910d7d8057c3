//! Tests of the standalone component's imports, exports and size.

use crate::interfaces::interfaces;
use incluster_standalone::COMMAND;

#[test]
fn the_command_imports_sockets_and_exports_run() {
    let (imports, exports) = interfaces(COMMAND);
    let packages = ["wasi:io/", "wasi:clocks/", "wasi:cli/", "wasi:filesystem/", "wasi:random/", "wasi:sockets/"];
    let is_known = |import: &str| packages.iter().any(|package| import.starts_with(package)) && import.contains("@0.2.");
    let others: Vec<_> = imports.iter().filter(|import| !is_known(import)).collect();
    assert!(others.is_empty(), "{others:?}");
    for needed in ["wasi:sockets/tcp@", "wasi:random/random@", "wasi:clocks/wall-clock@"] {
        assert!(imports.iter().any(|import| import.starts_with(needed)), "{needed}");
    }
    let exports: Vec<_> = exports.into_iter().collect();
    assert!(matches!(&exports[..], [run] if run.starts_with("wasi:cli/run@0.2.")), "{exports:?}");
}

#[test]
fn the_command_is_small() {
    assert!(COMMAND.len() <= 1_175_000, "{} bytes", COMMAND.len());
}

#[test]
fn the_readme_says_how_large_the_components_are() {
    let readme = include_str!("../../README.md");
    let components =
        [("incluster-plugin", incluster::PLUGIN), ("incluster", incluster::COMMAND), ("incluster-standalone", COMMAND)];
    for (name, component) in components {
        let row = readme.lines().find_map(|line| line.strip_prefix(&format!("| `{name}.wasm` | "))).expect("a row");
        let said: usize = row.split(' ').next().unwrap().replace(',', "").parse().unwrap();
        assert!(said.abs_diff(component.len()) * 50 < said, "{name}.wasm has {} bytes; the README says {said}", component.len());
    }
}

/// The components do not reveal where the build machine keeps its crates.
#[test]
fn no_component_names_its_builders_folders() {
    for component in [incluster::PLUGIN, incluster::COMMAND, COMMAND] {
        let text = String::from_utf8_lossy(component);
        assert!(text.contains(".rs") && !text.contains("registry/src"));
    }
}
