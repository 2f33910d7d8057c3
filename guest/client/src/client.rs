//! A client: an API server, a token, a way to send requests, and the requests.

use crate::asking::Settings;
use crate::call::{Call, Items, Json};
use crate::decode::Object;
use crate::driving::Driven;
use crate::machine::{Machine, nothing_handed_out};
use crate::redact::redact;
use crate::request::{self, Collection, Request};
use crate::system;
use crate::transport::Transport;
use crate::types::{self, Error, Failure, ListOptions, Pod, PodList, RetryPolicy};
use incluster_core::claims::Claims;
use incluster_core::credentials::{Credentials, Now};
use incluster_core::files::{self, mounted};
use incluster_core::limits::{self, RequestLimits};
use incluster_core::{ConfigError, Namespace, Server, Token, watching};
use std::rc::Rc;
use std::sync::Arc;

/// A client for the API server of the pod that it runs in. Clones share its state.
pub struct Client<T>(Rc<Inner<T>>);

struct Inner<T> {
    server: Server,
    transport: T,
    namespace: Option<Namespace>,
    credentials: Credentials,
    settings: Rc<Settings>,
}

impl<T> Clone for Client<T> {
    fn clone(&self) -> Self {
        Client(self.0.clone())
    }
}

impl<T: Transport> Client<T> {
    /// Loads the configuration that Kubernetes gives each pod, in the order in which a person would look for it.
    pub fn load_incluster_config() -> Result<Client<T>, types::ConfigError> {
        let environment = system::environment();
        let variable = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let server = Server::from_environment(variable)?;
        let credentials = Credentials::new(mounted(files::TOKEN), system::read_file);
        credentials.token(system::now())?;
        let path = mounted(files::NAMESPACE);
        let namespace = match files::read_optional(system::read_file, &path)? {
            Some(content) => Some(Namespace::of_file(&path, &content)?),
            None => None,
        };
        let told = variable(limits::VARIABLE);
        let limits = RequestLimits::from_environment(told.as_deref());
        let settings = Settings::new(RetryPolicy::DEFAULT, limits);
        settings.lists_first.set(variable(watching::LISTS_FIRST_VARIABLE).is_some());
        let transport = T::to(&server, limits, told.is_some());
        Ok(Client(Rc::new(Inner { server, transport, namespace, credentials, settings })))
    }

    /// The API server's address.
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// The pod's own namespace, if the service account's volume has it.
    pub fn namespace(&self) -> Option<&Namespace> {
        self.0.namespace.as_ref()
    }

    /// The claims of the service account's token, as it was read last, if it is a JWT.
    pub fn claims(&self) -> Option<Claims> {
        self.0.credentials.last().and_then(|token| Claims::of(&token))
    }

    /// The settings of this client's calls.
    pub fn settings(&self) -> &Rc<Settings> {
        &self.0.settings
    }

    /// Changes the retry policy of calls that are yet to begin.
    pub fn set_retry_policy(&self, policy: RetryPolicy) {
        self.0.settings.retry_policy.set(policy);
    }

    /// Lists these pods, in one answer.
    pub fn list_pods(&self, pods: &Collection, options: &ListOptions) -> Result<PodList, Failure> {
        let request = request::list(pods, options, Pod::ACCEPT);
        self.drive(Call::<Items<Pod>>::new(request, self.settings(), system::now())).map(PodList::from)
    }

    /// Gets what the API server has at a path, as JSON.
    pub fn get_json(&self, path_and_query: &str) -> Result<Vec<u8>, Failure> {
        self.get_whole(request::get_json(path_and_query)?)
    }

    /// Gets the whole JSON body of the answer to a request.
    pub fn get_whole(&self, request: Request) -> Result<Vec<u8>, Failure> {
        self.drive(Call::<Json>::new(request, self.settings(), system::now()))
    }

    /// Removes the token, which a server may have sent back, from an error.
    pub fn redact(&self, error: Error) -> Error {
        redact(&self.settings().secrets, error)
    }

    /// Runs a machine until it hands something out.
    pub fn drive<O, M: Machine<T::Body, Output = Result<O, Failure>>>(&self, machine: M) -> Result<O, Failure> {
        Driven::new(self.clone(), machine).next(None).unwrap_or_else(|| Err(nothing_handed_out()))
    }

    /// Returns the token to send now.
    pub(crate) fn token(&self, now: Now, afresh: bool) -> Result<Arc<Token>, ConfigError> {
        if afresh { self.0.credentials.reload(now) } else { self.0.credentials.token(now) }
    }

    /// The transport to the API server.
    pub fn transport(&self) -> &T {
        &self.0.transport
    }
}
