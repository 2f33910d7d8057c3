//! What is found in a component's file.

use crate::load_limits::LoadLimit;
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use wasmparser::{CustomSectionReader, KnownCustom};

/// What was found in a component's file, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    /// The count for each limit, in the order of [`LoadLimit::COUNTED`].
    pub(crate) counts: [u64; LoadLimit::COUNTED.len()],
    /// The names of the component's imports, and whether each is an instance.
    pub(crate) imports: Vec<Import>,
    /// The names of the component's exports.
    pub(crate) exports: Vec<String>,
    /// The tools that made the component, as its producers sections say: `language Rust 1.95.0`. At most 32, made safe to be shown.
    pub(crate) producers: BTreeSet<String>,
}

/// An import of the outermost component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) is_instance: bool,
}

/// How many producers are listed at most.
const MAX_PRODUCERS: usize = 32;

impl Inventory {
    /// Adds the producers of a section. They are only for people, so malformed ones are skipped.
    pub(crate) fn producers(&mut self, section: &CustomSectionReader<'_>) {
        let KnownCustom::Producers(fields) = section.as_known() else { return };
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                if self.producers.len() == MAX_PRODUCERS {
                    return;
                }
                let text = format!("{} {} {}", field.name, text::name(value.name), text::name(value.version));
                // Some producers have no version.
                self.producers.insert(text.trim_end().into());
            }
        }
    }
}
