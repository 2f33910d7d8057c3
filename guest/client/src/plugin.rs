//! The client behind the interface `incluster:kubernetes/client`, over one transport or the other.

use crate::bindings::exports::incluster::kubernetes::client::{
    Config, ConfigBorrow, ConfigError, Error, Guest, GuestConfig, GuestPodPages, GuestPodWatch, ListOptions, PagingOptions,
    PodEvent, PodList, PodPages, PodWatch, RetryPolicy, WatchOptions,
};
use crate::transport::Transport;
use crate::{Client, pages, watch};
use incluster_core::Namespace;
use std::cell::RefCell;
use std::marker::PhantomData;

/// The plugin over this transport: for [`export!`](crate::bindings::export).
pub struct Plugin<T>(PhantomData<T>);

/// What the resource `config` holds.
pub struct Loaded<T>(Client<T>);

/// What the resource `pod-pages` holds.
pub struct Pages<T: Transport>(Client<T>, RefCell<pages::PodPages>);

/// What the resource `pod-watch` holds.
pub struct Watch<T: Transport>(Client<T>, RefCell<watch::PodWatch<T::Body>>);

/// (As no other case can come of it, an export that fails with nothing else has no code to hand over the others, which is 4 KB.)
fn parse(namespace: &str) -> Result<Namespace, String> {
    Namespace::parse(namespace).map_err(|not| not.to_string())
}

impl<T: Transport> Guest for Plugin<T> {
    type Config = Loaded<T>;
    type PodPages = Pages<T>;
    type PodWatch = Watch<T>;

    fn load_incluster_config() -> Result<Config, ConfigError> {
        Client::<T>::load_incluster_config().map(|client| Config::new(Loaded(client)))
    }

    fn list_namespaced_pods(config: ConfigBorrow<'_>, namespace: String, options: ListOptions) -> Result<PodList, Error> {
        let namespace = parse(&namespace).map_err(Error::InvalidArgument)?;
        config.get::<Loaded<T>>().0.list_namespaced_pods(&namespace, &options)
    }

    fn page_namespaced_pods(
        config: ConfigBorrow<'_>,
        namespace: String,
        options: ListOptions,
        paging: PagingOptions,
    ) -> Result<PodPages, Error> {
        let namespace = parse(&namespace).map_err(Error::InvalidArgument)?;
        let client = config.get::<Loaded<T>>().0.clone();
        let pages = client.page_namespaced_pods(namespace, &options, &paging);
        Ok(PodPages::new(Pages(client, RefCell::new(pages))))
    }

    fn watch_namespaced_pods(config: ConfigBorrow<'_>, namespace: String, options: WatchOptions) -> Result<PodWatch, Error> {
        let namespace = parse(&namespace).map_err(Error::InvalidArgument)?;
        let client = config.get::<Loaded<T>>().0.clone();
        let watch = client.watch_namespaced_pods(namespace, &options);
        Ok(PodWatch::new(Watch(client, RefCell::new(watch))))
    }

    fn get_json(config: ConfigBorrow<'_>, path_and_query: String) -> Result<Vec<u8>, Error> {
        config.get::<Loaded<T>>().0.get_json(&path_and_query)
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

impl<T: Transport> GuestPodPages for Pages<T> {
    fn next(&self) -> Result<Option<PodList>, Error> {
        self.0.drive(&mut *self.1.borrow_mut())
    }
}

impl<T: Transport> GuestPodWatch for Watch<T> {
    fn next(&self) -> Result<Option<PodEvent>, Error> {
        self.0.drive(&mut *self.1.borrow_mut())
    }
}
