//! Extensions: components of tenants' own, which are not to be trusted. Their files are counted, checked, composed with the client
//! component and compiled when they are loaded.
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

/// A component of a tenant's, composed with `incluster-plugin.wasm`, checked, and compiled. Clones are the same.
#[derive(Clone)]
pub struct Extension {
    component: Component,
    name: Arc<str>,
    /// What the cache knows it by, for as long as it is in use.
    _slot: Slot,
}

impl Runtime {
    /// Loads an extension for a tenant. It may import the client and the ordinary world of WASI 0.2, as toolchains make components: of that,
    /// `wasi:filesystem` has the service account's folder alone, `wasi:http/outgoing-handler` reaches the API server alone, by the tenant's
    /// policy, and `wasi:sockets` answers each use by access-denied. (An event of the level info names what is closed so.) Beyond that, it may
    /// import those interfaces in `allowed`, by their names with or without a version, such as one of the embedder's own; and nothing that
    /// [`RuntimeBuilder::refuse_imports`](crate::RuntimeBuilder::refuse_imports) names.
    ///
    /// It is counted against the runtime's [`LoadLimits`], then composed and compiled where the runtime's [`Compiler`] says. That takes
    /// about half a second for each MB of the file; where there is a [`RuntimeBuilder::cache`](crate::RuntimeBuilder::cache), the next process
    /// finds the code there, in milliseconds and without a compiler. `tenant` is a name: one tenant's extensions are compiled one after the other. An extension that is in use is not compiled again, whoever loads it; and of those who
    /// load the same file at the same time, one compiles it for all. Of files that were refused for good, the last 256 are remembered.
    /// Dropping the future ends the compiling, if that is in a process of its own.
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
                        // Whoever has a place compiles it: nobody waits for one who is himself far back in his own line.
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

    /// Composes an extension with the client, as [`Runtime::extension`] does, into a component for other engines. It imports WASI alone,
    /// and what is in `allowed`.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    pub async fn compose(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        self.composed(tenant, component, allowed, Client::HostTls).await
    }

    /// Composes an extension with a client that has TLS of its own, over wasi:sockets, into a component for engines whose TLS does not
    /// trust ca.crt, such as the wasmtime CLI. It imports WASI alone, and what is in `allowed`. There, no policy holds, and the component
    /// has the token.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    #[cfg(feature = "standalone")]
    pub async fn compose_standalone(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        self.composed(tenant, component, allowed, Client::OwnTls).await
    }

    /// Finds out what there is to know of a component, and whether [`Runtime::extension`] would load it. It compiles it, too.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`], where the compiler cannot be used. What is wrong with the component is in the [`Inspection`].
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

    /// Compiles an extension for [`Runtime::extension_precompiled`], of this version of this crate and in a runtime with this one's settings, on
    /// processors such as this one.
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

    /// Loads what [`Runtime::precompile`] returned, in milliseconds and without a compiler. What the component may import was decided there. A
    /// runtime without a compiler has room for it where [`RuntimeBuilder::load_limits`](crate::RuntimeBuilder::load_limits) is given.
    ///
    /// # Errors
    ///
    /// [`ExtensionError::NotPrecompiled`] says why it cannot be used: another version of this crate made it, or for another engine, or it is
    /// damaged.
    ///
    /// # Safety
    ///
    /// These are the bytes that [`Runtime::precompile`] returned, or what `incluster compile` wrote, and nobody else has had a hand in them.
    /// They are executed as they are: whoever may choose them has all that this process has. What is checked finds mistakes and no attacks.
    #[expect(unsafe_code, reason = "it is for the caller to know where the bytes are from")]
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

    /// Compiles an extension, keeps what was made of it, and maps it.
    async fn compile_and_keep(&self, job: &Job<'_>, place: Place, key: &Key) -> Loaded {
        let code = Code::from(job.compile(place).await?);
        if let (Some(folder), Code::Made(code)) = (self.loading().folder.clone(), code.clone()) {
            let head = Head { settings: settings_of(self.engine()), key: *key };
            let kept = tokio::task::spawn_blocking(move || folder.keep(&head, &code)).await;
            kept.map_err(|error| ExtensionError::CompilerDied { how: error.to_string() })?;
        }
        map(self.engine(), code).await
    }

    /// What was made of an extension by another process, or by this one before.
    async fn kept(&self, key: &Key) -> Option<Component> {
        let folder = self.loading().folder.clone()?;
        let head = Head { settings: settings_of(self.engine()), key: *key };
        let code = tokio::task::spawn_blocking(move || folder.find(&head)).await.ok()??;
        let mapped = map(self.engine(), Code::Kept(Arc::new(code))).await;
        mapped
            .inspect_err(|error| tracing::warn!(target: TARGET, %error, "a compiled extension in the cache cannot be used"))
            .ok()
    }

    /// Whoever wonders why something does not work finds it in the log, once for each load.
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
    /// What it is called in spans and logs: the beginning of its hash, unless it was [`named`](Extension::named).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same extension, which is called so.
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

/// A component, or why it will never be one.
type Loaded = Result<Component, ExtensionError>;

/// Where that is, or will be: whoever asks for the same one meanwhile waits for it.
type Slot = Arc<OnceCell<Loaded>>;

/// A refusal that may pass is not for those who wait: each of them tries.
async fn settled(loading: impl Future<Output = Loaded>) -> Result<Loaded, ExtensionError> {
    match loading.await {
        Err(passing) if !passing.is_permanent() => Err(passing),
        loaded => Ok(loaded),
    }
}

/// The hash of what an extension is made from.
type Key = [u8; 32];

/// With all that decides whether it is loaded: another runtime, with other limits, may have kept it.
async fn key(component: &[u8], imports: &Imports, limits: &LoadLimits) -> Key {
    /// What is hashed before others have their turn: it takes about a millisecond.
    const PIECE: usize = 1 << 20;
    let mut hash = Context::new(&SHA256);
    // Neither can fail to be written: numbers and texts.
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

/// Its beginning, in hexadecimal.
fn short(key: &Key) -> String {
    key.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// So many refusals are remembered.
const REFUSALS: usize = 256;

/// The extensions that are in use or being loaded, and those that were refused for good last.
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
    fn of_refusals_the_last_are_remembered() {
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
    async fn what_may_pass_is_settled_by_nobody() {
        let ending = async |error: &ExtensionError| settled(std::future::ready(Err(error.clone()))).await;
        assert!(ending(&ExtensionError::CoreModule).await.is_ok());
        assert_eq!(
            ending(&ExtensionError::NoMemoryLeft { left: 1, needed: 2 }).await.err(),
            Some(ExtensionError::NoMemoryLeft { left: 1, needed: 2 })
        );
    }
}
