//! Collections of objects, each kept up to date by one watch for all its readers.

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

/// The pods of a namespace, or of all namespaces, as they are now: [`Tenant::pod_store`].
pub type PodStore = ObjectStore<Pod>;

/// The objects of any collection as they are now: [`Tenant::json_store`].
pub type JsonStore = ObjectStore<JsonObject>;

/// A collection of objects that one watch keeps up to date for all its readers.
///
/// Clones share the watch, and so do all stores of one tenant with the same namespace or path and the same options. The watch ends when the
/// last of them is dropped. It holds a sandbox and a stream of its tenant's [`TenantLimits`](crate::TenantLimits).
///
/// While the API server cannot be reached, the store keeps showing the last known objects, and [`ObjectStore::freshness`] says so. Objects
/// that the tenant's policy no longer permits are not shown. A watch that has expired begins again with the existing objects. Until all of
/// them have arrived, the store shows the previous ones, so that nobody ever sees part of a collection, or an older state than the store
/// has shown before. `docs/watching.md` lists everything that a watch survives.
pub struct ObjectStore<T: Object>(Arc<Handle<T>>);

/// Which objects are in a store, and how many it may hold.
///
/// If the collection exceeds a limit, the store keeps showing what it has, becomes [`Freshness::Stale`] or [`Freshness::NotSynced`], and
/// tries again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreOptions {
    /// `labelSelector`, for example `app=web`: all objects by default.
    pub label_selector: Option<String>,
    /// `fieldSelector`, for example `spec.nodeName=node-1`: all objects by default.
    pub field_selector: Option<String>,
    /// The maximum number of objects that the store may hold. 100,000 by default.
    pub max_objects: usize,
    /// The maximum total size of the objects as JSON, in bytes. 256 MiB by default. A record of a pod takes about as much memory as its
    /// JSON text.
    pub max_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { label_selector: None, field_selector: None, max_objects: 100_000, max_bytes: 256 << 20 }
    }
}

/// Whether a store is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Not all objects have arrived yet, so there is no snapshot.
    NotSynced {
        /// Why the last attempt failed, if one did.
        problem: Option<String>,
    },
    /// The watch is open: each change arrives as it happens.
    Current {
        /// How long ago the API server last sent something: a change or, about once a minute, a bookmark, which says that there was none.
        heard: Duration,
    },
    /// The watch has failed and is tried again, or the runtime has ended: what is shown may be out of date. If the watch continues after a
    /// failure, the store is current again when the API server has sent something, which takes up to a minute.
    Stale {
        /// How long ago the watch first failed.
        since: Duration,
        /// Why the watch last failed.
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
    /// How many times something has changed that a reader may wait for.
    told: watch::Sender<u64>,
}

struct Known<T> {
    table: Table<T>,
    heard: Instant,
    /// Since when the watch has been failing, and why it last failed.
    problem: Option<(Instant, String)>,
    /// Whether the watch has sent an object that could not be read.
    is_damaged: bool,
    is_over: bool,
    /// Counts the store as stale. Present while the store may be out of date.
    stale: Option<Counted>,
}

/// The stores that a tenant has been asked for.
#[derive(Default)]
pub(crate) struct Stores(Mutex<HashMap<StoreKey, Weak<dyn Any + Send + Sync>>>);

/// What identifies a store: the kind of its objects, where they are, and its options.
type StoreKey = (&'static str, String, StoreOptions);

impl Tenant {
    /// The pods of a namespace, or of all namespaces with `*`, which one watch keeps up to date. The watch begins at once, in the tokio
    /// runtime of the first caller.
    ///
    /// The service account needs the verb `watch` on `pods`, and `list` where the server does not send the existing pods in a watch
    /// (Kubernetes before 1.32, and 1.33); the tenant's [`Policy`](crate::policy::Policy) must permit the same. Without these permissions,
    /// the store is [`Freshness::NotSynced`], and tries again.
    ///
    /// # Errors
    ///
    /// [`Error::NoTokio`], outside of a tokio runtime.
    pub fn pod_store(&self, namespace: &str, options: &StoreOptions) -> Result<PodStore, Error> {
        self.object_store(namespace, options)
    }

    /// The objects of any collection, by its path, for example `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices`. Otherwise, this
    /// is like [`Tenant::pod_store`].
    ///
    /// # Errors
    ///
    /// [`Error::NoTokio`], outside of a tokio runtime.
    pub fn json_store(&self, path: &str, options: &StoreOptions) -> Result<JsonStore, Error> {
        self.object_store(path, options)
    }

    fn object_store<T: Object>(&self, place: &str, options: &StoreOptions) -> Result<ObjectStore<T>, Error> {
        /// Few attempts, so that a failure shows early: the store itself tries again, for as long as it takes.
        const ATTEMPTS: u32 = 2;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoTokio)?;
        let mut stores = self.state().stores.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| store.strong_count() > 0);
        let key = (T::KIND, place.to_owned(), options.clone());
        let known = stores.get(&key).and_then(Weak::upgrade).and_then(|store| store.downcast::<Handle<T>>().ok());
        // A store whose runtime has ended will never change.
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
    /// The objects as they are now; `None` until all of them have arrived for the first time. This takes microseconds. With many thousands
    /// of objects, the first call after a change takes longer, because it makes the snapshot.
    pub fn latest(&self) -> Option<Arc<Snapshot<T>>> {
        self.0.shared.lock().table.snapshot()
    }

    /// Waits until all objects have arrived, and returns them. Returns `None` if they never will, because the runtime has ended.
    pub async fn wait_until_synced(&self) -> Option<Arc<Snapshot<T>>> {
        self.wait(|_| true).await
    }

    /// Waits until the store shows the API server's state at this resource version or a later one, and returns it. Use it, for example,
    /// after a write, with the object's version from the answer. If nothing changes after that version, this waits for the next bookmark,
    /// up to a minute. Returns `None` if the store will never show that state, because the runtime has ended, and for a text that is not a
    /// resource version.
    pub async fn wait_for_version(&self, resource_version: &str) -> Option<Arc<Snapshot<T>>> {
        is_as_new(resource_version, resource_version).then_some(())?;
        self.wait(|snapshot| is_as_new(&snapshot.resource_version, resource_version)).await
    }

    /// Waits until the objects differ from those of the snapshot with this generation, and returns them. No snapshot has the generation 0,
    /// so 0 waits for the first one. Returns `None` if they will never differ, because the runtime has ended.
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

    /// The changes from now on. All existing objects come first, as [`Change::Added`].
    pub fn changes(&self) -> Changes<T> {
        Changes::new(self.clone())
    }

    /// Whether the store is up to date.
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

    /// Notes that another watch begins.
    fn begin(&self) {
        let mut known = self.lock();
        known.table.begin();
        known.is_damaged = false;
    }

    /// Notes that the watch sent an object that cannot be read. The store may be out of date until the next watch.
    fn damaged(&self, why: String) {
        self.lock().is_damaged = true;
        self.failed(why);
    }

    /// Stops showing objects.
    fn forget(&self) {
        self.lock().table.forget();
    }

    /// Takes an event of the watch. Fails if the store would exceed a limit.
    fn take(&self, event: Event<T>) -> Result<(), Full> {
        let mut known = self.lock();
        known.heard = Instant::now();
        known.table.take(event)?;
        // A watch that has not sent all objects yet may still fail as the previous one did.
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

    /// Records why the watch failed.
    fn failed(&self, why: String) {
        let mut known = self.lock();
        let since = known.problem.take().map_or_else(Instant::now, |(since, _)| since);
        known.problem = Some((since, why));
        known.stale.get_or_insert_with(|| stale(&self.tenant));
        drop(known);
        self.tell();
    }

    /// Marks the store as over: no event will come any more.
    fn over(&self) {
        self.lock().is_over = true;
        self.failed("the tokio runtime that ran the store's watch has ended".into());
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
