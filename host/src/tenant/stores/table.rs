//! The known state of a collection, which is updated by a watch's events and read as snapshots.

use super::object::{Key, Object};
use crate::types::ChangeKind;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An event of a watch of a collection.
pub enum Event<T> {
    /// An object is new, or has changed, or is gone.
    Changed(ChangeKind, T),
    /// All objects that existed when the watch began have arrived. Together they are the state of this version.
    Synced(String),
    /// Nothing else has changed up to this version.
    Bookmark(String),
}

/// The objects of a collection at one moment, in the order of their namespaces and names.
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot<T> {
    /// A number that changes whenever the objects change, and is never 0. What was computed from a snapshot stays valid while the number
    /// stays the same. The numbers of different stores cannot be compared.
    pub generation: u64,
    /// The version of the collection (`metadata.resourceVersion`) that has these objects.
    pub resource_version: String,
    /// The objects.
    pub objects: Vec<Arc<T>>,
}

impl<T: Object> Snapshot<T> {
    /// The object with this namespace and name. For an object without a namespace, `namespace` is empty.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        let place = self.objects.binary_search_by(|object| object.key().cmp(&Key { namespace, name })).ok()?;
        self.objects.get(place)
    }
}

/// Objects, each with its size in bytes.
struct Objects<T> {
    by_key: BTreeMap<(String, String), (Arc<T>, usize)>,
    bytes: usize,
}

/// The limit that a table would exceed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// More than this number of objects.
    Objects(usize),
    /// More than this number of bytes.
    Bytes(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Objects(most) => {
                write!(f, "the collection has more than {most} objects: narrow its selectors, or raise StoreOptions::max_objects")
            }
            Full::Bytes(most) => {
                write!(f, "the collection has more than {most} bytes: narrow its selectors, or raise StoreOptions::max_bytes")
            }
        }
    }
}

/// What is known of a collection.
pub(super) struct Table<T> {
    max_objects: usize,
    max_bytes: usize,
    objects: Objects<T>,
    /// The objects that a new watch has sent so far; `None` once it has sent all existing objects.
    gathered: Option<Objects<T>>,
    resource_version: String,
    generation: u64,
    is_synced: bool,
    snapshot: Option<Arc<Snapshot<T>>>,
}

impl<T: Object> Table<T> {
    /// An empty table, which may hold this many objects, with this many bytes in total.
    pub(super) fn new(max_objects: usize, max_bytes: usize) -> Table<T> {
        Table {
            max_objects,
            max_bytes,
            objects: Objects::default(),
            gathered: Some(Objects::default()),
            resource_version: String::new(),
            generation: 0,
            is_synced: false,
            snapshot: None,
        }
    }

    /// Notes that another watch begins, with the existing objects.
    pub(super) fn begin(&mut self) {
        self.gathered = Some(Objects::default());
    }

    /// Forgets all objects.
    pub(super) fn forget(&mut self) {
        *self = Table { generation: self.generation, ..Table::new(self.max_objects, self.max_bytes) };
    }

    /// Takes an event of the watch. After an error, the watch must begin again, because the event is lost.
    pub(super) fn take(&mut self, event: Event<T>) -> Result<(), Full> {
        let most = (self.max_objects, self.max_bytes);
        match (event, &mut self.gathered) {
            (Event::Changed(kind, object), Some(gathered)) => {
                let _ = gathered.put(Some(&self.objects), kind, object, most)?;
            }
            (Event::Changed(kind, object), None) => {
                let version = object.resource_version().into();
                self.generation += u64::from(self.objects.put(None, kind, object, most)?);
                (self.resource_version, self.snapshot) = (version, None);
            }
            (Event::Synced(version), gathered) => {
                if let Some(gathered) = gathered.take() {
                    let is_the_same = self.is_synced
                        && gathered.by_key.len() == self.objects.by_key.len()
                        && gathered.all().zip(self.objects.all()).all(|(new, old)| Arc::ptr_eq(new, old));
                    self.generation += u64::from(!is_the_same);
                    self.objects = gathered;
                }
                (self.is_synced, self.resource_version, self.snapshot) = (true, version, None);
            }
            (Event::Bookmark(version), None) => (self.resource_version, self.snapshot) = (version, None),
            (Event::Bookmark(_), Some(_)) => {}
        }
        Ok(())
    }

    /// The objects, once all have arrived.
    pub(super) fn snapshot(&mut self) -> Option<Arc<Snapshot<T>>> {
        if !self.is_synced {
            return None;
        }
        let make = || {
            let (generation, resource_version) = (self.generation, self.resource_version.clone());
            Arc::new(Snapshot { generation, resource_version, objects: self.objects.all().cloned().collect() })
        };
        Some(self.snapshot.get_or_insert_with(make).clone())
    }

    /// Whether all objects have arrived at least once.
    pub(super) fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Whether the current watch has sent all existing objects.
    pub(super) fn is_followed(&self) -> bool {
        self.gathered.is_none()
    }
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects { by_key: BTreeMap::new(), bytes: 0 }
    }
}

impl<T: Object> Objects<T> {
    fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_key.values().map(|(object, _)| object)
    }

    /// Adds, replaces or removes an object, within the maximum number of objects and of their bytes. An object that has not changed keeps
    /// its `Arc`. Returns whether something has changed.
    fn put(
        &mut self,
        before: Option<&Objects<T>>,
        kind: ChangeKind,
        object: T,
        (max_objects, max_bytes): (usize, usize),
    ) -> Result<bool, Full> {
        let Key { namespace, name } = object.key();
        let key = (namespace.to_owned(), name.to_owned());
        if kind == ChangeKind::Deleted {
            let removed = self.by_key.remove(&key);
            self.bytes -= removed.as_ref().map_or(0, |(_, bytes)| *bytes);
            return Ok(removed.is_some());
        }
        let replaced = self.by_key.get(&key);
        let known = replaced.or_else(|| before?.by_key.get(&key)).filter(|(known, _)| **known == object).cloned();
        let is_new = known.is_none();
        let (object, bytes) = known.unwrap_or_else(|| {
            let bytes = object.bytes();
            (Arc::new(object), bytes)
        });
        if replaced.is_none() && self.by_key.len() >= max_objects {
            return Err(Full::Objects(max_objects));
        }
        let all = (self.bytes - replaced.map_or(0, |(_, bytes)| *bytes)).saturating_add(bytes);
        if all > max_bytes {
            return Err(Full::Bytes(max_bytes));
        }
        self.bytes = all;
        self.by_key.insert(key, (object, bytes));
        Ok(is_new)
    }
}

/// Whether a version is at least as new as another. Kubernetes's versions are decimal numbers of any size, without leading zeros.
pub(super) fn is_as_new(version: &str, than: &str) -> bool {
    let is_number = |version: &str| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_number(version) && is_number(than) && (version.len(), version) >= (than.len(), than)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Pod;

    fn pod(name: &str, version: &str) -> Pod {
        let mut pod = super::super::object::tests::pod(name);
        pod.metadata.resource_version = version.into();
        pod
    }

    fn table() -> Table<Pod> {
        Table::new(10, 1 << 20)
    }

    fn names(table: &mut Table<Pod>) -> Option<Vec<String>> {
        Some(table.snapshot()?.objects.iter().map(|pod| pod.metadata.name.clone()).collect())
    }

    fn synced(names: &[&str], version: &str) -> Table<Pod> {
        let mut table = table();
        for name in names {
            table.take(Event::Changed(ChangeKind::Added, pod(name, "1"))).unwrap();
        }
        table.take(Event::Synced(version.into())).unwrap();
        table
    }

    #[test]
    fn nothing_is_shown_before_all_have_come() {
        let mut table = table();
        table.take(Event::Changed(ChangeKind::Added, pod("b", "2"))).unwrap();
        table.take(Event::Bookmark("3".into())).unwrap();
        assert!(names(&mut table).is_none() && !table.is_synced() && !table.is_followed());
        table.take(Event::Changed(ChangeKind::Added, pod("a", "1"))).unwrap();
        table.take(Event::Synced("5".into())).unwrap();
        assert_eq!(names(&mut table).unwrap(), ["a", "b"]);
        assert_eq!(table.snapshot().unwrap().resource_version, "5");
        // An empty collection is also complete.
        assert_eq!(names(&mut synced(&[], "1")).unwrap(), [""; 0]);
    }

    #[test]
    fn changes_are_shown_and_a_snapshot_stays_what_it_is() {
        let mut table = synced(&["a", "b"], "5");
        let before = table.snapshot().unwrap();
        assert!(Arc::ptr_eq(&before, &table.snapshot().unwrap()));
        table.take(Event::Changed(ChangeKind::Modified, pod("a", "6"))).unwrap();
        table.take(Event::Changed(ChangeKind::Deleted, pod("b", "7"))).unwrap();
        table.take(Event::Changed(ChangeKind::Added, pod("c", "8"))).unwrap();
        let after = table.snapshot().unwrap();
        assert_eq!(names(&mut table).unwrap(), ["a", "c"]);
        assert_eq!((&*after.get("shop", "a").unwrap().metadata.resource_version, &*after.resource_version), ("6", "8"));
        assert!(after.get("shop", "b").is_none() && after.get("", "a").is_none() && before.get("shop", "b").is_some());
        assert!(after.generation > before.generation);
    }

    #[test]
    fn the_generation_stays_while_the_objects_do() {
        let mut table = synced(&["a"], "5");
        let before = table.snapshot().unwrap();
        table.take(Event::Bookmark("9".into())).unwrap();
        assert_eq!(&*table.snapshot().unwrap().resource_version, "9");
        // The same object, from another watch.
        table.begin();
        table.take(Event::Changed(ChangeKind::Added, pod("a", "1"))).unwrap();
        table.take(Event::Synced("10".into())).unwrap();
        let after = table.snapshot().unwrap();
        assert_eq!((after.generation, &*after.resource_version), (before.generation, "10"));
        assert!(Arc::ptr_eq(&before.objects[0], &after.objects[0]));
    }

    #[test]
    fn a_watch_that_begins_again_shows_what_was_known_until_it_knows_all() {
        let mut table = synced(&["a", "b"], "5");
        table.begin();
        table.take(Event::Changed(ChangeKind::Added, pod("b", "1"))).unwrap();
        table.take(Event::Changed(ChangeKind::Added, pod("c", "9"))).unwrap();
        assert_eq!(names(&mut table).unwrap(), ["a", "b"]);
        // The watch fails before it has sent all objects; the next one sends them all.
        table.begin();
        table.take(Event::Changed(ChangeKind::Added, pod("c", "9"))).unwrap();
        table.take(Event::Changed(ChangeKind::Added, pod("d", "9"))).unwrap();
        table.take(Event::Changed(ChangeKind::Deleted, pod("d", "10"))).unwrap();
        assert!(!table.is_followed());
        table.take(Event::Synced("10".into())).unwrap();
        assert!(table.is_followed());
        assert_eq!(names(&mut table).unwrap(), ["c"]);
    }

    #[test]
    fn a_table_holds_no_more_than_its_limits() {
        let mut few: Table<Pod> = Table::new(2, 1 << 20);
        for name in ["a", "b", "a"] {
            few.take(Event::Changed(ChangeKind::Added, pod(name, "1"))).unwrap();
        }
        assert_eq!(few.take(Event::Changed(ChangeKind::Added, pod("c", "1"))), Err(Full::Objects(2)));
        few.take(Event::Synced("1".into())).unwrap();
        assert_eq!(few.take(Event::Changed(ChangeKind::Added, pod("c", "2"))), Err(Full::Objects(2)));
        assert_eq!(names(&mut few).unwrap(), ["a", "b"], "what it has, it shows");
        few.take(Event::Changed(ChangeKind::Deleted, pod("a", "3"))).unwrap();
        few.take(Event::Changed(ChangeKind::Added, pod("c", "4"))).unwrap();

        let one = pod("a", "1").bytes();
        let mut small: Table<Pod> = Table::new(10, one * 2 + one / 2);
        for name in ["a", "b", "b"] {
            small.take(Event::Changed(ChangeKind::Added, pod(name, "1"))).unwrap();
        }
        let mut large = pod("b", "2");
        large.metadata.labels.push(("x".into(), "y".repeat(one)));
        let most = Full::Bytes(one * 2 + one / 2);
        assert_eq!(small.take(Event::Changed(ChangeKind::Modified, large)), Err(most));
        small.take(Event::Changed(ChangeKind::Deleted, pod("b", "3"))).unwrap();
        small.take(Event::Changed(ChangeKind::Added, pod("c", "4"))).unwrap();
    }

    #[test]
    fn versions_are_numbers_of_any_size() {
        for (version, than, is) in [
            ("10", "9", true),
            ("9", "10", false),
            ("10", "10", true),
            ("340282366920938463463374607431768211456", "340282366920938463463374607431768211455", true),
            ("", "", false),
            ("a", "a", false),
            ("5", "-1", false),
        ] {
            assert_eq!(is_as_new(version, than), is, "{version} {than}");
        }
    }
}
