//! Extensions: components of tenants' own, which are not to be trusted. They are checked, composed with the client component
//! and compiled when they are loaded.

use crate::{Error, PLUGIN, Runtime};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};
use wasmtime::component::Component;

/// No component is larger: 64 MiB. Compiling takes time and memory in proportion.
const MAX_BYTES: usize = 64 << 20;

/// What an extension may import without being asked: the client, and what of WASI 0.2 reaches nothing outside of the sandbox.
/// wasi:filesystem is among them, as every program of a standard library's imports it: what is there to read is the service
/// account's folder, and in that no token.
const HARMLESS: [&str; 23] = [
    "incluster:kubernetes/client",
    "incluster:kubernetes/types",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    // They reach nobody without a handler.
    "wasi:http/types",
];

/// A component of a tenant's, composed with `incluster-plugin.wasm`, checked, and compiled. Clones are the same.
#[derive(Clone)]
pub struct Extension(Arc<Component>);

/// Why a component cannot be an extension.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtensionError {
    /// It has more than 64 MiB.
    TooLarge(usize),
    /// It is a core module: it was built for another target, or not made a component.
    CoreModule,
    /// It is no WebAssembly component, or a malformed one, for this reason.
    NotAComponent(String),
    /// It imports what an extension may not use: the names of these imports.
    Imports(Vec<String>),
    /// It imports this interface of the client's in another version, or with other types, than the client has.
    DoesNotFit {
        /// The import's name.
        import: String,
        /// What does not fit.
        reason: String,
    },
    /// It cannot be compiled, for this reason.
    NotCompiled(wasmtime::Error),
}

impl Runtime {
    /// Loads an extension. Of interfaces beyond the client's and WASI's harmless ones, it may import those in `allowed`, by their
    /// names without a version, such as `wasi:http/outgoing-handler` (which reaches the API server alone) or one of the
    /// embedder's own.
    ///
    /// It compiles, which takes a second for a large component, on the calling thread: call it on one that may block. What is
    /// in use already is not compiled again.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`] says what is wrong with the component.
    pub fn extension(&self, component: &[u8], allowed: &[&str]) -> Result<Extension, Error> {
        let composed = compose_allowing(component, allowed).map_err(Error::Extension)?;
        self.extensions().get_or_compile(&composed, || {
            Component::new(self.engine(), &composed).map_err(|e| Error::Extension(ExtensionError::NotCompiled(e)))
        })
    }
}

impl Extension {
    /// What [`Runtime::extension`] compiles, as the bytes of a component: for other engines. It imports WASI alone, and what is
    /// in `allowed`.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    pub fn compose(component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        compose_allowing(component, allowed).map_err(Error::Extension)
    }

    /// The compiled component, for a linker of the embedder's own.
    pub fn component(&self) -> &Component {
        &self.0
    }
}

/// The extensions that are in use, by the hash of what they were compiled from.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<[u8; 32], Weak<Component>>>);

impl Cache {
    fn get_or_compile(&self, wasm: &[u8], compile: impl FnOnce() -> Result<Component, Error>) -> Result<Extension, Error> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, wasm).as_ref());
        // Held meanwhile: a component that two ask for at once is compiled once.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, component| component.strong_count() > 0);
        if let Some(component) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(Extension(component));
        }
        let component = Arc::new(compile()?);
        known.insert(key, Arc::downgrade(&component));
        Ok(Extension(component))
    }
}

fn compose_allowing(component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, ExtensionError> {
    // wac-graph takes for granted that imports of one name are of one kind, which a component need not keep to.
    catch_unwind(|| composed(component, allowed))
        .unwrap_or_else(|_| Err(ExtensionError::NotAComponent("its imports are not of the kinds that their names say".into())))
}

fn composed(component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, ExtensionError> {
    if component.len() > MAX_BYTES {
        return Err(ExtensionError::TooLarge(component.len()));
    }
    // The version of a core module is 1; a component's has a layer beside it.
    if component.starts_with(b"\0asm\x01\0\0\0") {
        return Err(ExtensionError::CoreModule);
    }
    let mut graph = CompositionGraph::new();
    let extension = register(&mut graph, "extension", component)?;
    let imports: Vec<String> = graph.types()[graph[extension].ty()].imports.keys().cloned().collect();
    let refused: Vec<_> = imports.iter().filter(|import| !is_allowed(import, allowed)).cloned().collect();
    if !refused.is_empty() {
        return Err(ExtensionError::Imports(refused));
    }
    let ours: Vec<_> = imports.iter().filter(|import| import.starts_with("incluster:kubernetes/")).collect();
    if ours.is_empty() {
        return Ok(component.into());
    }
    let plugin = register(&mut graph, "plugin", PLUGIN)?;
    let (extension_instance, plugin_instance) = (graph.instantiate(extension), graph.instantiate(plugin));
    for import in ours {
        let misfit = |e: &dyn StdError| ExtensionError::DoesNotFit { import: import.clone(), reason: chain(e) };
        let export = graph.alias_instance_export(plugin_instance, import).map_err(|e| misfit(&e))?;
        graph.set_instantiation_argument(extension_instance, import, export).map_err(|e| misfit(&e))?;
    }
    let malformed = |e: &dyn StdError| ExtensionError::NotAComponent(chain(e));
    let exports: Vec<String> = graph.types()[graph[extension].ty()].exports.keys().cloned().collect();
    for name in exports {
        let export = graph.alias_instance_export(extension_instance, &name).map_err(|e| malformed(&e))?;
        graph.export(export, &name).map_err(|e| malformed(&e))?;
    }
    graph.encode(EncodeOptions::default()).map_err(|e| malformed(&e))
}

fn register(graph: &mut CompositionGraph, name: &str, component: &[u8]) -> Result<PackageId, ExtensionError> {
    let malformed = |text: String| ExtensionError::NotAComponent(text);
    let package = Package::from_bytes(name, None, component, graph.types_mut()).map_err(|e| malformed(format!("{e:#}")))?;
    graph.register_package(package).map_err(|e| malformed(chain(&e)))
}

fn is_allowed(import: &str, allowed: &[&str]) -> bool {
    let name = import.split('@').next().unwrap_or(import);
    HARMLESS.contains(&name) || allowed.contains(&name)
}

/// An error with its causes.
fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtensionError::TooLarge(bytes) => write!(f, "the component has {bytes} bytes, and may have {MAX_BYTES}"),
            ExtensionError::CoreModule => {
                write!(f, "this is a core module, not a component; build it for wasm32-wasip2, or run `wasm-tools component new`")
            }
            ExtensionError::NotAComponent(reason) => write!(f, "this is not a WebAssembly component: {reason}"),
            ExtensionError::Imports(names) => {
                write!(
                    f,
                    "the component imports what an extension may not use: {}; only the client, and what of WASI reaches nothing, is allowed",
                    names.join(", ")
                )
            }
            ExtensionError::DoesNotFit { import, reason } => {
                write!(
                    f,
                    "the component's import `{import}` is not what this host has: {reason}; build it against this host's wit/"
                )
            }
            ExtensionError::NotCompiled(error) => write!(f, "the component cannot be compiled: {error:#}"),
        }
    }
}

impl StdError for ExtensionError {}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extension")
    }
}
