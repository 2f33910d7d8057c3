//! Extensions: components of tenants' own, which are not to be trusted. Their files are counted, checked, composed with the client
//! component and compiled when they are loaded.
//!
//! ```text
//!  Runtime::extension ──► cache ──► queue ──► Compiler::child(program) ──► count ► check ► compose ► compile
//!                                        └──► Compiler::in_process()   ──► the same, in this process
//! ```

mod child;
mod compiler;
mod compose;
mod count;
mod error;
mod inspection;
mod inventory;
mod limits;
mod memory;
mod pipeline;
mod process;
mod protocol;
mod queue;

pub use child::compile_child;
pub use compiler::Compiler;
pub use compose::Access;
pub use error::ExtensionError;
pub use inspection::{Count, Import, Inspection};
pub use limits::{LoadLimit, LoadLimits};

use crate::{Error, Runtime};
use compiler::Job;
use ring::digest::{Context, SHA256};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OnceCell;
use wasmtime::component::Component;

/// A component of a tenant's, composed with `incluster-plugin.wasm`, checked, and compiled. Clones are the same.
#[derive(Clone)]
pub struct Extension {
    component: Component,
    /// What the cache knows it by, for as long as it is in use.
    _slot: Slot,
}

impl Runtime {
    /// Loads an extension for a tenant. Of interfaces beyond the client's and WASI's harmless ones, it may import those in `allowed`,
    /// by their names with or without a version, such as `wasi:http/outgoing-handler` (which reaches the API server alone) or one of the
    /// embedder's own.
    ///
    /// It is counted against the runtime's [`LoadLimits`], composed and compiled where the runtime's [`Compiler`] says, which takes
    /// seconds for a large component. `tenant` is a name: one tenant's extensions are compiled one after the other. What is in use
    /// already is not compiled again, whoever's it is. Dropping the future ends the compiling, if that is in a process of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`] says what is wrong with the component, or with the compiler.
    pub async fn extension(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Extension, Error> {
        let job = self.job(tenant, component, allowed)?;
        let slot = self.extensions().slot(component, allowed);
        if let Some(component) = slot.get() {
            return Ok(Extension { component: component.clone(), _slot: slot });
        }
        // Whoever has a place compiles it: nobody waits for one who is himself far back in his own line.
        let _place = job.place().await;
        let component = slot.get_or_try_init(|| job.load()).await.map_err(Error::Extension)?.clone();
        Ok(Extension { component, _slot: slot })
    }

    /// Composes an extension with the client, as [`Runtime::extension`] does, into a component for other engines. It imports WASI alone,
    /// and what is in `allowed`.
    ///
    /// # Errors
    ///
    /// As for [`Runtime::extension`].
    pub async fn compose(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Vec<u8>, Error> {
        let job = self.job(tenant, component, allowed)?;
        let _place = job.place().await;
        job.compose().await.map_err(Error::Extension)
    }

    /// Finds out what there is to know of a component, and whether [`Runtime::extension`] would load it. It compiles it, too.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`], where the compiler cannot be used. What is wrong with the component is in the [`Inspection`].
    pub async fn inspect(&self, tenant: &str, component: &[u8], allowed: &[&str]) -> Result<Inspection, Error> {
        let job = self.job(tenant, component, allowed)?;
        let _place = job.place().await;
        job.inspect().await.map_err(Error::Extension)
    }

    fn job<'a>(&'a self, tenant: &'a str, component: &'a [u8], allowed: &[&str]) -> Result<Job<'a>, Error> {
        let (compiler, limits) = self.loading();
        let compiler = compiler.ok_or(Error::Extension(ExtensionError::NoCompiler))?;
        let allowed = allowed.iter().map(ToString::to_string).collect();
        Ok(Job { compiler, engine: self.engine(), limits, tenant, component, allowed })
    }
}

impl Extension {
    /// The compiled component, for a linker of the embedder's own.
    pub fn component(&self) -> &Component {
        &self.component
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extension")
    }
}

/// Where a component is, or will be: whoever asks for the same one meanwhile waits for it.
type Slot = Arc<OnceCell<Component>>;

/// The extensions that are in use, by the hash of what they were made from.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<[u8; 32], Weak<OnceCell<Component>>>>);

impl Cache {
    fn slot(&self, component: &[u8], allowed: &[&str]) -> Slot {
        let mut hash = Context::new(&SHA256);
        for part in allowed.iter().map(|name| name.as_bytes()).chain([component]) {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        }
        let mut key = [0; 32];
        key.copy_from_slice(hash.finish().as_ref());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = known.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Slot::default();
        known.insert(key, Arc::downgrade(&slot));
        slot
    }
}
