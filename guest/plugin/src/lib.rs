//! `incluster-plugin.wasm`: [`incluster_client`] behind the interface `incluster:kubernetes/client`.

use incluster_client::bindings::exports::incluster::kubernetes::client::{
    Config, ConfigBorrow, ConfigError, Error, Guest, GuestConfig, GuestPodPages, GuestPodWatch, ListOptions, PagingOptions,
    PodEvent, PodList, PodPages, PodWatch, RetryPolicy, WatchOptions,
};
use incluster_client::{Client, request};
use std::cell::RefCell;

struct Plugin;

/// What the resource `config` holds.
struct Loaded(Client);

/// What the resource `pod-pages` holds.
struct Pages(RefCell<incluster_client::PodPages>);

/// What the resource `pod-watch` holds.
struct Watch(RefCell<incluster_client::PodWatch>);

impl Guest for Plugin {
    type Config = Loaded;
    type PodPages = Pages;
    type PodWatch = Watch;

    fn load_incluster_config() -> Result<Config, ConfigError> {
        Client::load_incluster_config().map(|client| Config::new(Loaded(client)))
    }

    fn list_namespaced_pods(config: ConfigBorrow<'_>, namespace: String, options: ListOptions) -> Result<PodList, Error> {
        config.get::<Loaded>().0.list_namespaced_pods(&namespace, &options)
    }

    fn page_namespaced_pods(
        config: ConfigBorrow<'_>,
        namespace: String,
        options: ListOptions,
        paging: PagingOptions,
    ) -> Result<PodPages, Error> {
        request::check_namespace(&namespace).map_err(Error::InvalidArgument)?;
        let pages = incluster_client::PodPages::new(&config.get::<Loaded>().0, &namespace, &options, &paging);
        Ok(PodPages::new(Pages(RefCell::new(pages))))
    }

    fn watch_namespaced_pods(config: ConfigBorrow<'_>, namespace: String, options: WatchOptions) -> Result<PodWatch, Error> {
        request::check_namespace(&namespace).map_err(Error::InvalidArgument)?;
        let watch = incluster_client::PodWatch::new(&config.get::<Loaded>().0, &namespace, &options);
        Ok(PodWatch::new(Watch(RefCell::new(watch))))
    }

    fn get_json(config: ConfigBorrow<'_>, path_and_query: String) -> Result<Vec<u8>, Error> {
        config.get::<Loaded>().0.get_json(&path_and_query)
    }
}

impl GuestConfig for Loaded {
    fn server(&self) -> String {
        self.0.server().to_string()
    }

    fn namespace(&self) -> Option<String> {
        self.0.namespace().map(Into::into)
    }

    fn set_retry_policy(&self, policy: RetryPolicy) {
        self.0.set_retry_policy(policy);
    }
}

impl GuestPodPages for Pages {
    fn next(&self) -> Result<Option<PodList>, Error> {
        self.0.borrow_mut().next_page()
    }
}

impl GuestPodWatch for Watch {
    fn next(&self) -> Result<Option<PodEvent>, Error> {
        self.0.borrow_mut().next_event()
    }
}

incluster_client::bindings::export!(Plugin);
