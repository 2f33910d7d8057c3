//! Why a call of the host's failed.

use crate::{describe, types};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why a call failed. No variant ever carries a token.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The component's answer: the API server said no, or could not be reached, or an argument or the pod's configuration
    /// is unusable.
    Kubernetes(types::Error),
    /// An environment variable that every pod has is missing or wrong: this process is not in a pod, or its environment was
    /// cleaned.
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// This is not the address of an API server: `https://host[:port]`.
    Server(String),
    /// The service account's folder exists and cannot be opened.
    ServiceAccount {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: wasmtime::Error,
    },
    /// The call took longer than [`Limits::wall_time`](crate::Limits::wall_time).
    WallTime(Duration),
    /// The guest computed for longer than [`Limits::cpu_time`](crate::Limits::cpu_time).
    CpuTime(Duration),
    /// The guest asked for more memory or table elements than its [`Limits`](crate::Limits) allow.
    Memory(usize),
    /// The guest trapped: a bug in it.
    Trap(wasmtime::Error),
    /// The engine could not be set up.
    Runtime(wasmtime::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kubernetes(error) => write!(f, "{}; {}", describe::cause(error), describe::check(error)),
            Error::Environment { variable, problem } => {
                write!(f, "not in a pod: the environment variable {variable} {problem}")
            }
            Error::Server(url) => write!(f, "`{url}` is not the address of an API server: https://host[:port]"),
            Error::ServiceAccount { path, source } => {
                write!(f, "failed to open the service account's folder `{}`: {source:#}", path.display())
            }
            Error::WallTime(limit) => write!(f, "the call took longer than its limit of {limit:?}"),
            Error::CpuTime(limit) => write!(f, "the component computed for longer than its limit of {limit:?}"),
            Error::Memory(limit) => write!(f, "the component needs more memory than its limit of {limit} bytes"),
            Error::Trap(error) => write!(f, "the component trapped: {error:#}"),
            Error::Runtime(error) => write!(f, "failed to set up the WebAssembly engine: {error:#}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Error::Kubernetes(error)
    }
}

impl From<types::ConfigError> for Error {
    fn from(error: types::ConfigError) -> Self {
        Error::Kubernetes(types::Error::Config(error))
    }
}
