//! Why a component is not loaded.

use crate::load_limits::LoadLimit;
use incluster_core::text;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Why a component cannot be an extension, or could not be made one. All texts in it are fit for a terminal and a log: names of the
/// component's are escaped, and cut after 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExtensionError {
    /// It exceeds one of [`LoadLimits`](crate::LoadLimits).
    OverLimit {
        /// Which one.
        limit: LoadLimit,
        /// What the limit is.
        value: u64,
        /// What was found when it was refused: at least as much is there.
        found: u64,
    },
    /// It instantiates what it does not define, so that what it becomes cannot be counted.
    Uncountable {
        /// What it instantiates: a component or a core module.
        instantiated: String,
        /// Where it has that from.
        origin: String,
    },
    /// It is a core module: it was built for another target, or not made a component.
    CoreModule,
    /// It does not begin as WebAssembly's binary format does.
    NotAComponent,
    /// It is malformed, for this reason.
    Malformed(String),
    /// It imports what an extension may not use.
    Imports {
        /// The names of these imports, the first ten of them.
        names: Vec<String>,
        /// How many they are.
        total: usize,
    },
    /// It imports something under the name of an interface that is not one.
    NotAnInterface(String),
    /// It imports this interface in another version, or with other types, than the client has.
    DoesNotFit {
        /// The import's name.
        import: String,
        /// What does not fit.
        reason: String,
    },
    /// It cannot be compiled, for this reason.
    NotCompiled(String),
    /// Compiling it took more memory than [`LoadLimits::memory_for`](crate::LoadLimits::memory_for) a file of its size, or than there is left.
    CompileMemory {
        /// How much it had, in bytes.
        limit: u64,
        /// Whether the control group of this process had no more left.
        is_all_that_is_left: bool,
    },
    /// Compiling it took longer than [`LoadLimits::cpu_time_for`](crate::LoadLimits::cpu_time_for) a file of its size.
    CompileCpuTime {
        /// How much processor time it had.
        limit: Duration,
    },
    /// The process that compiles was not done after this time, and did not use up its processor time either.
    CompileWallTime {
        /// How long it was waited for.
        limit: Duration,
    },
    /// What the compiler made of it is larger than it may be.
    ArtifactTooLarge {
        /// How large it may be, in bytes.
        limit: u64,
    },
    /// The process that compiles ended without an answer.
    CompilerDied {
        /// How it ended, and what it said last.
        how: String,
    },
    /// The process that compiles could not be started, or does not answer as it should.
    CompilerNotUsable {
        /// The program.
        program: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The control group of this process has less memory left than compiling takes at least.
    NoMemoryLeft {
        /// How much is left, in bytes.
        left: u64,
        /// How much it takes, in bytes.
        needed: u64,
    },
    /// This machine did not let the process have the compiled code in its memory.
    NotMapped {
        /// What the operating system said.
        reason: String,
    },
    /// What was precompiled cannot be used.
    NotPrecompiled {
        /// Why not.
        reason: String,
    },
    /// The runtime was built without saying where to compile.
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
                "the component instantiates a {instantiated} that it has from {origin}: what that holds cannot be counted; define it where it is used"
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
                    "; it may import the client and WASI 0.2, as far as this host does not refuse them, and else what is allowed by name"
                )
            }
            ExtensionError::NotAnInterface(import) => {
                write!(f, "the component's import `{import}` is not an interface; build it against this host's wit/")
            }
            ExtensionError::DoesNotFit { import, reason } => {
                write!(
                    f,
                    "the component's import `{import}` is not what this host has: {reason}; build it against this host's wit/"
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
                write!(f, "compiling the component was not done after {limit:?}; check how busy this machine is")
            }
            ExtensionError::ArtifactTooLarge { limit } => {
                write!(f, "the compiled component is larger than its limit of {} MiB", limit >> 20)
            }
            ExtensionError::CompilerDied { how } => write!(
                f,
                "the process that compiles the component ended without an answer: {how}; the component may have been made to do that"
            ),
            ExtensionError::CompilerNotUsable { program, reason } => write!(
                f,
                "`{program}` cannot be used to compile components: {reason}; check that its main is incluster::compile_child() of this version"
            ),
            ExtensionError::NoMemoryLeft { left, needed } => write!(
                f,
                "compiling the component takes {} MiB of memory at least, and this control group has {} MiB left; check the pod's memory limit",
                needed >> 20,
                left >> 20
            ),
            ExtensionError::NotMapped { reason } => write!(
                f,
                "the compiled component has no place in this process's memory: {reason}; check its address space and its memory limit"
            ),
            ExtensionError::NotPrecompiled { reason } => {
                write!(
                    f,
                    "the precompiled extension cannot be used: {reason}; compile it anew with `incluster compile`, on this kind of machine"
                )
            }
            ExtensionError::NoCompiler => write!(
                f,
                "the runtime has no compiler: choose one with Runtime::builder().compiler(…), either Compiler::child(program), which compiles \
                 in a process of its own with limits, or Compiler::in_process(), for components that are trusted"
            ),
        }
    }
}

impl std::error::Error for ExtensionError {}

impl ExtensionError {
    /// Whether the component itself is the reason: the same file is refused again, wherever the limits, and what it is allowed, are the
    /// same. Otherwise the reason is this machine, or how the compiler is set up, and another attempt may succeed.
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
            // How long it takes depends on what else this machine does.
            | ExtensionError::CompileCpuTime { .. }
            | ExtensionError::CompileWallTime { .. }
            | ExtensionError::CompilerDied { .. }
            | ExtensionError::CompilerNotUsable { .. }
            | ExtensionError::NoMemoryLeft { .. }
            | ExtensionError::NotMapped { .. }
            | ExtensionError::NoCompiler => false,
        }
    }

    /// These imports are not allowed.
    pub(crate) fn imports(names: &[&str]) -> ExtensionError {
        let shown = names.iter().take(text::MAX_NAMES).map(|name| text::name(name)).collect();
        ExtensionError::Imports { names: shown, total: names.len() }
    }
}
