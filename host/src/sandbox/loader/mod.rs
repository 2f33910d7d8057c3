//! Extensions: tenants' own components, which are untrusted. When an extension is loaded, its file is counted, checked, composed with
//! the client component, and compiled.
//!
//! ```text
//!  Runtime::extension ──► those in use ──► a folder of compiled ones ──► queue ──► Compiler::child(program) ──► count ► check ► compose ► compile
//!                                                                             └──► Compiler::in_process()   ──► the same, in this process
//! ```

mod artifact;
mod child;
mod compiler;
mod compose;
mod count;
mod folder;
mod inspection;
mod inventory;
mod memory;
mod pipeline;
mod process;
mod protocol;
mod queue;

pub use child::compile_child;
pub use compiler::Compiler;
pub use compose::Access;
pub(crate) use folder::Folder;
pub use inspection::{Count, Import, Inspection};

use super::linker::command;
use super::runtime::{Loading, Runtime};
use crate::error::Error;
use crate::extension_error::ExtensionError;
use crate::figures::TARGET;
use crate::load_limits::LoadLimits;
use artifact::{Head, Unfit};
use compiler::{Code, Job, map, settings_of};
use compose::{Client, Imports};
use incluster_core::text;
use queue::Place;
use ring::digest::{Context, SHA256};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OnceCell;
use wasmtime::component::Component;

/// A tenant's component, checked, composed with `incluster-plugin.wasm`, and compiled. Clones share the compiled code.
#[derive(Clone)]
pub struct Extension {
    component: Component,
    name: Arc<str>,
    /// The extension's slot in the cache, which finds the extension as long as it is in use.
    _slot: Slot,
}

impl Runtime {
    /// Loads an extension for a tenant. The extension may import the client and the ordinary world of WASI 0.2, as toolchains make components.
    /// In that world, `wasi:filesystem` has only the service account's folder, `wasi:http/outgoing-handler` reaches only the API server, by the
    /// tenant's policy, and every use of `wasi:sockets` fails with `access-denied`. (An event of the level info names the closed interfaces.)
    /// Beyond that, the extension may import the interfaces in `allowed`, by their names with or without a version, such as one of the
    /// embedder's own; but nothing that [`RuntimeBuilder::refuse_imports`](crate::RuntimeBuilder::refuse_imports) names.
    ///
    /// The file is counted against the runtime's [`LoadLimits`], then composed and compiled by the runtime's [`Compiler`]. That takes
    /// about half a second for each MB of the file. With a [`RuntimeBuilder::cache`](crate::RuntimeBuilder::cache), the next process finds the
    /// code there, in milliseconds and without a compiler. `tenant` is a name: one tenant's extensions are compiled one after the other. An
    /// extension that is in use is not compiled again, whoever loads it; if several callers load the same file at the same time, one compiles
    /// it for all. The last 256 files that were refused for good are remembered. Dropping the future ends the compiling, if that is in a
    /// separate process.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`] says what is wrong with the component, or with the compiler; [`ExtensionError::is_permanent`] says whether
    /// another attempt may succeed.
    pub async fn extension(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Extension, Error> {
        self.closing().run(self.load_extension(tenant, component, allowed)).await
    }

    async fn load_extension(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Extension, Error> {
        let imports = self.imports(allowed);
        let key = key(component, &imports, self.load_limits()).await;
        let slot = self.extensions().slot(key).map_err(Error::Extension)?;
        let loaded = match slot.get() {
            Some(loaded) => loaded.clone(),
            None => {
                let loaded = match self.kept(&key).await {
                    Some(kept) => slot.get_or_init(async || Ok(kept)).await,
                    None => {
                        let job = self.job(tenant, component, imports.clone())?;
                        // The first caller with a place compiles it, so that nobody waits for a caller who is far back in another queue.
                        let place = job.place().await;
                        slot.get_or_try_init(|| settled(self.compile_and_keep(&job, place, &key)))
                            .await
                            .map_err(Error::Extension)?
                    }
                };
                if let Ok(component) = loaded {
                    self.tell_of_closed(tenant, component, &imports, &key);
                }
                loaded.clone()
            }
        };
        match loaded {
            Ok(component) => Ok(Extension { component, name: short(&key).into(), _slot: slot }),
            Err(refused) => {
                self.extensions().remember(key, &refused);
                Err(Error::Extension(refused))
            }
        }
    }

    /// Composes an extension with the client, as [`Runtime::extension`] does, into a component for other engines. The result imports only WASI,
    /// and what is in `allowed`.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    pub async fn compose(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        self.composed(tenant, component, allowed, Client::HostTls).await
    }

    /// Composes an extension with a client that has its own TLS, over wasi:sockets, into a component for engines whose TLS does not
    /// trust ca.crt, such as the wasmtime CLI. The result imports only WASI, and what is in `allowed`. In such an engine, no policy applies,
    /// and the component has the token.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    #[cfg(feature = "standalone")]
    pub async fn compose_standalone(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        self.composed(tenant, component, allowed, Client::OwnTls).await
    }

    /// Inspects a component, and finds out whether [`Runtime::extension`] would load it. This includes compiling it.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`], if the compiler cannot be used. What is wrong with the component is in the [`Inspection`].
    pub async fn inspect(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Inspection, Error> {
        let inspect = async {
            let job = self.job(tenant, component, self.imports(allowed))?;
            let place = job.place().await;
            job.inspect(place).await.map_err(Error::Extension)
        };
        let (mut inspection, component) = self.closing().run(inspect).await?;
        inspection.not_runnable = component.and_then(|component| command(self, &component).err()).map(|error| error.to_string());
        Ok(inspection)
    }

    async fn composed(&self, tenant: &str, component: &[u8], allowed: &[&str], client: Client) -> Result<Vec<u8>, Error> {
        let compose = async {
            let job = self.job(tenant, component, self.imports(allowed))?;
            let place = job.place().await;
            job.compose(place, client).await.map_err(Error::Extension)
        };
        self.closing().run(compose).await
    }

    /// Compiles an extension for [`Runtime::extension_precompiled`], for the same version of this crate, a runtime with the same settings, and
    /// the same kind of processor.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    pub async fn precompile(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        let imports = self.imports(allowed);
        let head = Head { settings: settings_of(self.engine()), key: key(component, &imports, self.load_limits()).await };
        let compile = async {
            let job = self.job(tenant, component, imports)?;
            let place = job.place().await;
            let code = job.compile(place).await.map_err(Error::Extension)?;
            let mut precompiled = Vec::with_capacity(code.len() + 256);
            artifact::write(&mut precompiled, &head, &code).map_err(|e| Error::Runtime(e.into()))?;
            Ok(precompiled)
        };
        self.closing().run(compile).await
    }

    /// Loads the result of [`Runtime::precompile`], in milliseconds and without a compiler. What the component may import was decided there. A
    /// runtime without a compiler has room for the extension if [`RuntimeBuilder::load_limits`](crate::RuntimeBuilder::load_limits) is set.
    ///
    /// # Errors
    ///
    /// [`ExtensionError::NotPrecompiled`] says why the bytes cannot be used: they were made by another version of this crate, or for another
    /// engine, or are damaged.
    ///
    /// # Safety
    ///
    /// The bytes must be what [`Runtime::precompile`] returned, or what `incluster compile` wrote, and nobody else may have changed them. They
    /// are executed as they are: whoever chooses them can do all that this process can. The checks find mistakes, not attacks.
    #[expect(unsafe_code, reason = "only the caller can know where the bytes are from")]
    pub async unsafe fn extension_precompiled(&self, precompiled: &[u8]) -> Result<Extension, Error> {
        let unfit = |why: Unfit| Error::Extension(ExtensionError::NotPrecompiled { reason: why.to_string() });
        let (head, code) = artifact::read(&mut &*precompiled, settings_of(self.engine()), None).map_err(unfit)?;
        let load = async {
            let slot = self.extensions().slot(head.key).map_err(Error::Extension)?;
            let code = Code::Kept(Arc::new(code));
            let loaded = slot.get_or_try_init(|| settled(map(self.engine(), code))).await.map_err(Error::Extension)?.clone();
            let component = loaded.map_err(Error::Extension)?;
            Ok(Extension { component, name: short(&head.key).into(), _slot: slot })
        };
        self.closing().run(load).await
    }

    fn imports(&self, allowed: &[&str]) -> Imports {
        Imports { allowed: allowed.iter().map(ToString::to_string).collect(), refused: self.loading().refused.clone() }
    }

    fn job<'a>(&'a self, tenant: &'a str, component: &'a [u8], imports: Imports) -> Result<Job<'a>, Error> {
        let Loading { compiler, limits, .. } = self.loading();
        let compiler = compiler.as_ref().ok_or(Error::Extension(ExtensionError::NoCompiler))?;
        Ok(Job { compiler, engine: self.engine(), limits, tenant, component, imports })
    }

    /// Compiles an extension, stores the code in the cache, and maps it.
    async fn compile_and_keep(&self, job: &Job<'_>, place: Place, key: &Key) -> Loaded {
        let code = Code::from(job.compile(place).await?);
        if let (Some(folder), Code::Made(code)) = (self.loading().folder.clone(), code.clone()) {
            let head = Head { settings: settings_of(self.engine()), key: *key };
            let kept = tokio::task::spawn_blocking(move || folder.keep(&head, &code)).await;
            kept.map_err(|error| ExtensionError::CompilerDied { how: error.to_string() })?;
        }
        map(self.engine(), code).await
    }

    /// An extension from the cache, compiled by another process, or by this one before.
    async fn kept(&self, key: &Key) -> Option<Component> {
        let folder = self.loading().folder.clone()?;
        let head = Head { settings: settings_of(self.engine()), key: *key };
        let code = tokio::task::spawn_blocking(move || folder.find(&head)).await.ok()??;
        let mapped = map(self.engine(), Code::Kept(Arc::new(code))).await;
        mapped
            .inspect_err(|error| tracing::warn!(target: TARGET, %error, "a compiled extension in the cache cannot be used"))
            .ok()
    }

    /// Logs the closed imports, once for each load, for whoever wonders why something does not work.
    fn tell_of_closed(&self, tenant: &str, component: &Component, imports: &Imports, key: &Key) {
        let ty = component.component_type();
        let closed = ty.imports(self.engine()).filter(|(name, _)| imports.access(name) == Access::Closed);
        let imports = closed.map(|(name, _)| text::name(name)).collect::<Vec<_>>().join(", ");
        if !imports.is_empty() {
            let extension = short(key);
            tracing::info!(target: TARGET, tenant, extension, imports, "an extension imports what is closed to it: every use is denied");
        }
    }
}

impl Extension {
    /// The extension's name in spans and logs: the beginning of its hash, unless it was [`named`](Extension::named).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns this extension with another name.
    pub fn named(mut self, name: &str) -> Extension {
        self.name = text::name(name).into();
        self
    }

    /// The compiled component, for a linker of the embedder's own.
    pub fn component(&self) -> &Component {
        &self.component
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Extension").field(&self.name).finish()
    }
}

/// A component, or why it was refused for good.
type Loaded = Result<Component, ExtensionError>;

/// The place of a component that is loaded, or being loaded. Callers that ask for the same one meanwhile wait for it.
type Slot = Arc<OnceCell<Loaded>>;

/// Turns a temporary refusal into an error, which is not shared with the callers that wait: each of them tries again.
async fn settled(loading: impl Future<Output = Loaded>) -> Result<Loaded, ExtensionError> {
    match loading.await {
        Err(temporary) if !temporary.is_permanent() => Err(temporary),
        loaded => Ok(loaded),
    }
}

/// The hash of what an extension is made from.
type Key = [u8; 32];

/// Hashes a component with everything that decides whether it is loaded: a runtime with other limits may have stored it.
async fn key(component: &[u8], imports: &Imports, limits: &LoadLimits) -> Key {
    /// How many bytes are hashed before other tasks have their turn: it takes about a millisecond.
    const PIECE: usize = 1 << 20;
    let mut hash = Context::new(&SHA256);
    // Serializing cannot fail: these are numbers and texts.
    let decides = serde_json::to_vec(&(imports, limits)).unwrap_or_default();
    for part in [&*decides, component] {
        hash.update(&part.len().to_le_bytes());
        for piece in part.chunks(PIECE) {
            hash.update(piece);
            tokio::task::yield_now().await;
        }
    }
    let mut key = [0; 32];
    key.copy_from_slice(hash.finish().as_ref());
    key
}

/// The beginning of a key, in hexadecimal.
fn short(key: &Key) -> String {
    key.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// How many refusals are remembered.
const REFUSALS: usize = 256;

/// The extensions that are in use or being loaded, and the last ones that were refused for good.
#[derive(Default)]
pub(crate) struct Cache {
    slots: Mutex<HashMap<Key, Weak<OnceCell<Loaded>>>>,
    refusals: Mutex<VecDeque<(Key, ExtensionError)>>,
}

impl Cache {
    fn remember(&self, key: Key, refused: &ExtensionError) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.iter().all(|(known, _)| *known != key) {
            refusals.push_front((key, refused.clone()));
            refusals.truncate(REFUSALS);
        }
    }

    fn slot(&self, key: Key) -> Result<Slot, ExtensionError> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, refused)) = refusals.iter().find(|(known, _)| *known == key) {
            return Err(refused.clone());
        }
        drop(refusals);
        let mut known = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(slot);
        }
        let slot = Slot::default();
        known.insert(key, Arc::downgrade(&slot));
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refusals_are_remembered() {
        let cache = Cache::default();
        let key = |number: usize| {
            let mut key = Key::default();
            key[..8].copy_from_slice(&number.to_le_bytes());
            key
        };
        for number in (0..=REFUSALS).chain([REFUSALS]) {
            cache.remember(key(number), &ExtensionError::CoreModule);
        }
        assert!(cache.slot(key(0)).is_ok() && cache.slot(key(REFUSALS + 1)).is_ok());
        assert_eq!(cache.slot(key(1)).unwrap_err(), ExtensionError::CoreModule);
        assert_eq!(cache.refusals.lock().unwrap().len(), REFUSALS);
    }

    #[tokio::test]
    async fn a_temporary_refusal_is_not_shared() {
        let ending = async |error: &ExtensionError| settled(std::future::ready(Err(error.clone()))).await;
        assert!(ending(&ExtensionError::CoreModule).await.is_ok());
        assert_eq!(
            ending(&ExtensionError::NoMemoryLeft { left: 1, needed: 2 }).await.err(),
            Some(ExtensionError::NoMemoryLeft { left: 1, needed: 2 })
        );
    }
}
