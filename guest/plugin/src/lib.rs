//! `incluster-plugin.wasm`: [`incluster_client`] behind the interface `incluster:kubernetes/client`.

use incluster_client::Client;
use incluster_client::bindings::exports::incluster::kubernetes::client::{
    Config, ConfigBorrow, ConfigError, Error, Guest, GuestConfig, ListOptions, PodList,
};

struct Plugin;

/// What the resource `config` holds.
struct Loaded(Client);

impl Guest for Plugin {
    type Config = Loaded;

    fn load_incluster_config() -> Result<Config, ConfigError> {
        Client::load_incluster_config().map(|client| Config::new(Loaded(client)))
    }

    fn list_namespaced_pods(config: ConfigBorrow<'_>, namespace: String, options: ListOptions) -> Result<PodList, Error> {
        config.get::<Loaded>().0.list_namespaced_pods(&namespace, &options)
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
}

incluster_client::bindings::export!(Plugin);
