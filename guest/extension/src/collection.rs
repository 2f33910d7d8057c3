//! Collections: which objects to ask for, and the requests for them.

use crate::bindings::incluster::kubernetes::client::{Config, stream_namespaced_pods};
use crate::object::Object;
use crate::types::{ListOptions, OnExpired, PagingOptions, Pod, ResourceVersionMatch, WatchOptions};
use crate::{Error, Pages, Watch};
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// The name that stands for all namespaces. The service account then needs a ClusterRole.
pub const ALL_NAMESPACES: &str = "*";

/// A collection of objects, and which of them to ask for: all of them, unless one of its methods says otherwise.
///
/// Nothing is asked for before [`list`](Collection::list), [`pages`](Collection::pages) or [`watch`](Collection::watch) is called.
#[derive(Debug)]
#[must_use = "a collection asks for nothing before `list`, `pages` or `watch`"]
pub struct Collection<T> {
    config: Rc<Config>,
    place: String,
    what: String,
    options: ListOptions,
    paging: PagingOptions,
    of: PhantomData<fn() -> T>,
}

/// A collection of any objects can be cloned.
impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        let Collection { config, place, what, options, paging, of } = self;
        let (config, place, what) = (config.clone(), place.clone(), what.clone());
        Collection { config, place, what, options: options.clone(), paging: *paging, of: *of }
    }
}

/// All objects of a collection, at one resource version.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct List<T> {
    /// The objects (`items`).
    pub items: Vec<T>,
    /// The resource version of the list (`metadata.resourceVersion`), from which a watch can begin.
    pub resource_version: String,
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T> Collection<T> {
    /// Makes a collection of `what` at a `place`: a namespace, or a path.
    pub(crate) fn new(config: &Rc<Config>, place: String, what: String) -> Collection<T> {
        Collection {
            config: config.clone(),
            place,
            what,
            options: ListOptions::ALL,
            paging: PagingOptions::DEFAULT,
            of: PhantomData,
        }
    }

    /// Selects only objects whose labels match (`labelSelector`), for example `app=web,tier!=cache`. If it is called again, both must
    /// match.
    pub fn labels(mut self, selector: &str) -> Self {
        and(&mut self.options.label_selector, selector);
        self
    }

    /// Selects only objects whose fields match (`fieldSelector`), for example `spec.nodeName=worker-1`. If it is called again, both must
    /// match.
    pub fn fields(mut self, selector: &str) -> Self {
        and(&mut self.options.field_selector, selector);
        self
    }

    /// Sets how many objects to ask for at a time (`limit`): the size of a page, 500 by default. A list still has all objects.
    pub fn limit(mut self, objects: u32) -> Self {
        self.options.limit = Some(objects);
        self
    }

    /// Sets which state to ask for (`resourceVersion`). A list may be newer, and with `0` as old as the API server's cache; a watch begins
    /// after it.
    pub fn resource_version(mut self, version: &str) -> Self {
        self.options.resource_version = Some(version.into());
        self
    }

    /// Sets how a list relates to [`resource_version`](Collection::resource_version) (`resourceVersionMatch`).
    pub fn resource_version_match(mut self, relation: ResourceVersionMatch) -> Self {
        self.options.resource_version_match = Some(relation);
        self
    }

    /// Sets after how long the API server gives up a list, and a watch ends (`timeoutSeconds`): in whole seconds, rounded up, and at least
    /// one. Without it, a watch has no end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0)).max(1);
        self.options.timeout_seconds = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        self
    }

    /// Sets what to do when a list expires between two pages. By default, it begins again before the first page was handed out, and fails
    /// after that.
    pub fn on_expired(mut self, action: OnExpired) -> Self {
        self.paging.on_expired = Some(action);
        self
    }

    /// Sets after how many pages without an end the server must be wrong: 10,000 by default. More pages are a
    /// [`LimitExceeded`](crate::types::Error::LimitExceeded).
    pub fn max_pages(mut self, pages: u32) -> Self {
        self.paging.max_pages = Some(pages);
        self
    }
}

impl<T: Object> Collection<T> {
    /// Lists all objects, at one resource version.
    ///
    /// Pods come in one request, unless there is a [`limit`](Collection::limit); other objects come page by page. A list that expires
    /// between two pages begins again, and what came before is dropped, so that all objects are of one state. With [`OnExpired::Fail`], it
    /// fails instead.
    ///
    /// # Errors
    ///
    /// The call failed, or an object cannot be read as a `T`: see [`Error`].
    pub fn list(&self) -> Result<List<T>, Error> {
        let doing = self.doing("list");
        if let Some(list) = T::list(&self.config, &self.place, &self.options) {
            let (items, resource_version) = list.map_err(|failure| Error::failure(doing, failure))?;
            return Ok(List { items, resource_version });
        }
        let mut list = List { items: Vec::new(), resource_version: String::new() };
        // A list is of one state: where it would go on with another state, it begins again.
        let on_expired = self.paging.on_expired.filter(|action| *action == OnExpired::Fail).unwrap_or(OnExpired::Restart);
        for page in self.clone().on_expired(on_expired).pages()? {
            let page = page?;
            if page.is_restarted {
                list.items.clear();
            }
            list.items.extend(page.items);
            list.resource_version = page.resource_version;
        }
        Ok(list)
    }

    /// Lists the objects page by page, so that memory is bounded however many there are. A page is asked for only when it is taken.
    ///
    /// # Errors
    ///
    /// An argument cannot be sent, such as an invalid namespace. The pages return later failures.
    pub fn pages(&self) -> Result<Pages<T>, Error> {
        let doing = self.doing("list");
        match T::pages(&self.config, &self.place, &self.options, &self.paging) {
            Ok(pages) => Ok(Pages::new(pages, doing)),
            Err(failure) => Err(Error::failure(doing, failure)),
        }
    }

    /// Watches the objects as they change. Existing objects come first, unless [`resource_version`](Collection::resource_version) says
    /// where to begin. Nothing is asked for before the first event is taken. The limit, and what to do when a list expires, have no effect
    /// here.
    ///
    /// # Errors
    ///
    /// An argument cannot be sent, such as an invalid namespace. The events return later failures.
    pub fn watch(&self) -> Result<Watch<T>, Error> {
        let doing = self.doing("watch");
        let options = WatchOptions {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            resource_version: self.options.resource_version.clone(),
            timeout_seconds: self.options.timeout_seconds,
        };
        match T::watch(&self.config, &self.place, &options) {
            Ok(watch) => Ok(Watch::new(watch, doing)),
            Err(failure) => Err(Error::failure(doing, failure)),
        }
    }

    fn doing(&self, verb: &str) -> String {
        format!("{verb} {}", self.what)
    }
}

impl Collection<Pod> {
    /// Lists the pods in one request, and hands over a few hundred at a time while the rest still arrives. They are all of one state, and
    /// memory is bounded as with [`pages`](Collection::pages).
    ///
    /// # Errors
    ///
    /// An argument cannot be sent, such as a [`limit`](Collection::limit). The pages return later failures.
    pub fn stream(&self) -> Result<Pages<Pod>, Error> {
        let doing = self.doing("list");
        match stream_namespaced_pods(&self.config, &self.place, &self.options) {
            Ok(pages) => Ok(Pages::new(pages, doing)),
            Err(failure) => Err(Error::failure(doing, failure)),
        }
    }
}

/// Adds a selector to another. Both must match: that is what the comma means.
fn and(selector: &mut Option<String>, other: &str) {
    match selector {
        Some(selector) if !selector.is_empty() => {
            selector.push(',');
            selector.push_str(other);
        }
        _ => *selector = Some(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_add_up() {
        let mut selector = None;
        and(&mut selector, "app=web");
        and(&mut selector, "tier!=cache");
        assert_eq!(selector.as_deref(), Some("app=web,tier!=cache"));
    }
}
