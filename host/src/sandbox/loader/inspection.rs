//! What can be known about a component before it is loaded.

use super::compose::{Access, Imports};
use super::inventory::Inventory;
use crate::extension_error::ExtensionError;
use crate::load_limits::{LoadLimit, LoadLimits};
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can be known about a component before it is loaded. Names are as they are in the file: escape them before you show them
/// on a terminal, as the `Display` of this type and [`input::json`](crate::input::json) do. They are at most [`LoadLimits::name_bytes`] long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Inspection {
    /// The component's imports, and what each gives access to; at most the first 1,000.
    pub imports: Vec<Import>,
    /// The names of the component's exports; at most the first 1,000.
    pub exports: Vec<String>,
    /// How much the component has of everything that is limited.
    pub counts: Vec<Count>,
    /// The tools that made the component, as it says itself: `processed-by wit-component 0.244.0`. At most 32.
    pub producers: Vec<String>,
    /// The size of the compiled artifact, in bytes; absent if the component was not compiled.
    pub compiled_bytes: Option<u64>,
    /// Why the component would not be loaded. If this is present, the other fields contain only what was read before.
    pub problem: Option<ExtensionError>,
    /// Why [`Tenant::run_extension`](crate::Tenant::run_extension) could not run the component, although it can be loaded: it exports no
    /// `wasi:cli/run`, or imports what only an embedder's linker has. Absent if it can be run, or cannot be loaded.
    pub not_runnable: Option<String>,
}

/// An import of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The import's name, with the version.
    pub name: String,
    /// What the import gives access to.
    pub access: Access,
}

impl Import {
    /// Whether the import has this name, which may be without the version.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.name.split('@').next() == Some(name)
    }
}

/// How much a component has of something that one of the [`LoadLimits`] limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The name of the limit.
    pub limit: LoadLimit,
    /// The limit's value.
    pub value: u64,
    /// How much the component has, as far as it was read.
    pub found: u64,
}

impl Inspection {
    /// The inspection of a file that was not read any further, for this reason.
    pub fn refused(problem: ExtensionError) -> Inspection {
        Inspection {
            imports: Vec::new(),
            exports: Vec::new(),
            counts: Vec::new(),
            producers: Vec::new(),
            compiled_bytes: None,
            problem: Some(problem),
            not_runnable: None,
        }
    }

    pub(crate) fn new(
        found: Inventory,
        limits: &LoadLimits,
        imports: &Imports,
        compiled: Result<u64, ExtensionError>,
    ) -> Inspection {
        let import = |import: super::inventory::Import| Import { access: imports.access(&import.name), name: import.name };
        let count = |limit: LoadLimit| Count { limit, value: limit.of(limits), found: found.counts[limit as usize] };
        Inspection {
            counts: LoadLimit::COUNTED.into_iter().map(count).collect(),
            imports: found.imports.into_iter().take(LISTED).map(import).collect(),
            exports: found.exports.into_iter().take(LISTED).collect(),
            producers: found.producers.into_iter().collect(),
            compiled_bytes: compiled.as_ref().ok().copied(),
            problem: compiled.err(),
            not_runnable: None,
        }
    }
}

/// How many imports and exports are listed at most.
const LISTED: usize = 1_000;

/// How many imports and exports are shown at most. Python's components have 27.
const SHOWN: usize = 100;

/// Writes how many imports or exports are not shown.
fn more(f: &mut fmt::Formatter<'_>, what: &str, all: usize) -> fmt::Result {
    match all.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(f, "{what}    and {more} more"),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            None => writeln!(f, "result    it can be loaded")?,
            Some(problem) => writeln!(f, "result    it is refused: {problem}")?,
        }
        match &self.not_runnable {
            Some(reason) => writeln!(f, "run       not by `incluster run`: {reason}")?,
            None if self.problem.is_none() => writeln!(f, "run       `incluster run` can run it")?,
            None => {}
        }
        for import in self.imports.iter().take(SHOWN) {
            let note = if import.access == Access::Closed { " (every use of it is denied)" } else { "" };
            writeln!(f, "import    {:<9} {}{note}", import.access, text::name(&import.name))?;
        }
        more(f, "import", self.imports.len())?;
        for export in self.exports.iter().take(SHOWN) {
            writeln!(f, "export    {}", text::name(export))?;
        }
        more(f, "export", self.exports.len())?;
        // A file that is refused may not have been read to its end: a zero would say that it has none.
        for Count { limit, value, found } in self.counts.iter().filter(|count| count.found > 0 || self.problem.is_none()) {
            writeln!(f, "count     {:<13} {found:>10} of {value}", limit.name())?;
        }
        for producer in &self.producers {
            writeln!(f, "producer  {producer}")?;
        }
        if let Some(bytes) = self.compiled_bytes {
            writeln!(f, "compiled  {bytes} bytes")?;
        }
        Ok(())
    }
}
