//! The objects of collections: pods as records, and all other objects as JSON or as what is read from it.

use crate::Error;
use crate::bindings::incluster::kubernetes::client::{self, Config, JsonPages, JsonWatch, PodPages, PodWatch};
use crate::types::{self, ChangeKind, Failure, ListOptions, PagingOptions, Pod, WatchOptions};
use crate::{Event, Page};

/// An object of the API, as a collection hands it over: [`Pod`], [`Json`], and with features other types.
///
/// Other crates cannot implement this trait.
pub trait Object: kind::Kind {}

impl<T: kind::Kind> Object for T {}

/// An object that is read from the JSON that the API server sent.
///
/// Other crates cannot implement this trait. With the feature `serde`, whatever implements `serde::de::DeserializeOwned` has it.
pub trait FromJson: kind::Read {}

impl<T: kind::Read> FromJson for T {}

/// The JSON text of an object, as the API server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub Vec<u8>);

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(crate) mod kind {
    use super::*;

    /// The functions of the contract for a kind of object. A `place` is a namespace, or a path.
    pub trait Kind: Sized {
        type Pages;
        type Watch;

        /// Lists all objects at once, if the contract has a function for that.
        fn list(config: &Config, place: &str, options: &ListOptions) -> Option<Result<(Vec<Self>, String), Failure>>;
        fn pages(config: &Config, place: &str, options: &ListOptions, paging: &PagingOptions) -> Result<Self::Pages, Failure>;
        fn next_page(pages: &Self::Pages, doing: &str) -> Result<Option<Page<Self>>, Error>;
        fn watch(config: &Config, place: &str, options: &WatchOptions) -> Result<Self::Watch, Failure>;
        fn next_event(watch: &Self::Watch, timeout: Option<u32>, doing: &str) -> Result<Option<Event<Self>>, Error>;
        fn source(watch: &Self::Watch) -> client::Watch<'_>;
    }

    impl Kind for Pod {
        type Pages = PodPages;
        type Watch = PodWatch;

        fn list(config: &Config, place: &str, options: &ListOptions) -> Option<Result<(Vec<Pod>, String), Failure>> {
            // A limit is the size of a page.
            let whole = options.limit.is_none();
            whole.then(|| client::list_namespaced_pods(config, place, options).map(|list| (list.items, list.resource_version)))
        }

        fn pages(config: &Config, place: &str, options: &ListOptions, paging: &PagingOptions) -> Result<PodPages, Failure> {
            client::page_namespaced_pods(config, place, options, *paging)
        }

        fn next_page(pages: &PodPages, doing: &str) -> Result<Option<Page<Pod>>, Error> {
            let page = pages.next().map_err(|failure| Error::failure(doing, failure))?;
            Ok(page.map(|page| Page {
                items: page.items,
                resource_version: page.resource_version,
                remaining_item_count: page.remaining_item_count,
                is_inconsistent: page.inconsistent,
                is_restarted: page.restarted,
            }))
        }

        fn watch(config: &Config, place: &str, options: &WatchOptions) -> Result<PodWatch, Failure> {
            client::watch_namespaced_pods(config, place, options)
        }

        fn next_event(watch: &PodWatch, timeout: Option<u32>, doing: &str) -> Result<Option<Event<Pod>>, Error> {
            use types::PodEvent as Is;
            let event = watch.next(timeout).map_err(|failure| Error::failure(doing, failure))?;
            Ok(event.map(|event| match event {
                Is::Changed(change) => changed(change.kind, change.pod),
                Is::Synced(version) => Event::Synced(version),
                Is::Bookmark(version) => Event::Bookmark(version),
                Is::Ended => Event::Ended,
                Is::Other(what) => Event::Other(what),
            }))
        }

        fn source(watch: &PodWatch) -> client::Watch<'_> {
            client::Watch::Pods(watch)
        }
    }

    impl<T: Read> Kind for T {
        type Pages = JsonPages;
        type Watch = JsonWatch;

        fn list(_: &Config, _: &str, _: &ListOptions) -> Option<Result<(Vec<T>, String), Failure>> {
            None
        }

        fn pages(config: &Config, place: &str, options: &ListOptions, paging: &PagingOptions) -> Result<JsonPages, Failure> {
            client::page_json(config, place, options, *paging)
        }

        fn next_page(pages: &JsonPages, doing: &str) -> Result<Option<Page<T>>, Error> {
            let Some(page) = pages.next().map_err(|failure| Error::failure(doing, failure))? else { return Ok(None) };
            Ok(Some(Page {
                items: page.items.iter().map(|json| T::read(json, doing)).collect::<Result<_, _>>()?,
                resource_version: page.resource_version,
                remaining_item_count: page.remaining_item_count,
                is_inconsistent: page.inconsistent,
                is_restarted: page.restarted,
            }))
        }

        fn watch(config: &Config, place: &str, options: &WatchOptions) -> Result<JsonWatch, Failure> {
            client::watch_json(config, place, options)
        }

        fn next_event(watch: &JsonWatch, timeout: Option<u32>, doing: &str) -> Result<Option<Event<T>>, Error> {
            use types::JsonEvent as Is;
            let Some(event) = watch.next(timeout).map_err(|failure| Error::failure(doing, failure))? else { return Ok(None) };
            Ok(Some(match event {
                Is::Changed(change) => changed(change.kind, T::read(&change.object, doing)?),
                Is::Synced(version) => Event::Synced(version),
                Is::Bookmark(version) => Event::Bookmark(version),
                Is::Ended => Event::Ended,
                Is::Other(what) => Event::Other(what),
            }))
        }

        fn source(watch: &JsonWatch) -> client::Watch<'_> {
            client::Watch::Json(watch)
        }
    }

    fn changed<T>(kind: ChangeKind, object: T) -> Event<T> {
        match kind {
            ChangeKind::Added => Event::Added(object),
            ChangeKind::Modified => Event::Modified(object),
            ChangeKind::Deleted => Event::Deleted(object),
        }
    }

    /// A type that is read from JSON.
    pub trait Read: Sized {
        fn read(json: &[u8], doing: &str) -> Result<Self, Error>;
    }

    impl Read for Json {
        fn read(json: &[u8], _: &str) -> Result<Json, Error> {
            Ok(Json(json.into()))
        }
    }

    #[cfg(feature = "serde")]
    impl<T: serde::de::DeserializeOwned> Read for T {
        fn read(json: &[u8], doing: &str) -> Result<T, Error> {
            serde_json::from_slice(json).map_err(|error| Error::object(doing, json, error))
        }
    }
}
