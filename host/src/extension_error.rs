//! The error of loading an extension.

use crate::load_limits::LoadLimit;
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Why a component cannot be loaded as an extension. All texts in it are safe for a terminal and a log: the component's names are
/// escaped, and cut after 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The component exceeds one of the [`LoadLimits`](crate::LoadLimits).
    OverLimit {
        /// The name of the limit.
        limit: LoadLimit,
        /// The limit's value.
        value: u64,
        /// What had been counted when the component was refused. The component has at least this much.
        found: u64,
    },
    /// The component instantiates something that it does not define, so its contents cannot be counted.
    Uncountable {
        /// What is instantiated: a component or a core module.
        instantiated: String,
        /// Where that comes from.
        origin: String,
    },
    /// The file is a core module: it was built for another target, or not turned into a component.
    CoreModule,
    /// The file does not begin with the magic bytes of WebAssembly's binary format.
    NotAComponent,
    /// The component is malformed, for this reason.
    Malformed(String),
    /// The component imports something that an extension may not use.
    Imports {
        /// The names of these imports, at most the first ten.
        names: Vec<String>,
        /// How many such imports there are.
        total: usize,
    },
    /// The component imports something under an interface's name that is not an interface.
    NotAnInterface(String),
    /// The component imports an interface in another version, or with other types, than the client has.
    DoesNotFit {
        /// The import's name.
        import: String,
        /// What does not fit.
        reason: String,
    },
    /// The component cannot be compiled, for this reason.
    NotCompiled(String),
    /// Compiling took more memory than [`LoadLimits::memory_for`](crate::LoadLimits::memory_for) a file of this size, or than was left.
    CompileMemory {
        /// How much memory it had, in bytes.
        limit: u64,
        /// Whether this was all that the control group of this process had left.
        is_all_that_is_left: bool,
    },
    /// Compiling took longer than [`LoadLimits::cpu_time_for`](crate::LoadLimits::cpu_time_for) a file of this size.
    CompileCpuTime {
        /// How much processor time it had.
        limit: Duration,
    },
    /// The compiling process did not finish in time, although it did not use up its processor time.
    CompileWallTime {
        /// How long the host waited.
        limit: Duration,
    },
    /// The compiled component is too large.
    ArtifactTooLarge {
        /// How large it may be, in bytes.
        limit: u64,
    },
    /// The compiling process ended without an answer.
    CompilerDied {
        /// How the process ended, and its last output.
        how: String,
    },
    /// The compiling process could not be started, or does not answer as it should.
    CompilerNotUsable {
        /// The program.
        program: String,
        /// What is wrong with the program or its answer.
        reason: String,
    },
    /// The control group of this process has too little memory left to compile.
    NoMemoryLeft {
        /// How much is left, in bytes.
        left: u64,
        /// How much compiling takes at least, in bytes.
        needed: u64,
    },
    /// The operating system refused to map the compiled code into this process's memory.
    NotMapped {
        /// What the operating system said.
        reason: String,
    },
    /// The precompiled extension cannot be used.
    NotPrecompiled {
        /// Why it cannot be used.
        reason: String,
    },
    /// The runtime was built without a compiler.
    NoCompiler,
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtensionError::OverLimit { limit, value, found } => write!(
                f,
                "the component exceeds the limit {limit}: it may have {value}, and has {found} or more; if you trust it, raise LoadLimits"
            ),
            ExtensionError::Uncountable { instantiated, origin } => write!(
                f,
                "the component instantiates a {instantiated} that comes from {origin}: its contents cannot be counted; define it where it is used"
            ),
            ExtensionError::CoreModule => {
                write!(f, "this is a core module, not a component; build it for wasm32-wasip2, or run `wasm-tools component new`")
            }
            ExtensionError::NotAComponent => {
                write!(
                    f,
                    "this is not a WebAssembly component: it does not begin with `\\0asm`; check that it is the file you mean"
                )
            }
            ExtensionError::Malformed(reason) => {
                write!(f, "the component is malformed: {reason}; check that the file is complete, and what made it")
            }
            ExtensionError::Imports { names, total } => {
                write!(f, "the component imports what an extension may not use: {}", names.join(", "))?;
                match total.saturating_sub(names.len()) {
                    0 => {}
                    more => write!(f, ", and {more} more")?,
                }
                write!(
                    f,
                    "; it may import the client, WASI 0.2 except what this host refuses, and whatever else is allowed by name"
                )
            }
            ExtensionError::NotAnInterface(import) => {
                write!(f, "the component's import `{import}` is not an interface; build it against this host's wit/")
            }
            ExtensionError::DoesNotFit { import, reason } => {
                write!(
                    f,
                    "the component's import `{import}` does not match this host's: {reason}; build it against this host's wit/"
                )
            }
            ExtensionError::NotCompiled(reason) => write!(f, "the component cannot be compiled: {reason}"),
            ExtensionError::CompileMemory { limit, is_all_that_is_left: true } => write!(
                f,
                "compiling the component takes more than the {} MiB of memory that this control group has left; check the pod's memory limit",
                limit >> 20
            ),
            ExtensionError::CompileMemory { limit, .. } => write!(
                f,
                "compiling the component takes more memory than its limit of {} MiB; if you trust it, raise LoadLimits::compile_memory",
                limit >> 20
            ),
            ExtensionError::CompileCpuTime { limit } => write!(
                f,
                "compiling the component takes longer than its limit of {limit:?}; if you trust it, raise LoadLimits::compile_cpu_time"
            ),
            ExtensionError::CompileWallTime { limit } => {
                write!(f, "compiling the component did not finish within {limit:?}; check how busy this machine is")
            }
            ExtensionError::ArtifactTooLarge { limit } => {
                write!(f, "the compiled component is larger than its limit of {} MiB", limit >> 20)
            }
            ExtensionError::CompilerDied { how } => write!(
                f,
                "the process that compiles the component ended without an answer: {how}; the component may have been crafted to cause that"
            ),
            ExtensionError::CompilerNotUsable { program, reason } => write!(
                f,
                "`{program}` cannot be used to compile components: {reason}; check that its main is incluster::compile_child() of this version"
            ),
            ExtensionError::NoMemoryLeft { left, needed } => write!(
                f,
                "compiling the component takes at least {} MiB of memory, and this control group has {} MiB left; check the pod's memory limit",
                needed >> 20,
                left >> 20
            ),
            ExtensionError::NotMapped { reason } => write!(
                f,
                "this process has no room in memory for the compiled component: {reason}; check its limits of address space and memory"
            ),
            ExtensionError::NotPrecompiled { reason } => {
                write!(
                    f,
                    "the precompiled extension cannot be used: {reason}; compile it again with `incluster compile`, on this kind of machine"
                )
            }
            ExtensionError::NoCompiler => write!(
                f,
                "the runtime has no compiler: choose one with Runtime::builder().compiler(…), either Compiler::child(program), which compiles \
                 in a separate process with limits, or Compiler::in_process(), for trusted components"
            ),
        }
    }
}

impl std::error::Error for ExtensionError {}

impl ExtensionError {
    /// Whether the component itself is the reason: the same file is refused again, anywhere with the same limits and permissions.
    /// Otherwise the reason is this machine, or how the compiler is set up, and another attempt may succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            ExtensionError::OverLimit { .. }
            | ExtensionError::Uncountable { .. }
            | ExtensionError::CoreModule
            | ExtensionError::NotAComponent
            | ExtensionError::Malformed(_)
            | ExtensionError::Imports { .. }
            | ExtensionError::NotAnInterface(_)
            | ExtensionError::DoesNotFit { .. }
            | ExtensionError::NotCompiled(_)
            | ExtensionError::NotPrecompiled { .. }
            | ExtensionError::CompileMemory { is_all_that_is_left: false, .. }
            | ExtensionError::ArtifactTooLarge { .. } => true,
            ExtensionError::CompileMemory { is_all_that_is_left: true, .. }
            // How long compiling takes depends on what else this machine does.
            | ExtensionError::CompileCpuTime { .. }
            | ExtensionError::CompileWallTime { .. }
            | ExtensionError::CompilerDied { .. }
            | ExtensionError::CompilerNotUsable { .. }
            | ExtensionError::NoMemoryLeft { .. }
            | ExtensionError::NotMapped { .. }
            | ExtensionError::NoCompiler => false,
        }
    }

    /// Makes the error for imports that are not allowed.
    pub(crate) fn imports(names: &[&str]) -> ExtensionError {
        let shown = names.iter().take(text::MAX_NAMES).map(|name| text::name(name)).collect();
        ExtensionError::Imports { names: shown, total: names.len() }
    }
}
