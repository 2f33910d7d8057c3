//! Collections that a tenant keeps fresh by a watch each, for all who ask.

mod changes;
mod follow;
mod object;
mod ready;
mod table;

pub use changes::{Change, Changes};
pub use object::JsonObject;
pub(crate) use object::Object;
pub use table::Snapshot;

use super::Tenant;
use crate::error::Error;
use crate::figures::{self, Counted};
use crate::types::{Pod, RetryPolicy, WatchOptions};
use follow::{Over, follow};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use table::{Event, Full, Table, is_as_new};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The pods of a namespace, or of all, as they are now: [`Tenant::pod_store`].
pub type PodStore = ObjectStore<Pod>;

/// The objects of any collection as they are now: [`Tenant::json_store`].
pub type JsonStore = ObjectStore<JsonObject>;

/// A collection of objects that one watch keeps fresh, for all who ask.
///
/// Clones share the watch, and so do stores that the same tenant is asked for with the same namespace or path and the same selectors; it ends when
/// the last of them is dropped. The watch holds a sandbox and a stream of its tenant's
/// [`TenantLimits`](crate::TenantLimits).
///
/// What was known stays while the API server cannot be asked, and [`ObjectStore::freshness`] says so; what the tenant's policy does not permit any
/// more is not shown. A watch that has expired begins again with the
/// objects that there are; until all of them have come, the store shows what it knew before, so that nobody ever sees a part of a collection, nor
/// one that is older than what the store has shown. `docs/watching.md` has all that a watch survives.
pub struct ObjectStore<T: Object>(Arc<Handle<T>>);

/// Which objects are in a store, and how many it may hold.
///
/// A store that would hold more keeps showing what it has, is [`Freshness::Stale`] or [`Freshness::NotSynced`], and tries again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreOptions {
    /// `labelSelector`, for example `app=web`: all objects by default.
    pub label_selector: Option<String>,
    /// `fieldSelector`, for example `spec.nodeName=node-1`: all objects by default.
    pub field_selector: Option<String>,
    /// The most objects that the store may hold: 100,000 by default.
    pub max_objects: usize,
    /// The most bytes that the objects may have together, as JSON: 256 MiB by default. A record of a pod takes about as much memory as its JSON text.
    pub max_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { label_selector: None, field_selector: None, max_objects: 100_000, max_bytes: 256 << 20 }
    }
}

/// Whether a store shows what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Not all objects have come yet, so that there is no snapshot.
    NotSynced {
        /// Why the last attempt failed, if one did.
        problem: Option<String>,
    },
    /// The watch is there: each change comes as it happens.
    Current {
        /// How long ago the API server said something: a change, or that there was none (a bookmark), once a minute.
        heard: Duration,
    },
    /// The watch has failed and is tried again, or the runtime has ended: what is shown may be out of date. A watch that goes on after a failure is
    /// current again when the API server has said something, within a minute.
    Stale {
        /// How long ago it failed first.
        since: Duration,
        /// Why it failed last.
        problem: String,
    },
}

/// What the handles of a store share. Dropping the last one ends the watch.
struct Handle<T: Object> {
    shared: Arc<Shared<T>>,
    watching: JoinHandle<()>,
    _counted: Counted,
}

struct Shared<T: Object> {
    tenant: String,
    known: Mutex<Known<T>>,
    /// How often something has changed that somebody may wait for.
    told: watch::Sender<u64>,
}

struct Known<T> {
    table: Table<T>,
    heard: Instant,
    /// Since when it fails, and why.
    problem: Option<(Instant, String)>,
    /// Whether there is an object of which the watch has said what could not be read.
    is_damaged: bool,
    is_over: bool,
    /// As long as it may be out of date.
    stale: Option<Counted>,
}

/// The stores that a tenant has been asked for.
#[derive(Default)]
pub(crate) struct Stores(Mutex<HashMap<StoreKey, Weak<dyn Any + Send + Sync>>>);

/// What a store is of: the kind of its objects, where they are, and which of them.
type StoreKey = (&'static str, String, StoreOptions);

impl Tenant {
    /// The pods of a namespace, or of all by `*`, which one watch keeps fresh. It begins at once, in the tokio runtime of whoever asks first.
    ///
    /// The service account needs the verb `watch` on `pods`, and `list` where the server does not send the pods that there are by a watch
    /// (Kubernetes before 1.32, and 1.33); the tenant's [`Policy`](crate::policy::Policy) must permit the same. What is not permitted is
    /// [`Freshness::NotSynced`], and is tried again.
    ///
    /// # Errors
    ///
    /// [`Error::NoTokio`], outside of a tokio runtime.
    pub fn pod_store(&self, namespace: &str, options: &StoreOptions) -> Result<PodStore, Error> {
        self.object_store(namespace, options)
    }

    /// The objects of any collection, by its path, for example `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices`, as
    /// [`Tenant::pod_store`].
    ///
    /// # Errors
    ///
    /// [`Error::NoTokio`], outside of a tokio runtime.
    pub fn json_store(&self, path: &str, options: &StoreOptions) -> Result<JsonStore, Error> {
        self.object_store(path, options)
    }

    fn object_store<T: Object>(&self, place: &str, options: &StoreOptions) -> Result<ObjectStore<T>, Error> {
        /// A failure is shown early: the store itself tries again, for as long as it takes.
        const ATTEMPTS: u32 = 2;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoTokio)?;
        let mut stores = self.state().stores.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| store.strong_count() > 0);
        let key = (T::KIND, place.to_owned(), options.clone());
        let known = stores.get(&key).and_then(Weak::upgrade).and_then(|store| store.downcast::<Handle<T>>().ok());
        // One whose runtime has ended will never change.
        if let Some(handle) = known.filter(|handle| !handle.watching.is_finished()) {
            return Ok(ObjectStore(handle));
        }
        let tenant = self.with_retry_policy(RetryPolicy { attempts: Some(ATTEMPTS), ..self.retry_policy() });
        let StoreOptions { label_selector, field_selector, max_objects, max_bytes } = options.clone();
        let shared = Arc::new(Shared::new(self.name(), Table::new(max_objects, max_bytes)));
        let options = WatchOptions { label_selector, field_selector, ..WatchOptions::ALL };
        let watching = runtime.spawn(follow(tenant, place.to_owned(), options, Over(shared.clone())));
        let counted = Counted::one(metrics::gauge!(figures::STORES, "tenant" => self.name().to_owned()));
        let handle = Arc::new(Handle { shared, watching, _counted: counted });
        let any: Arc<dyn Any + Send + Sync> = handle.clone();
        stores.insert(key, Arc::downgrade(&any));
        Ok(ObjectStore(handle))
    }
}

impl<T: Object> ObjectStore<T> {
    /// The objects as they are now; `None` until all of them have come for the first time. It takes microseconds; of a collection of many
    /// thousands, the first call after a change takes longer, as the snapshot is made when somebody asks for it.
    pub fn latest(&self) -> Option<Arc<Snapshot<T>>> {
        self.0.shared.lock().table.snapshot()
    }

    /// Waits until all objects have come, and returns them. `None` where they never will, as the runtime has ended.
    pub async fn wait_until_synced(&self) -> Option<Arc<Snapshot<T>>> {
        self.wait(|_| true).await
    }

    /// Waits until the store shows what the API server had at this resource version, or what came after, and returns it: for example
    /// after a write, whose answer has the object's version. Where nothing changes after that version, it takes until the next
    /// bookmark, up to a minute. `None` where it never will, as the runtime has ended, and for what is not a version.
    pub async fn wait_for_version(&self, resource_version: &str) -> Option<Arc<Snapshot<T>>> {
        is_as_new(resource_version, resource_version).then_some(())?;
        self.wait(|snapshot| is_as_new(&snapshot.resource_version, resource_version)).await
    }

    /// Waits until the objects are others than those of a snapshot, which is known by its generation, and returns them; 0 is the generation of
    /// none. `None` where they never will be, as the runtime has ended.
    pub async fn wait_for_change(&self, generation: u64) -> Option<Arc<Snapshot<T>>> {
        self.wait(|snapshot| snapshot.generation != generation).await
    }

    async fn wait(&self, is_enough: impl Fn(&Snapshot<T>) -> bool) -> Option<Arc<Snapshot<T>>> {
        let mut told = self.0.shared.told.subscribe();
        loop {
            told.mark_unchanged();
            if let Some(snapshot) = self.latest().filter(|snapshot| is_enough(snapshot)) {
                return Some(snapshot);
            }
            if self.0.shared.lock().is_over {
                return None;
            }
            told.changed().await.ok()?;
        }
    }

    /// The changes from now on, with all objects that there are as [`Change::Added`] first.
    pub fn changes(&self) -> Changes<T> {
        Changes::new(self.clone())
    }

    /// Whether it shows what there is.
    pub fn freshness(&self) -> Freshness {
        let known = self.0.shared.lock();
        let problem = known.problem.as_ref();
        if !known.table.is_synced() {
            return Freshness::NotSynced { problem: problem.map(|(_, text)| text.clone()) };
        }
        match problem {
            Some((since, text)) => Freshness::Stale { since: since.elapsed(), problem: text.clone() },
            None => Freshness::Current { heard: known.heard.elapsed() },
        }
    }
}

impl<T: Object> Shared<T> {
    fn new(tenant: &str, table: Table<T>) -> Shared<T> {
        let known =
            Known { table, heard: Instant::now(), problem: None, is_damaged: false, is_over: false, stale: Some(stale(tenant)) };
        Shared { tenant: tenant.into(), known: Mutex::new(known), told: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.told.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Another watch begins.
    fn begin(&self) {
        let mut known = self.lock();
        known.table.begin();
        known.is_damaged = false;
    }

    /// Something was said of an object that cannot be read: it may be out of date until the next watch.
    fn damaged(&self, why: String) {
        self.lock().is_damaged = true;
        self.failed(why);
    }

    /// Shows nothing any more.
    fn forget(&self) {
        self.lock().table.forget();
    }

    /// Takes what a watch said. An error is what would be too much.
    fn take(&self, event: Event<T>) -> Result<(), Full> {
        let mut known = self.lock();
        known.heard = Instant::now();
        known.table.take(event)?;
        // A watch that has not sent all objects yet may still fail as the one before.
        if !known.table.is_followed() {
            return Ok(());
        }
        if !known.is_damaged {
            (known.problem, known.stale) = (None, None);
        }
        drop(known);
        self.tell();
        Ok(())
    }

    /// Takes why a watch failed.
    fn failed(&self, why: String) {
        let mut known = self.lock();
        let since = known.problem.take().map_or_else(Instant::now, |(since, _)| since);
        known.problem = Some((since, why));
        known.stale.get_or_insert_with(|| stale(&self.tenant));
        drop(known);
        self.tell();
    }

    /// Nothing will come any more.
    fn over(&self) {
        self.lock().is_over = true;
        self.failed("the runtime that watched it has ended".into());
    }
}

fn stale(tenant: &str) -> Counted {
    Counted::one(metrics::gauge!(figures::STALE_STORES, "tenant" => tenant.to_owned()))
}

impl<T: Object> Drop for Handle<T> {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl<T: Object> Clone for ObjectStore<T> {
    fn clone(&self) -> Self {
        ObjectStore(self.0.clone())
    }
}

impl<T: Object> fmt::Debug for ObjectStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore")
            .field("tenant", &self.0.shared.tenant)
            .field("freshness", &self.freshness())
            .finish_non_exhaustive()
    }
}
