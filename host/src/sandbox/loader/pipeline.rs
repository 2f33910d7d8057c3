//! The steps for a component, in either process: count, check, compose, compile.

use super::compose::{Client, Imports, check, compose};
use super::count::count;
use super::inspection::Inspection;
use super::inventory::Inventory;
use crate::extension_error::ExtensionError;
use crate::load_limits::LoadLimits;
use incluster_core::text;
use rustix::io::Errno;
use std::error::Error;
use std::io;
use std::thread;
use wasmtime::Engine;

/// The stack of the thread that reads components, in bytes. The code that reads them recurses at most 100 deep, which the counting ensures.
const STACK: usize = 16 << 20;

/// Runs a task on a thread with a large stack, and returns its result.
pub(crate) fn on_own_stack<T: Send>(task: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("incluster-load".into()).stack_size(STACK).spawn_scoped(scope, task)?;
        thread.join().map_err(|_| io::Error::other("loading panicked"))
    })
}

/// Counts and checks a component, and composes it with the client.
pub(crate) fn prepare(
    component: &[u8],
    client: Client,
    imports: &Imports,
    limits: &LoadLimits,
    found: &mut Inventory,
) -> Result<Vec<u8>, ExtensionError> {
    count(component, limits, found)?;
    check(found, imports)?;
    compose(component, client, found)
}

/// Counts, checks, composes and compiles a component.
pub(crate) fn compile(
    engine: &Engine,
    component: &[u8],
    imports: &Imports,
    limits: &LoadLimits,
    found: &mut Inventory,
) -> Result<Vec<u8>, ExtensionError> {
    let composed = prepare(component, Client::HostTls, imports, limits, found)?;
    engine.precompile_component(&composed).map_err(|e| not_compiled(&e))
}

/// Inspects a component, and compiles it.
pub(crate) fn inspect(engine: &Engine, component: &[u8], imports: &Imports, limits: &LoadLimits) -> (Inspection, Vec<u8>) {
    let mut found = Inventory::default();
    let compiled = compile(engine, component, imports, limits, &mut found);
    let (result, code) = match compiled {
        Ok(code) => (Ok(code.len() as u64), code),
        Err(error) => (Err(error), Vec::new()),
    };
    (Inspection::new(found, limits, imports, result), code)
}

/// Inspects a component without compiling it.
pub(crate) fn survey(component: &[u8], imports: &Imports, limits: &LoadLimits, problem: ExtensionError) -> Inspection {
    let mut found = Inventory::default();
    let problem = count(component, limits, &mut found).err().unwrap_or(problem);
    Inspection::new(found, limits, imports, Err(problem))
}

pub(crate) fn not_compiled(error: &wasmtime::Error) -> ExtensionError {
    ExtensionError::NotCompiled(text::error(error))
}

/// Why compiled code could not be mapped: if the operating system refused something, because of this machine, or else because of the
/// component.
pub(crate) fn not_mapped(error: &wasmtime::Error) -> ExtensionError {
    let is_the_systems = |cause: &(dyn Error + 'static)| cause.is::<Errno>() || cause.is::<io::Error>();
    if error.chain().any(is_the_systems) {
        return ExtensionError::NotMapped { reason: text::error(error) };
    }
    not_compiled(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_operating_system_is_not_the_components_fault() {
        let refused = wasmtime::Error::from(Errno::NOMEM).context("mmap failed to allocate 0x1000 bytes");
        let error = not_mapped(&refused);
        assert!(matches!(&error, ExtensionError::NotMapped { reason } if reason.contains("mmap failed")), "{error}");
        assert!(!error.is_permanent());
        let too_large = not_mapped(&wasmtime::Error::msg("component instance size exceeds the limit"));
        assert!(matches!(too_large, ExtensionError::NotCompiled(_)) && too_large.is_permanent());
    }
}
