//! What a component's file may hold, and what making code of it may cost.

use crate::error::Error;
use crate::extension_error::ExtensionError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A process that compiles is not started with less than this: it would die before it has read a small component.
pub(crate) const LEAST_MEMORY: u64 = 96 << 20;

/// The deepest nesting that an embedder may allow. What reads components recurses as deep.
pub(crate) const MAX_NESTING: u64 = 64;

/// The parser's own limit of nesting.
pub(crate) const PARSERS_NESTING: u64 = 100;

/// What the file of an extension may hold, and what compiling it may cost. Whatever exceeds a limit is refused by the limit's name,
/// before it is validated.
///
/// The defaults admit what the toolchains for Rust, JavaScript and Python make of ordinary programs (in November 2026,
/// componentize-js 0.23 and componentize-py 0.25), with room to grow, and little more. Counts are conservative: the file of a component
/// that is instantiated twice counts twice.
///
/// In a configuration file, names are in camel case and sizes in bytes: `codeBytes: 16777216`. What is not given is as by default.
/// `Runtime::builder().load_limits(…).build()` checks them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadLimits {
    /// The size of the file, in bytes. 64 MiB by default.
    pub bytes: u64,
    /// How deep components are nested in components, and types in types. 16 by default, and at most 64.
    pub nesting: u64,
    /// The types that are defined, those within types included. 20,000 by default.
    pub types: u64,
    /// The types of all components and core modules, in bytes. 1 MiB by default. A type is read as a whole before it can be counted, and
    /// takes some 30 times its bytes in memory.
    pub type_bytes: u64,
    /// The core modules in the file, wherever they are nested. 96 by default.
    pub core_modules: u64,
    /// The instances of components and core modules that one instantiation makes, along nesting. 256 by default.
    pub instances: u64,
    /// The definitions that one instantiation works through, along nesting: instances and their arguments, aliases, canonical functions,
    /// imports and exports of components. 20,000 by default.
    pub definitions: u64,
    /// The linear memories: those that core modules define, and those that one instantiation makes, along nesting. 3 by default. Each
    /// takes address space in each place of the runtime's pool.
    pub memories: u64,
    /// The tables, counted as memories are. 6 by default.
    pub tables: u64,
    /// The elements that the largest table has from the start. 20,000 by default, and at most: the pool has no room for more.
    pub table_elements: u64,
    /// The global variables of all core modules. 10,000 by default.
    pub globals: u64,
    /// What core instances hold: functions, imports, global variables and the elements of element segments, along nesting. 100,000 by
    /// default. Each takes up to 64 bytes of every sandbox's memory, beside [`CallLimits::memory`](crate::CallLimits::memory).
    pub instance_items: u64,
    /// The functions: those with code, and the canonical functions along nesting. 30,000 by default.
    pub functions: u64,
    /// The code of all functions, in bytes, with a byte for each local variable. 32 MiB by default.
    pub code_bytes: u64,
    /// The code of the largest function, counted in the same way. 1 MiB by default.
    pub function_bytes: u64,
    /// How deep blocks, loops and branches are nested in a function. 4,000 by default: what a compiler takes for nested loops grows with the
    /// square of it.
    pub block_nesting: u64,
    /// The imports of all core modules and components. 10,000 by default.
    pub imports: u64,
    /// The exports of all core modules and components. 20,000 by default.
    pub exports: u64,
    /// The length of the longest name of an import or export, in bytes. 2 KiB by default.
    pub name_bytes: u64,
    /// The memory that the process that compiles may write to, for a file of [`LoadLimits::bytes`], in bytes. A smaller file has less:
    /// see [`LoadLimits::memory_for`]. 1 GiB by default. In a control group with less memory left, that is the limit.
    pub compile_memory: u64,
    /// The processor time of the process that compiles, for a file of [`LoadLimits::bytes`], over all of its threads. A smaller file has
    /// less: see [`LoadLimits::cpu_time_for`]. 120 s by default.
    #[serde(with = "crate::limits::time")]
    pub compile_cpu_time: Duration,
}

impl LoadLimits {
    /// The memory of the process that compiles a file of this size, in bytes: 208 MiB, and 40 bytes for each of the file's, at most
    /// [`LoadLimits::compile_memory`].
    pub fn memory_for(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(40).saturating_add(208 << 20).min(self.compile_memory)
    }

    /// The processor time of the process that compiles a file of this size: 4 s, and 6 s for each MiB of it, at most
    /// [`LoadLimits::compile_cpu_time`].
    pub fn cpu_time_for(&self, bytes: u64) -> Duration {
        let milliseconds = (bytes.saturating_mul(6000) >> 20).saturating_add(4000);
        Duration::from_millis(milliseconds).min(self.compile_cpu_time)
    }

    /// The largest that the compiled code of a file of this size may be, with what belongs to it, in bytes: 16 MiB, and 8 bytes for each
    /// of the file's.
    pub(crate) fn artifact_for(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(8).saturating_add(16 << 20)
    }

    /// Whether a runtime can keep to them, whose tables have room for so many elements.
    pub(crate) fn check(&self, room_for_elements: usize) -> Result<(), Error> {
        /// The parser's own limit.
        const MAX_NAME_BYTES: u64 = 100_000;
        /// The heads of answers have as many names in them at most.
        const MAX_NAMES: u64 = 1_000_000;
        /// A place of the pool reserves up to 5 GiB of address space for each.
        const MAX_MEMORIES: u64 = 64;
        const MAX_INSTANCES: u64 = 100_000;
        let problem = |limit: LoadLimit, problem: String| Err(Error::LoadLimits { limit: limit.name(), problem });
        for limit in LoadLimit::COUNTED {
            let most = match limit {
                LoadLimit::Nesting => MAX_NESTING,
                LoadLimit::NameBytes => MAX_NAME_BYTES,
                LoadLimit::Imports | LoadLimit::Exports => MAX_NAMES,
                LoadLimit::Memories | LoadLimit::Tables => MAX_MEMORIES,
                LoadLimit::Instances => MAX_INSTANCES,
                LoadLimit::TableElements => room_for_elements as u64,
                _ => u32::MAX.into(),
            };
            match limit.of(self) {
                0 => return problem(limit, "is 0, so that nothing could be loaded".into()),
                value if value > most => return problem(limit, format!("is {value}, and {most} is the most")),
                _ => {}
            }
        }
        if self.compile_memory < LEAST_MEMORY {
            let problem = format!("is {} bytes, and {LEAST_MEMORY} are the least that compiling takes", self.compile_memory);
            return Err(Error::LoadLimits { limit: "compileMemory", problem });
        }
        if self.compile_cpu_time < Duration::from_secs(1) {
            return Err(Error::LoadLimits { limit: "compileCpuTime", problem: "is less than 1s, its grain".into() });
        }
        Ok(())
    }
}

/// One of [`LoadLimits`], by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
#[repr(usize)]
pub enum LoadLimit {
    /// [`LoadLimits::bytes`]
    Bytes,
    /// [`LoadLimits::nesting`]
    Nesting,
    /// [`LoadLimits::types`]
    Types,
    /// [`LoadLimits::type_bytes`]
    TypeBytes,
    /// [`LoadLimits::core_modules`]
    CoreModules,
    /// [`LoadLimits::instances`]
    Instances,
    /// [`LoadLimits::definitions`]
    Definitions,
    /// [`LoadLimits::memories`]
    Memories,
    /// [`LoadLimits::tables`]
    Tables,
    /// [`LoadLimits::table_elements`]
    TableElements,
    /// [`LoadLimits::globals`]
    Globals,
    /// [`LoadLimits::instance_items`]
    InstanceItems,
    /// [`LoadLimits::functions`]
    Functions,
    /// [`LoadLimits::code_bytes`]
    CodeBytes,
    /// [`LoadLimits::function_bytes`]
    FunctionBytes,
    /// [`LoadLimits::block_nesting`]
    BlockNesting,
    /// [`LoadLimits::imports`]
    Imports,
    /// [`LoadLimits::exports`]
    Exports,
    /// [`LoadLimits::name_bytes`]
    NameBytes,
}

impl LoadLimit {
    /// All of them, in the order of their values.
    pub(crate) const COUNTED: [LoadLimit; 19] = [
        LoadLimit::Bytes,
        LoadLimit::Nesting,
        LoadLimit::Types,
        LoadLimit::TypeBytes,
        LoadLimit::CoreModules,
        LoadLimit::Instances,
        LoadLimit::Definitions,
        LoadLimit::Memories,
        LoadLimit::Tables,
        LoadLimit::TableElements,
        LoadLimit::Globals,
        LoadLimit::InstanceItems,
        LoadLimit::Functions,
        LoadLimit::CodeBytes,
        LoadLimit::FunctionBytes,
        LoadLimit::BlockNesting,
        LoadLimit::Imports,
        LoadLimit::Exports,
        LoadLimit::NameBytes,
    ];

    /// As in a configuration file.
    pub fn name(self) -> &'static str {
        match self {
            LoadLimit::Bytes => "bytes",
            LoadLimit::Nesting => "nesting",
            LoadLimit::Types => "types",
            LoadLimit::TypeBytes => "typeBytes",
            LoadLimit::CoreModules => "coreModules",
            LoadLimit::Instances => "instances",
            LoadLimit::Definitions => "definitions",
            LoadLimit::Memories => "memories",
            LoadLimit::Tables => "tables",
            LoadLimit::TableElements => "tableElements",
            LoadLimit::Globals => "globals",
            LoadLimit::InstanceItems => "instanceItems",
            LoadLimit::Functions => "functions",
            LoadLimit::CodeBytes => "codeBytes",
            LoadLimit::FunctionBytes => "functionBytes",
            LoadLimit::BlockNesting => "blockNesting",
            LoadLimit::Imports => "imports",
            LoadLimit::Exports => "exports",
            LoadLimit::NameBytes => "nameBytes",
        }
    }

    /// Its value.
    pub fn of(self, limits: &LoadLimits) -> u64 {
        match self {
            LoadLimit::Bytes => limits.bytes,
            LoadLimit::Nesting => limits.nesting,
            LoadLimit::Types => limits.types,
            LoadLimit::TypeBytes => limits.type_bytes,
            LoadLimit::CoreModules => limits.core_modules,
            LoadLimit::Instances => limits.instances,
            LoadLimit::Definitions => limits.definitions,
            LoadLimit::Memories => limits.memories,
            LoadLimit::Tables => limits.tables,
            LoadLimit::TableElements => limits.table_elements,
            LoadLimit::Globals => limits.globals,
            LoadLimit::InstanceItems => limits.instance_items,
            LoadLimit::Functions => limits.functions,
            LoadLimit::CodeBytes => limits.code_bytes,
            LoadLimit::FunctionBytes => limits.function_bytes,
            LoadLimit::BlockNesting => limits.block_nesting,
            LoadLimit::Imports => limits.imports,
            LoadLimit::Exports => limits.exports,
            LoadLimit::NameBytes => limits.name_bytes,
        }
    }

    pub(crate) fn check(self, limits: &LoadLimits, found: u64) -> Result<(), ExtensionError> {
        let value = self.of(limits);
        if found > value { Err(ExtensionError::OverLimit { limit: self, value, found }) } else { Ok(()) }
    }
}

impl fmt::Display for LoadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for LoadLimits {
    fn default() -> Self {
        LoadLimits {
            bytes: 64 << 20,
            nesting: 16,
            types: 20_000,
            type_bytes: 1 << 20,
            core_modules: 96,
            instances: 256,
            definitions: 20_000,
            memories: 3,
            tables: 6,
            table_elements: 20_000,
            globals: 10_000,
            instance_items: 100_000,
            functions: 30_000,
            code_bytes: 32 << 20,
            function_bytes: 1 << 20,
            block_nesting: 4_000,
            imports: 10_000,
            exports: 20_000,
            name_bytes: 2 << 10,
            compile_memory: 1 << 30,
            compile_cpu_time: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was counted, in November 2026, in a small program that lists pods by `incluster:kubernetes/client`.
    #[test]
    fn the_defaults_admit_what_toolchains_make() {
        let limits = LoadLimits::default();
        assert!(limits.check(20_000).is_ok());
        for (limit, javascript, python) in [
            (LoadLimit::Bytes, 13_642_355, 18_403_626),
            (LoadLimit::Nesting, 1, 1),
            (LoadLimit::Types, 736, 2_381),
            (LoadLimit::TypeBytes, 7_423, 13_108),
            (LoadLimit::CoreModules, 4, 38),
            (LoadLimit::Instances, 27, 109),
            (LoadLimit::Definitions, 343, 3_269),
            (LoadLimit::Memories, 1, 1),
            (LoadLimit::Tables, 2, 2),
            (LoadLimit::TableElements, 7_701, 5_684),
            (LoadLimit::Globals, 4, 874),
            (LoadLimit::InstanceItems, 20_557, 22_583),
            (LoadLimit::Functions, 12_780, 13_512),
            (LoadLimit::CodeBytes, 9_262_249, 6_621_988),
            (LoadLimit::FunctionBytes, 171_672, 426_843),
            (LoadLimit::BlockNesting, 457, 782),
            (LoadLimit::Imports, 113, 2_428),
            (LoadLimit::Exports, 50, 4_469),
            (LoadLimit::NameBytes, 46, 162),
        ] {
            let most: u64 = javascript.max(python);
            assert!(limit.of(&limits) >= most * 2, "{limit}: {most}");
        }
    }

    #[test]
    fn each_limit_has_its_place_and_its_name() {
        for (place, limit) in LoadLimit::COUNTED.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
            let one: LoadLimits = serde_json::from_str(&format!("{{\"{limit}\": 7}}")).unwrap();
            assert_eq!(limit.of(&one), 7, "{limit}");
            assert_eq!(serde_json::to_string(&limit).unwrap(), format!("\"{limit}\""));
        }
    }

    #[test]
    fn a_larger_file_may_take_more_up_to_a_cap() {
        let limits = LoadLimits::default();
        assert_eq!((limits.memory_for(0), limits.cpu_time_for(0)), (208 << 20, Duration::from_secs(4)));
        assert_eq!(limits.cpu_time_for(1 << 19), Duration::from_secs(7));
        assert_eq!((limits.memory_for(1 << 20), limits.cpu_time_for(1 << 20)), (248 << 20, Duration::from_secs(10)));
        assert_eq!((limits.memory_for(u64::MAX), limits.cpu_time_for(u64::MAX)), (1 << 30, Duration::from_secs(120)));
    }
}
