//! What is found in the file of a component.

use crate::load_limits::LoadLimit;
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use wasmparser::{CustomSectionReader, KnownCustom};

/// What was found in a file, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    /// How much of what each limit counts, in the order of [`LoadLimit::COUNTED`].
    pub(crate) counts: [u64; LoadLimit::COUNTED.len()],
    /// The names of what the component imports, and whether each is an instance.
    pub(crate) imports: Vec<Import>,
    /// The names of what the component exports.
    pub(crate) exports: Vec<String>,
    /// What made it, as its producers sections say: `language Rust 1.95.0`. At most 32, made fit to be shown.
    pub(crate) producers: BTreeSet<String>,
}

/// An import of the outermost component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) is_instance: bool,
}

/// So many producers are listed.
const MAX_PRODUCERS: usize = 32;

impl Inventory {
    /// They are for people alone: malformed ones are passed over.
    pub(crate) fn producers(&mut self, section: &CustomSectionReader<'_>) {
        let KnownCustom::Producers(fields) = section.as_known() else { return };
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                if self.producers.len() == MAX_PRODUCERS {
                    return;
                }
                let text = format!("{} {} {}", field.name, text::name(value.name), text::name(value.version));
                // Some have no version.
                self.producers.insert(text.trim_end().into());
            }
        }
    }
}
