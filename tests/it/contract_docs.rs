//! Renders `wit/` as `docs/contract.md`, and checks that the page is up to date.

use std::path::Path;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// The beginning of the page.
const PREFACE: &str = "\
# The contract

This page describes what an extension can call, and the types of that: the world `extension` of `incluster:kubernetes`, with the
interfaces [`client`](#incluster_kubernetes_client_0_1_0) and [`types`](#incluster_kubernetes_types_0_1_0). wit-bindgen renders it from
the comments in [`wit/`](../wit): change them there, then run `./justw wit-docs`. [`wit/VERSIONING.md`](../wit/VERSIONING.md) says how
the contract itself may change.

";

/// Renders the page as it should be.
fn rendered() -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).expect("the contract");
    let world = resolve.select_world(&[package], Some("extension")).expect("the world");
    let mut files = Files::default();
    wit_bindgen_markdown::Opts::default().build().generate(&mut resolve, world, &mut files).expect("the contract is rendered");
    let (_, page) = files.iter().find(|(name, _)| name.ends_with(".md")).expect("a page");
    let mut page = String::from_utf8(page.to_vec()).expect("text");
    // A type is shown only where it is declared, not where another interface uses it: two anchors would have the same name.
    for name in resolve.types.iter().filter_map(|(_, declared)| declared.name.as_ref()) {
        let anchor = name.replace('-', "_");
        page = page.replace(&format!("#### <a id=\"{anchor}\"></a>`type {name}`\n[`{name}`](#{anchor})\n<p>\n\n"), "");
    }
    // After `<p>`, Markdown renders no backticks until the next empty line. An empty line begins a paragraph as well.
    page = page.replace("\n  <p>", "\n\n  ").replace("\n<p>", "\n\n");
    format!("{PREFACE}{}\n", page.trim_end())
}

#[test]
fn the_page_is_what_the_contract_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract.md");
    let rendered = rendered();
    if std::env::var_os("WRITE_CONTRACT_DOCS").is_some() {
        std::fs::write(&path, &rendered).expect("the page is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == rendered, "docs/contract.md is out of date: run `./justw wit-docs`");
}

#[test]
fn its_links_lead_to_one_place_each() {
    let page = rendered();
    for (place, _) in page.match_indices("](#") {
        let name = page[place + 3..].split(')').next().unwrap_or_default();
        assert_eq!(page.matches(&format!("<a id=\"{name}\"></a>")).count(), 1, "#{name}");
    }
}
