//! The client behind the interface `incluster:kubernetes/client`, over any transport.

use crate::bindings::exports::incluster::kubernetes::client::{
    self, Config, ConfigBorrow, ConfigError, Failure, Guest, GuestConfig, GuestJsonPages, GuestJsonWatch, GuestPodPages,
    GuestPodWatch, JsonEvent, JsonPage, ListOptions, PagingOptions, PodEvent, PodList, PodPage, RetryPolicy, WatchOptions,
};
use crate::decode::JsonObject;
use crate::driving::Driven;
use crate::machine::after;
use crate::request::Collection;
use crate::system::{Waits, instant, wait};
use crate::transport::Transport;
use crate::types::{Error, Pod};
use crate::watch::{json_event, pod_event};
use crate::{Client, Pages, Parts, Watch};
use incluster_core::Namespaces;
use std::cell::{Ref, RefCell};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// The plugin over the transport `T`, for [`export!`](crate::bindings::export).
pub struct Plugin<T>(PhantomData<T>);

/// The value of the resource `config`.
pub struct Loaded<T>(Client<T>);

/// The value of the resource `pod-pages`.
pub enum PodPages<T: Transport> {
    /// The pages of a list, one request each.
    Pages(RefCell<Driven<T, Pages<Pod>>>),
    /// The parts of one answer.
    Parts(RefCell<Driven<T, Parts<T::Body, Pod>>>),
}

/// The value of the resource `json-pages`.
pub struct JsonPages<T: Transport>(RefCell<Driven<T, Pages<JsonObject>>>);

/// The value of the resource `pod-watch`.
pub struct PodWatch<T: Transport>(RefCell<Driven<T, Watch<T::Body, Pod>>>);

/// The value of the resource `json-watch`.
pub struct JsonWatch<T: Transport>(RefCell<Driven<T, Watch<T::Body, JsonObject>>>);

/// The pods of a namespace. (The error is only a text: an export that can fail with nothing else needs no code to hand over other errors,
/// which is 4 KB.)
fn pods(namespace: &str) -> Result<Collection, String> {
    Namespaces::parse(namespace).map(|namespaces| Collection::pods(&namespaces)).map_err(|not| not.to_string())
}

fn refused(why: String) -> Failure {
    Error::InvalidArgument(why).into()
}

/// The time at which a timeout that begins now is over.
fn end(timeout: Option<u32>) -> Option<Instant> {
    timeout.map(|timeout| after(instant(), Duration::from_millis(timeout.into())))
}

impl<T: Transport> Guest for Plugin<T> {
    type Config = Loaded<T>;
    type PodPages = PodPages<T>;
    type PodWatch = PodWatch<T>;
    type JsonPages = JsonPages<T>;
    type JsonWatch = JsonWatch<T>;

    fn load_incluster_config() -> Result<Config, ConfigError> {
        Client::<T>::load_incluster_config().map(|client| Config::new(Loaded(client)))
    }

    fn list_namespaced_pods(config: ConfigBorrow<'_>, namespace: String, options: ListOptions) -> Result<PodList, Failure> {
        let collection = pods(&namespace).map_err(refused)?;
        config.get::<Loaded<T>>().0.list_pods(&collection, &options)
    }

    fn page_namespaced_pods(
        config: ConfigBorrow<'_>,
        namespace: String,
        options: ListOptions,
        paging: PagingOptions,
    ) -> Result<client::PodPages, Failure> {
        let collection = pods(&namespace).map_err(refused)?;
        let client = &config.get::<Loaded<T>>().0;
        let pages = Pages::new(client.settings().clone(), collection, &options, &paging);
        Ok(client::PodPages::new(PodPages::Pages(RefCell::new(Driven::new(client.clone(), pages)))))
    }

    fn stream_namespaced_pods(
        config: ConfigBorrow<'_>,
        namespace: String,
        options: ListOptions,
    ) -> Result<client::PodPages, Failure> {
        let collection = pods(&namespace).map_err(refused)?;
        let client = &config.get::<Loaded<T>>().0;
        let parts = Parts::new(client.settings().clone(), collection, &options).map_err(refused)?;
        Ok(client::PodPages::new(PodPages::Parts(RefCell::new(Driven::new(client.clone(), parts)))))
    }

    fn watch_namespaced_pods(
        config: ConfigBorrow<'_>,
        namespace: String,
        options: WatchOptions,
    ) -> Result<client::PodWatch, Failure> {
        let collection = pods(&namespace).map_err(refused)?;
        let client = &config.get::<Loaded<T>>().0;
        let watch = Watch::new(client.settings().clone(), collection, &options);
        Ok(client::PodWatch::new(PodWatch(RefCell::new(Driven::new(client.clone(), watch)))))
    }

    fn get_json(config: ConfigBorrow<'_>, path_and_query: String) -> Result<Vec<u8>, Failure> {
        config.get::<Loaded<T>>().0.get_json(&path_and_query)
    }

    fn page_json(
        config: ConfigBorrow<'_>,
        path: String,
        options: ListOptions,
        paging: PagingOptions,
    ) -> Result<client::JsonPages, Failure> {
        let collection = Collection::at(&path).map_err(refused)?;
        let client = &config.get::<Loaded<T>>().0;
        let pages = Pages::new(client.settings().clone(), collection, &options, &paging);
        Ok(client::JsonPages::new(JsonPages(RefCell::new(Driven::new(client.clone(), pages)))))
    }

    fn watch_json(config: ConfigBorrow<'_>, path: String, options: WatchOptions) -> Result<client::JsonWatch, Failure> {
        let collection = Collection::at(&path).map_err(refused)?;
        let client = &config.get::<Loaded<T>>().0;
        let watch = Watch::new(client.settings().clone(), collection, &options);
        Ok(client::JsonWatch::new(JsonWatch(RefCell::new(Driven::new(client.clone(), watch)))))
    }

    fn wait(watches: Vec<client::Watch<'_>>, timeout: Option<u32>) -> Vec<u32> {
        let until = end(timeout);
        // Without watches, there is nothing to wait for but a time.
        let mut is_over = watches.is_empty() && until.is_none();
        loop {
            let ready: Vec<u32> = (0..).zip(&watches).filter(|(_, watch)| go_on::<T>(watch)).map(|(place, _)| place).collect();
            if !ready.is_empty() || is_over {
                return ready;
            }
            let waits: Vec<Ref<'_, Waits>> = watches.iter().filter_map(waits::<T>).collect();
            wait(&waits.iter().map(|waits| &**waits).collect::<Vec<_>>(), until);
            is_over = until.is_some_and(|until| until <= instant());
        }
    }
}

/// Whether the watch has something to hand out.
fn go_on<T: Transport>(watch: &client::Watch<'_>) -> bool {
    match watch {
        client::Watch::Pods(watch) => watch.get::<PodWatch<T>>().0.borrow_mut().go_on(),
        client::Watch::Json(watch) => watch.get::<JsonWatch<T>>().0.borrow_mut().go_on(),
    }
}

/// What the watch waits for.
fn waits<'a, T: Transport>(watch: &'a client::Watch<'_>) -> Option<Ref<'a, Waits>> {
    match watch {
        client::Watch::Pods(watch) => Ref::filter_map(watch.get::<PodWatch<T>>().0.borrow(), Driven::waits).ok(),
        client::Watch::Json(watch) => Ref::filter_map(watch.get::<JsonWatch<T>>().0.borrow(), Driven::waits).ok(),
    }
}

impl<T: Transport> GuestConfig for Loaded<T> {
    fn server(&self) -> String {
        self.0.server().to_string()
    }

    fn namespace(&self) -> Option<String> {
        self.0.namespace().map(ToString::to_string)
    }

    fn set_retry_policy(&self, policy: RetryPolicy) {
        self.0.set_retry_policy(policy);
    }
}

impl<T: Transport> GuestPodPages for PodPages<T> {
    fn next(&self) -> Result<Option<PodPage>, Failure> {
        let page = match self {
            PodPages::Pages(pages) => pages.borrow_mut().next(None),
            PodPages::Parts(parts) => parts.borrow_mut().next(None),
        };
        Ok(page.transpose()?.flatten().map(PodPage::from))
    }
}

impl<T: Transport> GuestJsonPages for JsonPages<T> {
    fn next(&self) -> Result<Option<JsonPage>, Failure> {
        Ok(self.0.borrow_mut().next(None).transpose()?.flatten().map(JsonPage::from))
    }
}

impl<T: Transport> GuestPodWatch for PodWatch<T> {
    fn next(&self, timeout: Option<u32>) -> Result<Option<PodEvent>, Failure> {
        Ok(self.0.borrow_mut().next(end(timeout)).transpose()?.map(pod_event))
    }
}

impl<T: Transport> GuestJsonWatch for JsonWatch<T> {
    fn next(&self, timeout: Option<u32>) -> Result<Option<JsonEvent>, Failure> {
        Ok(self.0.borrow_mut().next(end(timeout)).transpose()?.map(json_event))
    }
}
