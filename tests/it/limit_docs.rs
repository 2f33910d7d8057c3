//! Compares the defaults in `docs/reference/limits.md` with the real ones.

use crate::tidy::files;
use incluster::{Limits, LoadLimits, Pool, Reuse, StoreOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// Returns the names and the defaults in the table under a heading.
fn rows(page: &str, heading: &str) -> Vec<(String, String)> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, default) = (cells.next()?.trim_end_matches('`'), cells.next()?);
        Some((name.to_string(), default.replace(',', "")))
    };
    section.lines().filter_map(row).collect()
}

/// Returns the defaults under a heading as a part of a configuration file.
fn written(page: &str, heading: &str, prefix: &str) -> Value {
    let mut limits = Map::new();
    for (name, default) in rows(page, heading) {
        let value = default.parse::<u64>().map_or_else(|_| json!(default), |number| json!(number));
        let name = name.strip_prefix(prefix).unwrap_or_else(|| panic!("{name}"));
        assert!(limits.insert(name.into(), value).is_none(), "{heading}: {name} has two rows");
    }
    Value::Object(limits)
}

/// The names of an object's fields, and of theirs.
fn names(value: &Value) -> Vec<String> {
    let fields = value.as_object().into_iter().flatten();
    fields.flat_map(|(name, value)| [vec![name.clone()], names(value)].concat()).collect()
}

fn are_the_defaults<T: Default + Debug + PartialEq + Serialize + DeserializeOwned>(written: Value) {
    assert_eq!(names(&written), names(&serde_json::to_value(T::default()).unwrap()));
    assert_eq!(serde_json::from_value::<T>(written).unwrap(), T::default());
}

#[test]
fn each_limit_has_one_row_with_its_default() {
    let page = files("docs/reference/limits.md").remove(0).1;
    let groups = [("TenantLimits", "tenant"), ("CallLimits", "call"), ("RequestLimits", "request")];
    let groups = groups.map(|(heading, group)| (group.to_string(), written(&page, heading, &format!("{group}."))));
    are_the_defaults::<Limits>(Value::Object(groups.into_iter().collect()));
    are_the_defaults::<LoadLimits>(written(&page, "LoadLimits", ""));
    are_the_defaults::<Reuse>(written(&page, "Reuse", ""));

    let Pool { places, core_instances, memories, tables, table_elements } = Pool::default();
    let StoreOptions { max_objects, max_bytes, .. } = StoreOptions::default();
    let pool = [
        ("places", places.to_string()),
        ("core_instances", core_instances.to_string()),
        ("memories", memories.to_string()),
        ("tables", tables.to_string()),
        ("table_elements", table_elements.to_string()),
    ];
    assert_eq!(rows(&page, "Pool"), pool.map(|(name, default)| (name.to_string(), default)));
    let store = [("max_objects", max_objects.to_string()), ("max_bytes", max_bytes.to_string())];
    assert_eq!(rows(&page, "StoreOptions"), store.map(|(name, default)| (name.to_string(), default)));
}
