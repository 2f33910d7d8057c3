//! Compares `docs/reference/errors.md` with the errors that the contract and the crate declare.

use crate::tidy::files;

fn read(name: &str) -> String {
    files(name).remove(0).1
}

/// Returns the names in the first column of the table under a heading.
fn rows(page: &str, heading: &str) -> Vec<String> {
    let (_, section) = page.split_once(&format!("\n### `{heading}`\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(String::from).collect()
}

/// Returns the names of a declaration's cases. In WIT and in formatted Rust, these are the words that four spaces precede.
fn cases(source: &str, declaration: &str) -> Vec<String> {
    let (_, body) = source.split_once(&format!("{declaration} {{\n")).unwrap_or_else(|| panic!("no {declaration}"));
    let lines = body.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let words = lines.filter_map(|line| line.strip_prefix("    ")).filter(|word| word.starts_with(char::is_alphabetic));
    words.map(|word| word.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect()).collect()
}

#[test]
fn each_error_has_one_row_and_nothing_else_has() {
    let (page, contract) = (read("docs/reference/errors.md"), read("wit/types.wit"));
    let variants = contract.lines().filter_map(|line| line.trim().strip_prefix("variant ")?.strip_suffix(" {"));
    let of_contract = variants.filter(|name| name.ends_with("error"));
    let mut declared: Vec<_> =
        of_contract.map(|name| (name.to_string(), cases(&contract, &format!("  variant {name}")))).collect();
    assert_eq!(declared.len(), 3, "{declared:?}");
    for (heading, file, name) in [
        ("incluster::Error", "host/src/error.rs", "Error"),
        ("ExtensionError", "host/src/extension_error.rs", "ExtensionError"),
        ("DocumentError", "host/src/input.rs", "DocumentError"),
    ] {
        declared.push((heading.into(), cases(&read(file), &format!("pub enum {name}"))));
    }
    for (heading, mut cases) in declared {
        let mut rows = rows(&page, &heading);
        cases.sort();
        rows.sort();
        assert!(!cases.is_empty() && rows == cases, "{heading}: the page has {rows:?}, and the code has {cases:?}");
    }
}
