//! Limits of an extension's file, and of compiling it.

use crate::error::Error;
use crate::extension_error::ExtensionError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The least memory for which a compiling process is started, in bytes. With less it would die before it has read a small component.
pub(crate) const LEAST_MEMORY: u64 = 96 << 20;

/// The deepest nesting that an embedder may allow. The code that reads components recurses just as deep.
pub(crate) const MAX_NESTING: u64 = 64;

/// The parser's own limit on nesting.
pub(crate) const PARSERS_NESTING: u64 = 100;

/// What the file of an extension may contain, and what compiling it may cost. A file that exceeds a limit is refused before it is
/// validated; the error names the limit.
///
/// The defaults admit ordinary programs built by the toolchains for Rust, JavaScript and Python (in November 2026, componentize-js 0.23
/// and componentize-py 0.25), with room to grow, and little more. Counts are conservative: the file of a component that is instantiated
/// twice counts twice.
///
/// In a configuration file, names are in camel case: `codeBytes: 16Mi`. Omitted fields have their defaults.
/// `Runtime::builder().load_limits(…).build()` checks the values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadLimits {
    /// The size of the file, in bytes. 64 MiB by default.
    #[serde(with = "crate::limits::size")]
    pub bytes: u64,
    /// How deep components may be nested in components, and types in types. 16 by default, and at most 64.
    pub nesting: u64,
    /// How many types may be defined, including those within types. 20,000 by default.
    pub types: u64,
    /// The total size of the types of all components and core modules, in bytes. 1 MiB by default. A type is read as a whole before it can
    /// be counted, and takes about 30 times its size in memory.
    #[serde(with = "crate::limits::size")]
    pub type_bytes: u64,
    /// How many core modules the file may contain, including nested ones. 96 by default.
    pub core_modules: u64,
    /// How many instances of components and core modules one instantiation may make, including nested ones. 256 by default.
    pub instances: u64,
    /// How many definitions one instantiation may work through, including nested ones: instances and their arguments, aliases, canonical
    /// functions, imports and exports of components. 20,000 by default.
    pub definitions: u64,
    /// How many linear memories core modules may define, and how many one instantiation may make, including nested ones. 3 by default. Each
    /// takes address space in each place of the runtime's pool.
    pub memories: u64,
    /// How many tables core modules may define, and how many one instantiation may make, including nested ones. 6 by default.
    pub tables: u64,
    /// The initial size of the largest table, in elements. 20,000 by default, and at most [`Pool::table_elements`](crate::Pool::table_elements).
    pub table_elements: u64,
    /// How many global variables all core modules may have. 10,000 by default.
    pub globals: u64,
    /// How many items core instances may hold, including nested ones: functions, imports, global variables and elements of element segments.
    /// 100,000 by default. Each takes up to 64 bytes of memory in every sandbox, beside [`CallLimits::memory`](crate::CallLimits::memory).
    pub instance_items: u64,
    /// How many functions there may be: those with code, and canonical functions, including nested ones. 30,000 by default.
    pub functions: u64,
    /// The total code size of all functions, in bytes, plus a byte for each local variable. 32 MiB by default.
    #[serde(with = "crate::limits::size")]
    pub code_bytes: u64,
    /// The code size of the largest function, counted like [`LoadLimits::code_bytes`]. 1 MiB by default.
    #[serde(with = "crate::limits::size")]
    pub function_bytes: u64,
    /// How deep blocks, loops and branches may be nested in a function. 4,000 by default: a compiler's cost for nested loops grows with the
    /// square of the depth.
    pub block_nesting: u64,
    /// How many imports all core modules and components may have. 10,000 by default.
    pub imports: u64,
    /// How many exports all core modules and components may have. 20,000 by default.
    pub exports: u64,
    /// The length of the longest name of an import or export, in bytes. 2 KiB by default.
    #[serde(with = "crate::limits::size")]
    pub name_bytes: u64,
    /// How much memory the compiling process may write to for a file of [`LoadLimits::bytes`], in bytes. 1 GiB by default. For a smaller file
    /// it is less: see [`LoadLimits::memory_for`]. If the control group has less memory left, that is the limit.
    #[serde(with = "crate::limits::size")]
    pub compile_memory: u64,
    /// The processor time of the compiling process, over all of its threads, for a file of [`LoadLimits::bytes`]. 120 s by default. For a
    /// smaller file it is less: see [`LoadLimits::cpu_time_for`].
    #[serde(with = "crate::limits::time")]
    pub compile_cpu_time: Duration,
}

impl LoadLimits {
    /// The memory of the process that compiles a file of this size, in bytes: 208 MiB, plus 40 bytes for each byte of the file, but at most
    /// [`LoadLimits::compile_memory`].
    pub fn memory_for(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(40).saturating_add(208 << 20).min(self.compile_memory)
    }

    /// The processor time of the process that compiles a file of this size: 4 s, plus 6 s for each MiB of the file, but at most
    /// [`LoadLimits::compile_cpu_time`].
    pub fn cpu_time_for(&self, bytes: u64) -> Duration {
        let milliseconds = (bytes.saturating_mul(6000) >> 20).saturating_add(4000);
        Duration::from_millis(milliseconds).min(self.compile_cpu_time)
    }

    /// The largest size of the compiled artifact for a file of this size, in bytes: 16 MiB, plus 8 bytes for each byte of the file.
    pub(crate) fn artifact_for(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(8).saturating_add(16 << 20)
    }

    /// Checks that a runtime whose tables have room for this many elements can enforce the limits.
    pub(crate) fn check(&self, room_for_elements: usize) -> Result<(), Error> {
        /// The parser's own limit on the length of a name.
        const MAX_NAME_BYTES: u64 = 100_000;
        /// The parser's own limit on a module's imports, and on its exports.
        const MAX_NAMES: u64 = 1_000_000;
        /// A place of the pool reserves up to 5 GiB of address space for each memory.
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
                0 => return problem(limit, "is 0: nothing could be loaded".into()),
                value if value > most => return problem(limit, format!("is {value}, and {most} is the maximum")),
                _ => {}
            }
        }
        if self.compile_memory < LEAST_MEMORY {
            let problem = format!("is {} bytes, and compiling takes at least {LEAST_MEMORY}", self.compile_memory);
            return Err(Error::LoadLimits { limit: "compileMemory", problem });
        }
        if self.compile_cpu_time < Duration::from_secs(1) {
            return Err(Error::LoadLimits { limit: "compileCpuTime", problem: "is less than 1s, its smallest unit".into() });
        }
        Ok(())
    }
}

/// The name of one of the [`LoadLimits`].
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
    /// All limits that are counted, in the order of their discriminants.
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

    /// The limit's name in a configuration file.
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

    /// The limit's value.
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

    /// The counts of a small program that lists pods by `incluster:kubernetes/client`, in November 2026.
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
