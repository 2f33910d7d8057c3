//! The client, which asks the API server.

use crate::bindings::incluster::kubernetes::client;
use crate::collection::Collection;
use crate::object::FromJson;
use crate::types;
use crate::{ALL_NAMESPACES, Error, Pod, RetryPolicy};
use std::rc::Rc;

/// A client of the API server of the cluster that the extension runs in, with the pod's service account.
///
/// No function shows the token. If the host keeps the token outside the sandbox, the extension does not have it at all.
///
/// A clone is the same client: it shares the configuration, and the retry policy.
#[derive(Clone, Debug)]
pub struct Client {
    config: Rc<client::Config>,
}

impl Client {
    /// Loads the configuration that every pod has: two environment variables, and the service account's folder. Sends nothing to the API
    /// server.
    ///
    /// # Errors
    ///
    /// If something is missing or unusable, the error is a [`types::Error::Config`]. There is no fallback to another server, or to no
    /// credentials.
    pub fn in_cluster() -> Result<Client, Error> {
        crate::bindings::link();
        let failed = |error| Error::failure("load the in-cluster configuration", types::Error::Config(error));
        Ok(Client { config: Rc::new(client::load_incluster_config().map_err(failed)?) })
    }

    /// The API server's base URL: `https://`, host and port.
    pub fn server(&self) -> String {
        self.config.server()
    }

    /// The pod's own namespace; `None` if the service account's folder does not name it.
    pub fn namespace(&self) -> Option<String> {
        self.config.namespace()
    }

    /// Sets how many times, and for how long, to try the calls that begin after this one. The default is 90 s, with as many attempts as
    /// there is time for. For pages and watches, each request is a call.
    pub fn set_retry_policy(&self, policy: RetryPolicy) {
        let deadline = u32::try_from(policy.deadline.as_millis()).unwrap_or(u32::MAX);
        self.config.set_retry_policy(types::RetryPolicy { attempts: policy.attempts, deadline });
    }

    /// The pods of a namespace, or of [all namespaces](crate::ALL_NAMESPACES).
    pub fn pods(&self, namespace: &str) -> Collection<Pod> {
        let what =
            if namespace == ALL_NAMESPACES { "pods in all namespaces".into() } else { format!("pods in namespace {namespace}") };
        Collection::new(&self.config, namespace.into(), what)
    }

    /// The objects of any collection, by its path: `/api/v1/services`, `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices`.
    ///
    /// Objects are read as [`Json`](crate::Json), or with the feature `serde` as a type of yours that has the fields you need.
    pub fn collection<T: FromJson>(&self, path: &str) -> Collection<T> {
        Collection::new(&self.config, path.into(), path.into())
    }

    /// Gets what the API server has at a path: an object by its name, such as `/api/v1/namespaces/shop/services/web`, or something that is
    /// not an object. It is read as [`Json`](crate::Json), the text that the server sent, or with the feature `serde` as a type of yours.
    ///
    /// The path is percent-encoded, with an optional query.
    ///
    /// # Errors
    ///
    /// If there is no such object, the error has the status 404: see [`Error::is_not_found`].
    pub fn get_at<T: FromJson>(&self, path_and_query: &str) -> Result<T, Error> {
        let doing = format!("get {path_and_query}");
        match client::get_json(&self.config, path_and_query) {
            Ok(json) => T::read(&json, &doing),
            Err(failure) => Err(Error::failure(doing, failure)),
        }
    }
}
