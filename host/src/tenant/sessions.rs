//! A sandbox that hands out one thing after the other: pages, or events.

use super::calls::Loaded;
use super::sandboxes::Sandbox;
use crate::error::Error;
use crate::sandbox::ctx::Ctx;
use crate::types::{PodEvent, PodList};
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// A list, page by page: [`crate::Tenant::page_namespaced_pods`]. Dropping it frees its sandbox and its connection at once.
#[must_use = "it lists nothing until it is asked"]
pub struct PodPages(Session<PodList>);

/// A watch: [`crate::Tenant::watch_namespaced_pods`]. Dropping it frees its sandbox and its connection at once.
#[must_use = "it watches nothing until it is asked"]
pub struct PodWatch(Session<PodEvent>);

impl PodPages {
    pub(crate) fn new(sandbox: Sandbox<Ctx, Loaded>, resource: ResourceAny) -> PodPages {
        PodPages(Session::new(Open { sandbox, resource }, |mut open| {
            Box::pin(async move {
                let pages = open.resource;
                let next = async |loaded: &Loaded, mut store: &mut Store<Ctx>| {
                    loaded.plugin.incluster_kubernetes_client().pod_pages().call_next(&mut store, pages).await
                };
                let next = open.sandbox.run(next).await;
                open.after(next)
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
    pub(crate) fn new(sandbox: Sandbox<Ctx, Loaded>, resource: ResourceAny) -> PodWatch {
        PodWatch(Session::new(Open { sandbox, resource }, |mut open| {
            Box::pin(async move {
                let watch = open.resource;
                let next = async |loaded: &Loaded, mut store: &mut Store<Ctx>| {
                    loaded.plugin.incluster_kubernetes_client().pod_watch().call_next(&mut store, watch).await
                };
                // To wait for an event is what it is for.
                let next = open.sandbox.wait(next).await;
                open.after(next)
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

/// A sandbox, and the resource in it.
struct Open {
    sandbox: Sandbox<Ctx, Loaded>,
    resource: ResourceAny,
}

impl Open {
    /// What the sandbox's answer means: whether it goes on, and what it handed out.
    fn after<T>(self, answer: Result<Result<Option<T>, crate::types::Error>, Error>) -> Step<T> {
        match answer {
            Ok(Ok(next)) => (Some(self), Ok(next)),
            Ok(Err(error)) => {
                let error = self.sandbox.state().with_real_path(Error::Kubernetes(error));
                (Some(self), Err(error))
            }
            Err(end) => (None, Err(end)),
        }
    }
}

type Step<T> = (Option<Open>, Result<Option<T>, Error>);
type Pending<T> = Pin<Box<dyn Future<Output = Step<T>> + Send>>;

struct Session<T> {
    state: State<T>,
    step: fn(Open) -> Pending<T>,
}

enum State<T> {
    Idle(Box<Open>),
    /// A call that may have been begun by an earlier `next`.
    Busy(Pending<T>),
    Ended,
}

impl<T> Session<T> {
    fn new(open: Open, step: fn(Open) -> Pending<T>) -> Session<T> {
        Session { state: State::Idle(Box::new(open)), step }
    }

    async fn next(&mut self) -> Result<Option<T>, Error> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Error>> {
        if let State::Idle(_) = self.state
            && let State::Idle(sandbox) = mem::replace(&mut self.state, State::Ended)
        {
            self.state = State::Busy((self.step)(*sandbox));
        }
        let State::Busy(pending) = &mut self.state else { return Poll::Ready(Ok(None)) };
        let (sandbox, answer) = ready!(pending.as_mut().poll(cx));
        self.state = sandbox.map_or(State::Ended, |sandbox| State::Idle(Box::new(sandbox)));
        Poll::Ready(answer)
    }
}

/// [`PodPages::next`] again and again.
impl Stream for PodPages {
    type Item = Result<PodList, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx).map(Result::transpose)
    }
}

/// [`PodWatch::next`] again and again.
impl Stream for PodWatch {
    type Item = Result<PodEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(cx).map(Result::transpose)
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
