//! Sandboxes that hand out one item after the other: pages, or events.

use super::calls::{Answer, Loaded};
use super::sandboxes::Sandbox;
use crate::error::Error;
use crate::sandbox::ctx::Ctx;
use crate::types::{self, Failure, JsonEvent, JsonPage, PodEvent, PodPage};
use futures_core::Stream;
use incluster_core::watching::WITHOUT_END;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// A list of pods, page by page: [`crate::Tenant::page_namespaced_pods`], [`crate::Tenant::list_namespaced_pods_stream`]. Dropping it frees
/// its sandbox and its connection at once.
#[must_use = "a list does nothing until it is asked for a page"]
pub struct PodPages(Session<PodPage>);

/// A list of objects of any kind, page by page: [`crate::Tenant::page_json`]. Dropping it frees its sandbox and its connection at once.
#[must_use = "a list does nothing until it is asked for a page"]
pub struct JsonPages(Session<JsonPage>);

/// A watch of pods: [`crate::Tenant::watch_namespaced_pods`]. Dropping it frees its sandbox and its connection at once.
#[must_use = "a watch does nothing until it is asked for an event"]
pub struct PodWatch(Session<PodEvent>);

/// A watch of objects of any kind: [`crate::Tenant::watch_json`]. Dropping it frees its sandbox and its connection at once.
#[must_use = "a watch does nothing until it is asked for an event"]
pub struct JsonWatch(Session<JsonEvent>);

impl PodPages {
    pub(crate) fn new(sandbox: Sandbox<Ctx, Loaded>, resource: ResourceAny) -> PodPages {
        PodPages(Session::new(Open { sandbox, resource }, |open| {
            let next = async |loaded: &Loaded, mut store: &mut Store<Ctx>, pages| {
                loaded.plugin.incluster_kubernetes_client().pod_pages().call_next(&mut store, pages).await
            };
            Box::pin(open.page(next))
        }))
    }

    /// The next page; `None` after the last one. After [`Error::Kubernetes`], another call asks for the same page; after any other
    /// error the list has ended.
    ///
    /// A call that is dropped, for example in `tokio::select!`, loses nothing: the next call continues its work.
    pub async fn next(&mut self) -> Result<Option<PodPage>, Error> {
        self.0.next().await
    }
}

impl JsonPages {
    pub(crate) fn new(sandbox: Sandbox<Ctx, Loaded>, resource: ResourceAny) -> JsonPages {
        JsonPages(Session::new(Open { sandbox, resource }, |open| {
            let next = async |loaded: &Loaded, mut store: &mut Store<Ctx>, pages| {
                loaded.plugin.incluster_kubernetes_client().json_pages().call_next(&mut store, pages).await
            };
            Box::pin(open.page(next))
        }))
    }

    /// The next page, like [`PodPages::next`].
    pub async fn next(&mut self) -> Result<Option<JsonPage>, Error> {
        self.0.next().await
    }
}

impl PodWatch {
    pub(crate) fn new(sandbox: Sandbox<Ctx, Loaded>, resource: ResourceAny) -> PodWatch {
        PodWatch(Session::new(Open { sandbox, resource }, |open| {
            let next = async |loaded: &Loaded, mut store: &mut Store<Ctx>, watch| {
                let watches = loaded.plugin.incluster_kubernetes_client();
                let event = watches.pod_watch().call_next(&mut store, watch, None).await?;
                Ok(event.map(|event| event.filter(|event| *event != PodEvent::Ended)))
            };
            Box::pin(open.event(next))
        }))
    }

    /// Waits for the next event, for as long as it takes. Returns `None` when the requested time is over, and after
    /// [`types::Error::Expired`]. After [`Error::Kubernetes`], another call continues after the last event; after any other error
    /// the watch has ended.
    ///
    /// A call that is dropped, for example in `tokio::select!`, loses nothing: the next call continues its work.
    pub async fn next(&mut self) -> Result<Option<PodEvent>, Error> {
        self.0.next().await
    }
}

impl JsonWatch {
    pub(crate) fn new(sandbox: Sandbox<Ctx, Loaded>, resource: ResourceAny) -> JsonWatch {
        JsonWatch(Session::new(Open { sandbox, resource }, |open| {
            let next = async |loaded: &Loaded, mut store: &mut Store<Ctx>, watch| {
                let watches = loaded.plugin.incluster_kubernetes_client();
                let event = watches.json_watch().call_next(&mut store, watch, None).await?;
                Ok(event.map(|event| event.filter(|event| *event != JsonEvent::Ended)))
            };
            Box::pin(open.event(next))
        }))
    }

    /// Waits for the next event, like [`PodWatch::next`].
    pub async fn next(&mut self) -> Result<Option<JsonEvent>, Error> {
        self.0.next().await
    }
}

/// A sandbox, and the resource in it.
struct Open {
    sandbox: Sandbox<Ctx, Loaded>,
    resource: ResourceAny,
}

impl Open {
    async fn page<T>(mut self, next: impl AsyncFnOnce(&Loaded, &mut Store<Ctx>, ResourceAny) -> Answer<Option<T>>) -> Step<T> {
        let pages = self.resource;
        let answer = self.sandbox.run(async |loaded: &Loaded, store: &mut Store<Ctx>| next(loaded, store, pages).await).await;
        self.after(answer)
    }

    /// Waits for an event, for as long as it takes.
    async fn event<T>(mut self, next: impl AsyncFnOnce(&Loaded, &mut Store<Ctx>, ResourceAny) -> Answer<Option<T>>) -> Step<T> {
        let watch = self.resource;
        let answer = self.sandbox.wait(async |loaded: &Loaded, store: &mut Store<Ctx>| next(loaded, store, watch).await).await;
        self.after(answer)
    }

    /// Interprets the sandbox's answer: whether the sandbox goes on, and what it handed out.
    fn after<T>(self, answer: Result<Result<Option<T>, Failure>, Error>) -> Step<T> {
        match answer {
            Ok(Ok(next)) => (Some(self), Ok(next)),
            Ok(Err(failure)) => {
                if matches!(&failure.error, types::Error::Expired(expired) if expired.message == WITHOUT_END) {
                    self.sandbox.state().door().lists_first.store(true, Ordering::Relaxed);
                }
                let error = self.sandbox.state().with_real_path(Error::Kubernetes(failure));
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

macro_rules! streams {
    ($($session:ident of $item:ident)*) => {$(
        /// The results of repeated calls of `next`.
        impl Stream for $session {
            type Item = Result<$item, Error>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.0.poll(cx).map(Result::transpose)
            }
        }

        impl fmt::Debug for $session {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($session)).finish_non_exhaustive()
            }
        }
    )*};
}

streams! {
    PodPages of PodPage
    JsonPages of JsonPage
    PodWatch of PodEvent
    JsonWatch of JsonEvent
}
