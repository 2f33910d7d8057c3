//! Every kind of small file that describes something enormous.

use super::*;
use extensions::hostile;

fn found(bytes: &[u8]) -> (Inventory, Result<(), ExtensionError>) {
    let mut found = Inventory::default();
    // On the same stack as in production: a test's thread has a smaller one.
    let counted = crate::sandbox::loader::pipeline::on_own_stack(|| count(bytes, &LoadLimits::default(), &mut found)).unwrap();
    (found, counted)
}

#[test]
fn a_file_that_exceeds_a_limit_is_refused_by_the_limits_name() {
    let name = "\x1b[2J".repeat(24_000);
    for (kind, file, expected) in [
        ("types in types", hostile::nested_types(700), LoadLimit::Nesting),
        ("types in types", hostile::nested_types(3_000), LoadLimit::Nesting),
        ("types in types", hostile::nested_types(17), LoadLimit::Nesting),
        ("a chain of types", hostile::chained_types(3_000), LoadLimit::Nesting),
        ("22 levels of two", hostile::instantiated(22, 2), LoadLimit::Nesting),
        ("25 levels of two", hostile::instantiated(25, 2), LoadLimit::Nesting),
        ("10 levels of two", hostile::instantiated(10, 2), LoadLimit::Instances),
        ("3 levels of 900", hostile::instantiated(3, 900), LoadLimit::Instances),
        ("components in components", hostile::nested_components(20_000), LoadLimit::Nesting),
        ("components that hold others", hostile::closures(30), LoadLimit::Definitions),
        ("instances that hold others", hostile::held_instances(18), LoadLimit::Definitions),
        ("components that nobody instantiates", hostile::copies(3, &hostile::canonical_functions(9_000)), LoadLimit::Definitions),
        ("global variables", hostile::globals(11_000), LoadLimit::Globals),
        ("empty functions", hostile::empty_functions(300_000), LoadLimit::Functions),
        ("local variables", hostile::locals(700), LoadLimit::CodeBytes),
        ("blocks in blocks", hostile::nested_blocks(330_000), LoadLimit::BlockNesting),
        ("tables", hostile::tables(1_000), LoadLimit::TableElements),
        ("memories", hostile::memories(100), LoadLimit::Memories),
        ("core modules", hostile::core_modules(1_000), LoadLimit::CoreModules),
        ("imports", hostile::imports(400_000), LoadLimit::Imports),
        ("core imports", hostile::core_imports(400_000, "x"), LoadLimit::Imports),
        ("a long name", hostile::core_imports(1, &name), LoadLimit::NameBytes),
        ("exports", hostile::exports(400_000), LoadLimit::Definitions),
        ("canonical functions", hostile::canonical_functions(30_000), LoadLimit::Definitions),
        ("fields of types", hostile::fields(9_999, 3), LoadLimit::Types),
        ("a type of many parts", hostile::large_type(15_000_000), LoadLimit::TypeBytes),
        ("elements that each instance copies", hostile::passive_elements(20_000, 120), LoadLimit::InstanceItems),
    ] {
        match found(&file).1 {
            Err(ExtensionError::OverLimit { limit, value, found }) => {
                assert_eq!((limit, value), (expected, limit.of(&LoadLimits::default())), "{kind}");
                assert!(found > value, "{kind}: {found}");
            }
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[test]
fn a_file_just_below_a_limit_is_not_refused() {
    for (kind, file) in [
        ("types in types", hostile::nested_types(14)),
        ("a chain of types", hostile::chained_types(90)),
        ("levels of two", hostile::instantiated(6, 2)),
        ("one level of many", hostile::instantiated(1, 256)),
        ("components in components", hostile::nested_components(16)),
        ("empty functions", hostile::empty_functions(20_000)),
        ("local variables", hostile::locals(100)),
        ("blocks in blocks", hostile::nested_blocks(1_990)),
        ("tables", hostile::made(3, 6)),
        ("components that hold others", hostile::closures(10)),
        ("instances that hold others", hostile::held_instances(10)),
        ("components beside each other", hostile::copies(900, &hostile::empty())),
        ("global variables", hostile::globals(9_999)),
        ("a type of many parts", hostile::large_type(19_900)),
        ("elements that each instance copies", hostile::passive_elements(20_000, 4)),
        ("memories", hostile::memories(3)),
        ("core modules", hostile::core_modules(64)),
        ("record types that double", hostile::doubled_types(15)),
    ] {
        let (found, counted) = found(&file);
        assert_eq!(counted, Ok(()), "{kind}: {:?}", found.counts);
    }
}

#[test]
fn instantiating_something_from_elsewhere_is_refused() {
    for (file, instantiated, origin) in [
        (hostile::imported_component(), "component", "an import"),
        (
            text(
                r#"(component
                  (component $a (component $b) (export "b" (component $b)))
                  (instance $i (instantiate $a))
                  (alias export $i "b" (component $c))
                  (instance (instantiate $c)))"#,
            ),
            "component",
            "an alias of an instance's export",
        ),
        (
            text(
                r#"(component
                  (component $a (import "m" (core module $m)) (core instance (instantiate $m)))
                  (core module $m)
                  (instance (instantiate $a (with "m" (core module $m)))))"#,
            ),
            "core module",
            "an import",
        ),
    ] {
        let expected = ExtensionError::Uncountable { instantiated: instantiated.into(), origin: origin.into() };
        assert_eq!(found(&file).1, Err(expected));
    }
}

/// Items are counted as often as they are made.
#[test]
fn nesting_multiplies() {
    let file = text(
        r#"(component
          (core module $m (memory 1))
          (component $two
            (alias outer 1 $m (core module $m))
            (core instance (instantiate $m))
            (core instance (instantiate $m)))
          (component $again (alias outer 1 $two (component $two)) (export $t "t" (component $two)) (instance (instantiate $t)))
          (instance (instantiate $again)))"#,
    );
    let (found, counted) = found(&file);
    assert_eq!(counted, Ok(()));
    // `$again`, `$two` in it, and two of `$m` in that.
    assert_eq!((found.counts[LoadLimit::Instances as usize], found.counts[LoadLimit::Memories as usize]), (4, 2));
}

#[test]
fn imports_exports_and_producers_are_found() {
    let (found, counted) = found(extensions::PROGRAM);
    assert_eq!(counted, Ok(()));
    assert!(found.imports.iter().any(|import| import.name.starts_with("incluster:kubernetes/client@") && import.is_instance));
    assert_eq!(found.exports.len(), 1);
    assert!(found.exports[0].starts_with("wasi:cli/run@"));
    assert!(found.producers.iter().any(|producer| producer.starts_with("processed-by wit-component")), "{:?}", found.producers);
    assert!(found.producers.iter().all(|producer| producer.trim_end() == producer), "{:?}", found.producers);
}

/// Damaged bytes may be counted or refused, but must not cause a panic.
#[test]
fn damaged_components_are_refused_or_counted() {
    fastrand::seed(7);
    for file in [extensions::PICKER, extensions::STICKY] {
        for _ in 0..300 {
            let mut bytes = file.to_vec();
            for _ in 0..fastrand::usize(1..8) {
                let place = fastrand::usize(..bytes.len());
                bytes[place] = fastrand::u8(..);
            }
            let _ = found(&bytes);
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}
