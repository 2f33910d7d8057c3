//! Where components run: the engine and its pool, what one sandbox is given, and how extensions are loaded.

mod code;
pub(crate) mod compile;
pub(crate) mod ctx;
#[cfg(feature = "debug")]
pub(crate) mod debug;
mod in_memory;
pub(crate) mod linker;
#[cfg(feature = "extensions")]
pub(crate) mod loader;
#[cfg(feature = "extensions")]
mod movable;
pub(crate) mod pool;
pub(crate) mod room;
pub(crate) mod runtime;
mod ticks;
pub(crate) mod turns;
pub(crate) mod volume;
