//! Tests of the components' imports, exports and sizes.

use crate::interfaces::interfaces;

/// Whether an import is a WASI 0.2 interface that any plugin host provides; sockets are not among them.
fn is_common_wasi(import: &str) -> bool {
    let packages = ["wasi:io/", "wasi:clocks/", "wasi:cli/", "wasi:filesystem/", "wasi:http/", "wasi:random/"];
    packages.iter().any(|package| import.starts_with(package)) && import.contains("@0.2.")
}

#[test]
fn the_plugin_imports_wasi_and_exports_the_client() {
    let (imports, exports) = interfaces(incluster::PLUGIN);
    let others: Vec<_> = imports.iter().filter(|import| !is_common_wasi(import)).collect();
    assert!(others.is_empty() && !imports.is_empty(), "{others:?}");
    let exports: Vec<_> = exports.iter().map(String::as_str).collect();
    // A world that exports an interface also exports the types that it uses; otherwise it would have to import them.
    assert_eq!(exports, ["incluster:kubernetes/client@0.1.0", "incluster:kubernetes/types@0.1.0"]);
}

#[test]
fn the_command_imports_wasi_and_exports_run() {
    let (imports, exports) = interfaces(incluster::COMMAND);
    assert!(!imports.is_empty() && imports.iter().all(|import| is_common_wasi(import)), "{imports:?}");
    let exports: Vec<_> = exports.into_iter().collect();
    assert!(matches!(&exports[..], [run] if run.starts_with("wasi:cli/run@0.2.")), "{exports:?}");
}

#[test]
fn the_plugin_is_small() {
    assert!(incluster::PLUGIN.len() <= 325_000, "{} bytes", incluster::PLUGIN.len());
}
