//! Fuzz target for the code that counts the contents of an extension's file.

use crate::loader::count::count;
use crate::loader::inventory::Inventory;
use crate::extension_error::ExtensionError;
use crate::load_limits::{LoadLimit, LoadLimits};
use crate::hostile;
use arbitrary::Unstructured;
use wasm_smith::{Component, Config, Module};

/// Counts a file. The input's first byte chooses the kind of file, and the next six its size; a few bytes of it are then changed. Other values of the first
/// byte choose a file made by wasm-smith, or the rest of the input itself.
pub fn loader(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let file = match kind % 24 {
        0..16 => {
            let Some((sizes, damage)) = rest.split_at_checked(6) else { return };
            let size = |place: usize, most: usize| usize::from(u16::from_le_bytes([sizes[place], sizes[place + 1]])) % most;
            damaged(of_kind(kind % 24, size(0, 4_000), size(2, 40), size(4, 1_000)), damage)
        }
        16..20 => match Component::new(Config::default(), &mut Unstructured::new(rest)) {
            Ok(component) => component.to_bytes(),
            Err(_) => return,
        },
        20 | 21 => match Module::new(Config::default(), &mut Unstructured::new(rest)) {
            Ok(module) => hostile::with_module(&module.to_bytes()),
            Err(_) => return,
        },
        _ => rest.into(),
    };
    let limits = LoadLimits::default();
    let mut found = Inventory::default();
    let counted = count(&file, &limits, &mut found);
    let over: Vec<_> = LoadLimit::COUNTED.into_iter().filter(|limit| found.counts[*limit as usize] > limit.of(&limits)).collect();
    match counted {
        Ok(()) => assert_eq!(over, [], "a file that exceeds these limits was accepted"),
        Err(ExtensionError::OverLimit { limit, value, found }) => {
            assert!(found > value && (over == [limit] || limit == LoadLimit::Nesting), "{limit} {over:?}");
        }
        Err(other) => {
            let text = other.to_string();
            assert!(text.len() < 5_000 && !text.contains(incluster_core::text::is_control), "{text:?}");
        }
    }
    assert!(found.producers.len() <= 32);
}

fn of_kind(kind: u8, many: usize, few: usize, some: usize) -> Vec<u8> {
    match kind {
        0 => hostile::nested_types(some),
        1 => hostile::chained_types(some),
        2 => hostile::instantiated(few, 1 + some % 3),
        3 => hostile::instantiated(few % 4, some),
        4 => hostile::nested_components(few * 2),
        5 => hostile::empty_functions(many * 10),
        6 => hostile::locals(some),
        7 => hostile::nested_blocks(many),
        8 => hostile::jump_table(many),
        9 => hostile::tables(few),
        10 => hostile::memories(few),
        11 => hostile::core_modules(few * 3),
        12 => hostile::core_imports(many * 4, &"n".repeat(few * 60)),
        13 => hostile::fields(some, few),
        14 => hostile::doubled_types(few),
        15 => hostile::canonical_functions(many * 8),
        16 => hostile::passive_elements(some, few),
        _ => hostile::large_type(many),
    }
}

/// Changes some bytes of a file. Each change takes three bytes: two for the position, one for the new value.
fn damaged(mut file: Vec<u8>, damage: &[u8]) -> Vec<u8> {
    for change in damage.chunks_exact(3).take(16) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len();
        file[place] = change[2];
    }
    file
}
