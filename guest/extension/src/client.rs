//! Who asks the API server.

use crate::bindings::incluster::kubernetes::client;
use crate::collection::Collection;
use crate::object::FromJson;
use crate::types;
use crate::{ALL_NAMESPACES, Error, Pod, RetryPolicy};
use std::rc::Rc;

/// A client of the API server of the cluster that this runs in, as the pod's service account.
///
/// It has no function that shows the token. Where the host keeps the token outside of the sandbox, it is not in here either.
///
/// A clone is the same client: it shares the configuration, and its retry policy.
#[derive(Clone, Debug)]
pub struct Client {
    config: Rc<client::Config>,
}

impl Client {
    /// Loads the configuration that every pod has: two environment variables, and the service account's folder. Asks nothing of the API server.
    ///
    /// # Errors
    ///
    /// What is missing or unusable is a [`types::Error::Config`]. There is no fallback to another server, or to no credentials.
    pub fn in_cluster() -> Result<Client, Error> {
        crate::bindings::link();
        let failed = |error| Error::failure("load the in-cluster configuration", types::Error::Config(error));
        Ok(Client { config: Rc::new(client::load_incluster_config().map_err(failed)?) })
    }

    /// The API server's base URL: `https://`, host and port.
    pub fn server(&self) -> String {
        self.config.server()
    }

    /// The pod's own namespace; `None` where the service account's folder does not name it.
    pub fn namespace(&self) -> Option<String> {
        self.config.namespace()
    }

    /// How often, and for how long, calls that begin after this one are tried: 90 s by default, as often as there is time for. For pages and
    /// watches, each request is a call.
    pub fn set_retry_policy(&self, policy: RetryPolicy) {
        let deadline = u32::try_from(policy.deadline.as_millis()).unwrap_or(u32::MAX);
        self.config.set_retry_policy(types::RetryPolicy { attempts: policy.attempts, deadline });
    }

    /// The pods of a namespace, or of [all](crate::ALL_NAMESPACES).
    pub fn pods(&self, namespace: &str) -> Collection<Pod> {
        let what =
            if namespace == ALL_NAMESPACES { "pods in all namespaces".into() } else { format!("pods in namespace {namespace}") };
        Collection::new(&self.config, namespace.into(), what)
    }

    /// The objects of any collection, by its path: `/api/v1/services`, `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices`.
    ///
    /// They come as [`Json`](crate::Json), or with the feature `serde` as a type of yours that has the fields you need.
    pub fn collection<T: FromJson>(&self, path: &str) -> Collection<T> {
        Collection::new(&self.config, path.into(), path.into())
    }

    /// Gets what the API server has at a path: an object by its name, such as `/api/v1/namespaces/shop/services/web`, or what is no object. As
    /// [`Json`](crate::Json), it is the text that the server sent; with the feature `serde`, a type of yours.
    ///
    /// The path is percent-encoded, with an optional query.
    ///
    /// # Errors
    ///
    /// That there is no such object is an error with the status 404: see [`Error::is_not_found`].
    pub fn get_at<T: FromJson>(&self, path_and_query: &str) -> Result<T, Error> {
        let doing = format!("get {path_and_query}");
        match client::get_json(&self.config, path_and_query) {
            Ok(json) => T::read(&json, &doing),
            Err(failure) => Err(Error::failure(doing, failure)),
        }
    }
}
