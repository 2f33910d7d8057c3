//! The error of a call.

#[cfg(feature = "extensions")]
use crate::extension_error::ExtensionError;
use crate::types;
use incluster_core::error::{Problem, tried};
use incluster_core::server::NotAServer;
use incluster_core::{ConfigError, text};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use wasmtime::{FrameInfo, FrameSymbol, WasmBacktrace};

/// Why a call failed. No variant ever carries a token.
#[non_exhaustive]
pub enum Error {
    /// The component's answer: the API server said no, or could not be reached, or an argument or the pod's configuration
    /// is unusable.
    Kubernetes(types::Failure),
    /// An environment variable that every pod has is missing or wrong: this process is not in a pod, or its environment was
    /// cleaned.
    Environment(ConfigError),
    /// The given text is not the address of an API server: `https://host[:port]`.
    Server(NotAServer),
    /// The service account's folder exists and cannot be opened.
    ServiceAccount {
        /// The folder.
        path: PathBuf,
        /// Why it cannot be opened.
        source: wasmtime::Error,
    },
    /// The call took longer than [`CallLimits::wall_time`](crate::CallLimits::wall_time).
    WallTime(Duration),
    /// The guest computed for longer than [`CallLimits::cpu_time`](crate::CallLimits::cpu_time).
    CpuTime(Duration),
    /// The guest asked for more memory than [`CallLimits::memory`](crate::CallLimits::memory).
    Memory(usize),
    /// The guest asked for more table elements than [`CallLimits::table_elements`](crate::CallLimits::table_elements).
    Table(usize),
    /// The guest holds more than 64 of the host's resources: files, requests, bodies, streams.
    Resources(usize),
    /// The guest's components hold more handles than [`CallLimits::handles`](crate::CallLimits::handles).
    Handles(usize),
    /// The guest handed over more than [`CallLimits::hostcall_bytes`](crate::CallLimits::hostcall_bytes) in one call.
    HostcallBytes(usize),
    /// The tenant has as many sandboxes as [`TenantLimits::instances`](crate::TenantLimits::instances).
    Instances(u32),
    /// The tenant has as many calls under way as [`TenantLimits::concurrent_calls`](crate::TenantLimits::concurrent_calls).
    ConcurrentCalls(u32),
    /// No place of the [`Runtime`](crate::Runtime) became free for as long as the call may take. The number is how many places it has.
    Full(u16),
    /// The [`Runtime`](crate::Runtime) is being shut down.
    ShuttingDown,
    /// There is no tokio runtime to make the call in.
    NoTokio,
    /// An earlier call in this sandbox failed, or was dropped before its end: the sandbox cannot be used any more.
    Over,
    /// The guest trapped. It has a bug, such as a panic or a stack overflow.
    Trap(Trap),
    /// A component does not match what this host offers and expects: it lacks an export, or an interface has other types.
    NotLinked(String),
    /// The guest called `wasi:cli/exit`, which ends its instance, instead of returning from the call.
    Exit(i32),
    /// The address space of this process has no room for one sandbox. Usually it is limited, by `ulimit -v`, RLIMIT_AS or systemd's `LimitAS=`.
    AddressSpace {
        /// A limit that is enough, in bytes.
        needed: u64,
    },
    /// The operating system had no memory, or no address space, for a sandbox.
    NotMapped {
        /// What the operating system said.
        reason: String,
    },
    /// The folder for compiled extensions cannot be used.
    #[cfg(feature = "extensions")]
    CacheFolder {
        /// Where the folder is, or would be.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The engine could not be set up.
    Runtime(wasmtime::Error),
    /// A component cannot be an extension.
    #[cfg(feature = "extensions")]
    Extension(ExtensionError),
    /// One of the [`Limits`](crate::Limits), or of the limits of a [`Pool`](crate::Pool), has an unusable value.
    Limits {
        /// The limit's name in a configuration file.
        limit: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
    /// An [`Identity`](crate::Identity) is invalid, for this reason.
    Identity(String),
    /// One of the [`LoadLimits`](crate::LoadLimits) has an unusable value.
    #[cfg(feature = "extensions")]
    LoadLimits {
        /// The limit's name in a configuration file.
        limit: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
}

/// The same text as `Display`, because Rust prints this where `main` returns an error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kubernetes(types::Failure { error, attempts, elapsed }) => {
                let problem = Problem::from(error);
                write!(f, "{problem}{}; {}", tried(*attempts, *elapsed), problem.check())
            }
            Error::Environment(error @ ConfigError::EnvironmentMissing(_)) => write!(f, "not in a pod: {error}"),
            Error::Environment(error) => write!(f, "cannot tell where the API server is: {error}; {}", error.check()),
            Error::Server(error) => error.fmt(f),
            Error::ServiceAccount { path, source } => {
                write!(f, "failed to open the service account's folder `{}`: {source:#}", path.display())
            }
            Error::WallTime(limit) => write!(f, "the call took longer than its limit of {limit:?} (call.wallTime)"),
            Error::CpuTime(limit) => write!(f, "the component computed for longer than its limit of {limit:?} (call.cpuTime)"),
            Error::Memory(limit) => write!(f, "the component needs more memory than its limit of {limit} bytes (call.memory)"),
            Error::Table(limit) => {
                write!(f, "the component needs more table elements than its limit of {limit} (call.tableElements)")
            }
            Error::Resources(limit) => write!(f, "the component holds more than {limit} of the host's resources: it leaks them"),
            Error::Handles(limit) => {
                write!(
                    f,
                    "the component holds more handles than its limit of {limit}; if it does not leak them, raise call.handles"
                )
            }
            Error::HostcallBytes(limit) => {
                write!(f, "the component handed over more than its limit of {limit} bytes in one call (call.hostcallBytes)")
            }
            Error::Instances(limit) => {
                write!(
                    f,
                    "the tenant has {limit} sandboxes, which is its limit (tenant.instances); drop lists and watches, or raise it"
                )
            }
            Error::ConcurrentCalls(limit) => {
                write!(
                    f,
                    "the tenant has {limit} calls under way, which is its limit (tenant.concurrentCalls); try again when one has ended, or raise it"
                )
            }
            Error::Full(places) => write!(
                f,
                "all {places} places for sandboxes were taken for as long as the call may take; drop lists and watches, or raise Pool::places"
            ),
            Error::ShuttingDown => write!(f, "the runtime is being shut down"),
            Error::NoTokio => write!(f, "there is no tokio runtime here: make the call in one, for example under #[tokio::main]"),
            Error::Over => {
                write!(f, "an earlier call in this sandbox failed or was dropped before its end: make another sandbox")
            }
            Error::Exit(status) => write!(f, "the component exited with status {status} instead of returning"),
            Error::Trap(trap) => write!(f, "the component trapped: {trap}"),
            Error::NotLinked(reason) => write!(f, "the component does not fit this host: {reason}"),
            #[cfg(feature = "extensions")]
            Error::Extension(error) => write!(f, "failed to load the extension: {error}"),
            Error::Identity(problem) => write!(f, "the tenant's identity is invalid: {problem}"),
            Error::Limits { limit, problem } => write!(f, "the limit {limit} {problem}"),
            #[cfg(feature = "extensions")]
            Error::LoadLimits { limit, problem } => write!(f, "the load limit {limit} {problem}"),
            #[cfg(feature = "extensions")]
            Error::CacheFolder { path, reason } => {
                write!(f, "the cache of compiled extensions, `{}`, cannot be used: {reason}", path.display())
            }
            Error::AddressSpace { needed } => write!(
                f,
                "the address space of this process has no room for one sandbox: check its limit (ulimit -v, RLIMIT_AS, systemd's LimitAS), \
                 and raise it to {} GiB or more (ulimit -v {}), or lower the memories in Pool and LoadLimits",
                needed >> 30,
                needed >> 10
            ),
            Error::NotMapped { reason } => write!(
                f,
                "the operating system has no memory for the sandbox: {reason}; check this process's limits of address space \
                 (ulimit -v, RLIMIT_AS) and memory"
            ),
            Error::Runtime(error) => write!(f, "failed to set up the WebAssembly engine: {error:#}"),
        }
    }
}

/// How a guest trapped. The text has at most ten frames of the guest's stack, without those of what Rust does after a panic. Names of functions come from the component, so the text is
/// escaped and safe for a terminal and a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The engine's code for the trap; absent if a host function ended the guest.
    pub code: Option<wasmtime::Trap>,
    text: String,
}

impl Trap {
    pub(crate) fn new(error: &wasmtime::Error) -> Trap {
        let mut text = text::error(&error.root_cause());
        if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
            for (place, frame) in own_frames(backtrace.frames()).iter().take(text::MAX_NAMES).enumerate() {
                let function = frame.func_name().map(|name| text::name(&demangled(name)));
                text += if place == 0 { ", in " } else { " < " };
                text += &function.unwrap_or_else(|| format!("function {}", frame.func_index()));
                // Only some engines keep files and lines.
                let found = |symbol: &FrameSymbol| Some((symbol.file()?.to_string(), symbol.line()?));
                if let Some((file, line)) = frame.symbols().iter().rev().find_map(found) {
                    // The end of the path says which file it is.
                    let file = file.rmatch_indices('/').nth(2).map_or(&*file, |(at, _)| &file[at + 1..]);
                    text += &format!(" ({}:{line})", text::name(file));
                }
            }
        }
        Trap { code: error.downcast_ref().copied(), text: text::error(&text) }
    }
}

/// The frames without those of what Rust does after a panic, which are many and the same each time.
fn own_frames(frames: &[FrameInfo]) -> &[FrameInfo] {
    let is = |frame: &FrameInfo, part| frame.func_name().is_some_and(|name| name.contains(part));
    let Some(panicked) = frames.iter().rposition(|frame| is(frame, "rust_begin_unwind")) else { return frames };
    let own = &frames[panicked + 1..];
    let own = &own[own.iter().take_while(|frame| is(frame, "panicking")).count()..];
    if own.is_empty() { frames } else { own }
}

/// A function's name as it is written in the source.
#[cfg(feature = "debug")]
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(not(feature = "debug"))]
fn demangled(name: &str) -> String {
    name.into()
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error {
    /// Makes the error for a component that does not link. The engine's error contains names from the component; they are made safe for a
    /// terminal and a log.
    pub fn not_linked(error: &wasmtime::Error) -> Error {
        Error::NotLinked(text::error(error))
    }

    /// Whether the same call may succeed a bit later: the API server was busy or could not be reached, or a limit was reached on something
    /// that other calls give back. The client has already retried the request, according to its retry policy. An exceeded limit of requests
    /// or streams cannot be distinguished from an answer that is too large, and counts as permanent.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Kubernetes(failure) => Problem::from(&failure.error).is_retryable(),
            Error::WallTime(_) | Error::Instances(_) | Error::ConcurrentCalls(_) | Error::Full(_) | Error::NotMapped { .. } => {
                true
            }
            #[cfg(feature = "extensions")]
            Error::Extension(error) => !error.is_permanent(),
            _ => false,
        }
    }

    /// The HTTP status of the API server's answer, if the server answered with a failure.
    pub fn http_status(&self) -> Option<u16> {
        match self.kubernetes()? {
            types::Error::Api(status) => Some(status.code),
            types::Error::Expired(_) => Some(410),
            _ => None,
        }
    }

    /// The component's own error, if the component answered with one.
    pub fn kubernetes(&self) -> Option<&types::Error> {
        match self {
            Error::Kubernetes(failure) => Some(&failure.error),
            _ => None,
        }
    }

    /// The limit that ended the call, as a label of the metric `incluster_limits_exceeded_total`.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        Some(match self {
            Error::WallTime(_) => "wall_time",
            Error::CpuTime(_) => "cpu_time",
            Error::Memory(_) => "memory",
            Error::Table(_) => "table_elements",
            Error::Resources(_) => "resources",
            Error::Handles(_) => "handles",
            Error::HostcallBytes(_) => "hostcall_bytes",
            Error::Instances(_) => "instances",
            Error::ConcurrentCalls(_) => "concurrent_calls",
            Error::Full(_) => "places",
            _ => return None,
        })
    }

    /// How the call ended, as a label of the metric `incluster_calls_total`.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Error::Kubernetes(types::Failure { error: types::Error::Denied(_), .. }) => "denied",
            Error::Kubernetes(_) => "error",
            Error::Trap(_) | Error::Exit(_) | Error::Over => "trap",
            error if error.limit().is_some() => "limit",
            _ => "setup",
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            // The texts of these variants contain the inner error's text already.
            Error::Environment(error) => return error.source(),
            Error::Server(error) => return error.source(),
            Error::ServiceAccount { source, .. } | Error::Runtime(source) => source.as_ref(),
            #[cfg(feature = "extensions")]
            Error::Extension(error) => return error.source(),
            _ => return None,
        })
    }
}

impl From<NotAServer> for Error {
    fn from(error: NotAServer) -> Self {
        Error::Server(error)
    }
}

impl From<types::Failure> for Error {
    fn from(failure: types::Failure) -> Self {
        Error::Kubernetes(failure)
    }
}

impl From<types::ConfigError> for Error {
    fn from(error: types::ConfigError) -> Self {
        Error::Kubernetes(types::Error::Config(error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_main_returns_is_printed_as_text() {
        let error = Error::ConcurrentCalls(1);
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
