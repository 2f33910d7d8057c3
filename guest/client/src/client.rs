//! Does what the machines say.

use crate::asking::Settings;
use crate::call::{Call, Json, Pods};
use crate::machine::{Do, Event, Machine, Todo};
use crate::pages::PodPages;
use crate::redact::redact;
use crate::request::{self, PROTOBUF_OR_JSON, Request};
use crate::system;
use crate::transport::{Body, Stopped, Transport};
use crate::types::{ConfigError, Error, ListOptions, PagingOptions, PodList, RetryPolicy, WatchOptions};
use crate::watch::PodWatch;
use incluster_core::claims::Claims;
use incluster_core::credentials::{Credentials, Now};
use incluster_core::files::{self, mounted};
use incluster_core::limits::{self, RequestLimits};
use incluster_core::{Namespace, Server};
use std::rc::Rc;

/// A client for the API server of the pod that it runs in. Clones are the same client.
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
    /// Finds everything where Kubernetes puts it, in the order in which a person would look for it.
    pub fn load_incluster_config() -> Result<Client<T>, ConfigError> {
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
        let transport = T::to(&server, limits, told.is_some());
        Ok(Client(Rc::new(Inner { server, transport, namespace, credentials, settings })))
    }

    /// The API server's address.
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// The pod's own namespace, when the service account's volume has it.
    pub fn namespace(&self) -> Option<&Namespace> {
        self.0.namespace.as_ref()
    }

    /// What the service account's token says of itself, as it was read last, if it is a JWT.
    pub fn claims(&self) -> Option<Claims> {
        self.0.credentials.last().and_then(|token| Claims::of(&token))
    }

    /// What holds for its calls.
    pub fn settings(&self) -> &Rc<Settings> {
        &self.0.settings
    }

    /// Changes how often, and for how long, calls are tried that are yet to come.
    pub fn set_retry_policy(&self, policy: RetryPolicy) {
        self.0.settings.retry_policy.set(policy);
    }

    /// The pods of a namespace, in one answer.
    pub fn list_namespaced_pods(&self, namespace: &Namespace, options: &ListOptions) -> Result<PodList, Error> {
        let request = request::list_namespaced_pods(namespace, options, PROTOBUF_OR_JSON);
        self.drive(&mut Call::<Pods>::new(request, self.settings(), system::now()))
    }

    /// The pods of a namespace, page by page: for [`drive`](Client::drive).
    pub fn page_namespaced_pods(&self, namespace: Namespace, options: &ListOptions, paging: &PagingOptions) -> PodPages {
        PodPages::new(self.settings().clone(), namespace, options, paging)
    }

    /// The pods of a namespace, and what becomes of them: for [`drive`](Client::drive).
    pub fn watch_namespaced_pods(&self, namespace: Namespace, options: &WatchOptions) -> PodWatch<T::Body> {
        PodWatch::new(self.settings().clone(), namespace, options)
    }

    /// What the API server has at a path, as JSON.
    pub fn get_json(&self, path_and_query: &str) -> Result<Vec<u8>, Error> {
        self.get_whole(request::get_json(path_and_query)?)
    }

    /// The whole JSON body of the answer to a request.
    pub fn get_whole(&self, request: Request) -> Result<Vec<u8>, Error> {
        self.drive(&mut Call::<Json>::new(request, self.settings(), system::now()))
    }

    /// The error without the token, which a server may have sent back.
    pub fn redact(&self, error: Error) -> Error {
        redact(&self.settings().secrets, error)
    }

    /// Does what a machine says until it hands something out.
    pub fn drive<M: Machine<T::Body>>(&self, machine: &mut M) -> M::Output {
        let mut chunk = None;
        let mut event = Event::Go;
        loop {
            let now = system::now();
            match machine.step(now, system::random(), event) {
                Do::Next(todo) => event = self.act(now, todo, &mut chunk),
                Do::HandOut(output) => return output,
            }
        }
    }

    /// Does this, and says what happened. (Once for all machines: it is 4 KB.)
    #[inline(never)]
    fn act<'c>(&self, now: Now, todo: Todo<T::Body>, chunk: &'c mut Option<<T::Body as Body>::Chunk>) -> Event<'c, T::Body> {
        match todo {
            Todo::Token { afresh: false } => Event::Token(self.0.credentials.token(now)),
            Todo::Token { afresh: true } => Event::Token(self.0.credentials.reload(now)),
            Todo::Send(sending) => match self.0.transport.send(&sending) {
                Ok((head, body)) => Event::Head(head, body),
                Err(stopped) => stopped.into(),
            },
            Todo::Read(mut body, until) => match body.chunk(until) {
                Ok(Some(read)) => {
                    let read: &'c _ = chunk.insert(read);
                    Event::Chunk(body, read.as_ref())
                }
                Ok(None) => Event::End,
                Err(stopped) => stopped.into(),
            },
            Todo::Wait(until) => {
                std::thread::sleep(until.saturating_duration_since(now.instant));
                Event::TimeOver
            }
        }
    }
}

impl<B> From<Stopped> for Event<'_, B> {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::TimeOver => Event::TimeOver,
            Stopped::Failed(error) => Event::Failed(error),
        }
    }
}
