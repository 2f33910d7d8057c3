//! A sandbox that hands out one thing after the other: pages, or events.

use crate::bindings::Plugin;
use crate::ctx::{Ctx, ended};
use crate::types::{PodEvent, PodList};
use crate::{Cluster, Error, Limits, Permit};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

type Client = crate::bindings::exports::incluster::kubernetes::client::Guest;

/// A list, page by page: [`Cluster::page_namespaced_pods`]. Dropping it frees its sandbox and its connection at once.
pub struct PodPages(Session<PodList>);

/// A watch: [`Cluster::watch_namespaced_pods`]. Dropping it frees its sandbox and its connection at once.
pub struct PodWatch(Session<PodEvent>);

impl PodPages {
    pub(crate) fn new(sandbox: Sandbox) -> PodPages {
        PodPages(Session::new(sandbox, |mut sandbox| {
            Box::pin(async move {
                let Sandbox { store, plugin, resource, limits, .. } = &mut sandbox;
                let pages = plugin.incluster_kubernetes_client().pod_pages();
                let next = limits.run(pages.call_next(&mut *store, *resource)).await;
                sandbox.after(next)
            })
        }))
    }

    /// The next page; `None` after the last one. After [`Error::Kubernetes`] it may be called again, and asks for the same
    /// page; after any other error the list has ended.
    ///
    /// A call that is dropped, for example in `tokio::select!`, loses nothing: the next one goes on with its work.
    pub async fn next(&mut self) -> Result<Option<PodList>, Error> {
        self.0.next().await
    }
}

impl PodWatch {
    pub(crate) fn new(sandbox: Sandbox) -> PodWatch {
        PodWatch(Session::new(sandbox, |mut sandbox| {
            Box::pin(async move {
                let Sandbox { store, plugin, resource, limits, .. } = &mut sandbox;
                let watch = plugin.incluster_kubernetes_client().pod_watch();
                // To wait for an event is what it is for.
                let limits = Limits { wall_time: Duration::MAX, ..limits.clone() };
                let next = limits.run(watch.call_next(&mut *store, *resource)).await;
                sandbox.after(next)
            })
        }))
    }

    /// The next event, as long as it takes; `None` when the time that was asked for is over, and after
    /// [`PodEvent::Expired`]. After [`Error::Kubernetes`] it may be called again, and goes on after the last event; after any
    /// other error the watch has ended.
    ///
    /// A call that is dropped, for example in `tokio::select!`, loses nothing: the next one goes on with its work.
    pub async fn next(&mut self) -> Result<Option<PodEvent>, Error> {
        self.0.next().await
    }
}

/// An instance, and a resource in it.
pub(crate) struct Sandbox {
    store: Store<Ctx>,
    plugin: Plugin,
    resource: ResourceAny,
    limits: Limits,
    /// Dropped last: the store needs its place until then.
    _permit: Permit,
}

impl Sandbox {
    /// A fresh sandbox with its configuration loaded, in which `open` makes a resource.
    pub(crate) async fn open(
        cluster: &Cluster,
        open: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> wasmtime::Result<Result<ResourceAny, crate::types::Error>>,
    ) -> Result<Sandbox, Error> {
        let (plugin, resource, store, permit) = cluster.run(open).await?;
        Ok(Sandbox { store, plugin, resource, limits: cluster.limits().clone(), _permit: permit })
    }

    /// What the sandbox's answer means: whether it goes on, and what it handed out.
    fn after<T>(mut self, answer: Result<wasmtime::Result<Result<Option<T>, crate::types::Error>>, Error>) -> Step<T> {
        match answer {
            Ok(Ok(Ok(next))) => (Some(self), Ok(next)),
            Ok(Ok(Err(error))) => (Some(self), Err(Error::Kubernetes(error))),
            Ok(Err(trap)) => (None, Err(ended(self.store.data_mut(), trap))),
            Err(limit) => (None, Err(limit)),
        }
    }
}

type Step<T> = (Option<Sandbox>, Result<Option<T>, Error>);
type Pending<T> = Pin<Box<dyn Future<Output = Step<T>> + Send>>;

struct Session<T> {
    state: State<T>,
    step: fn(Sandbox) -> Pending<T>,
}

enum State<T> {
    Idle(Box<Sandbox>),
    /// A call that may have been begun by an earlier `next`.
    Busy(Pending<T>),
    Ended,
}

impl<T> Session<T> {
    fn new(sandbox: Sandbox, step: fn(Sandbox) -> Pending<T>) -> Session<T> {
        Session { state: State::Idle(Box::new(sandbox)), step }
    }

    async fn next(&mut self) -> Result<Option<T>, Error> {
        poll_fn(|cx| {
            if let State::Idle(_) = self.state
                && let State::Idle(sandbox) = mem::replace(&mut self.state, State::Ended)
            {
                self.state = State::Busy((self.step)(*sandbox));
            }
            let State::Busy(pending) = &mut self.state else { return Poll::Ready(Ok(None)) };
            let (sandbox, answer) = ready!(pending.as_mut().poll(cx));
            self.state = sandbox.map_or(State::Ended, |sandbox| State::Idle(Box::new(sandbox)));
            Poll::Ready(answer)
        })
        .await
    }
}

impl fmt::Debug for PodPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodPages").finish_non_exhaustive()
    }
}

impl fmt::Debug for PodWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodWatch").finish_non_exhaustive()
    }
}
