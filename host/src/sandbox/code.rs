//! Loads compiled code as a component.

use super::in_memory::{in_memory, needs_no_flag};
use std::fs::File;
use std::os::fd::AsRawFd;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Maps compiled code as a component.
///
/// # Safety
///
/// The bytes must be what `Engine::precompile_component` returned, in any process.
#[expect(unsafe_code, reason = "deserializing trusts the bytes: the caller says where they are from")]
pub(crate) unsafe fn component(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // wasmtime keeps the initial content of linear memories in files in memory, which the kernel may refuse to make. It makes no such files
    // if the code itself comes from a file.
    let file = if needs_no_flag() { None } else { in_memory(code).ok() };
    match file {
        // SAFETY: as the caller promises.
        Some(file) => unsafe { component_of(engine, &file) },
        // SAFETY: as the caller promises.
        None => unsafe { Component::deserialize(engine, code) },
    }
}

/// Maps compiled code in a file in memory as a component. The content is not copied: unused parts take no memory beside the file.
///
/// # Safety
///
/// As for [`component`], and nobody must be able to change the file.
#[expect(unsafe_code, reason = "deserializing trusts the bytes: the caller says where they are from")]
pub(crate) unsafe fn component_of(engine: &Engine, code: &File) -> wasmtime::Result<Component> {
    // SAFETY: as the caller promises.
    unsafe { Component::deserialize_file(engine, format!("/proc/self/fd/{}", code.as_raw_fd())) }
}
