//! A store of pods that can change: a small API in memory with Kubernetes's semantics.

mod encoding;
mod error_status;
mod list;
mod pod;
#[cfg(test)]
mod tests;
mod watch;

use crate::TOKEN;
use crate::answer::{Answer, Chunk};
use crate::api::PodApi;
use crate::recording::Recording;
use crate::request::Request;
use encoding::{Change, Encoding, Event};
use error_status::ErrorStatus;
use pod::Pod;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::watch as channel;
pub use watch::Forgotten;
use watch::Watch;

/// A store of the pods of the namespace `shop`, which serves lists, pages, tables, watches and single pods in JSON and protobuf.
/// Selectors are ignored, except for the field selector `metadata.name=NAME`. Other namespaces answer as recorded.
///
/// Clones share one store.
#[derive(Clone)]
pub struct PodStore {
    state: Arc<Mutex<State>>,
    open_watches: Arc<channel::Sender<usize>>,
}

struct State {
    /// The latest resource version.
    version: u64,
    pods: BTreeMap<String, Arc<Pod>>,
    history: Vec<Past>,
    /// The oldest version whose later history is known.
    oldest: u64,
    /// Whether the answer to an expired continue token has another token to go on with.
    resumable: bool,
    models: Vec<Pod>,
    /// The number of pods that were made from the models.
    made: usize,
    knows_initial_events: bool,
    tokens: Vec<String>,
    failures: VecDeque<Answer>,
    /// Queued failures for watches from a resource version.
    watch_failures: VecDeque<Answer>,
    forgotten: Forgotten,
    watches: BTreeMap<u64, Watch>,
    /// Stalled watches, which get no more events and stay open until their clients leave.
    stalled: BTreeMap<u64, Watch>,
    watches_so_far: u64,
    cut_next_watch_after: Option<usize>,
    hurries: bool,
    ends_initial_events: bool,
}

/// A past change, with the pod before it.
struct Past {
    change: Change,
    pod: Arc<Pod>,
    before: Option<Arc<Pod>>,
}

impl PodStore {
    /// Creates a store of the seven recorded pods, at the recorded resource version.
    pub fn recorded() -> PodStore {
        let pods = pod::recorded();
        PodStore::new(10487, pods.clone(), pods)
    }

    /// Creates a store of `count` pods, `web-00000` and so on, made from the recorded ones.
    pub fn with_pods(count: usize) -> PodStore {
        let store = PodStore::new(10487, pod::recorded(), vec![]);
        store.change(|state| {
            for number in 0..count {
                state.version += 1;
                let pod = state.make(&format!("web-{number:05}"));
                state.pods.insert(pod.name.clone(), pod.into());
            }
            state.oldest = state.version;
        });
        store
    }

    fn new(version: u64, models: Vec<Pod>, pods: Vec<Pod>) -> PodStore {
        let state = State {
            version,
            pods: pods.into_iter().map(|pod| (pod.name.clone(), pod.into())).collect(),
            history: vec![],
            oldest: version,
            resumable: true,
            models,
            made: 0,
            knows_initial_events: true,
            tokens: vec![TOKEN.into()],
            failures: VecDeque::new(),
            watch_failures: VecDeque::new(),
            forgotten: Forgotten::Event,
            watches: BTreeMap::new(),
            stalled: BTreeMap::new(),
            watches_so_far: 0,
            cut_next_watch_after: None,
            hurries: false,
            ends_initial_events: true,
        };
        PodStore { state: Arc::new(Mutex::new(state)), open_watches: Arc::default() }
    }

    /// Returns a handler for `Testbed::serving`.
    pub fn handler(&self) -> impl Fn(&Request) -> Answer + Clone + Send + Sync + 'static {
        let store = self.clone();
        move |request| store.answer(request)
    }

    /// Answers a request. A watch needs tokio's runtime.
    pub fn answer(&self, request: &Request) -> Answer {
        let encoding = Encoding::asked_for(request);
        self.change(|state| {
            if let Some(failure) = state.failures.pop_front() {
                return failure;
            }
            let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let answer = match request.path() {
                _ if !state.tokens.iter().any(|accepted| token == Some(accepted)) => Err(ErrorStatus::unauthorized()),
                "/api/v1/namespaces/shop/pods" | "/api/v1/pods" if request.is_watch() => self.watch(state, request, encoding),
                "/api/v1/namespaces/shop/pods" | "/api/v1/pods" => state.list(request).map(|page| encoding.list(&page)),
                path => match path.strip_prefix("/api/v1/namespaces/shop/pods/").filter(|name| !name.contains('/')) {
                    Some(name) => return state.pods.get(name).map_or_else(|| not_found(name), |pod| encoding.pod(pod)),
                    None => return PodApi::recorded(request),
                },
            };
            answer.unwrap_or_else(|failure| encoding.failure(&failure))
        })
    }

    /// Adds a pod.
    pub fn add(&self, name: &str) {
        self.change(|state| {
            assert!(!state.pods.contains_key(name), "{name} is there");
            state.version += 1;
            let pod = state.make(name);
            state.commit(Change::Added, pod);
        });
    }

    /// Adds a ready pod with this address.
    pub fn add_ready(&self, name: &str, ip: &str) {
        self.change(|state| {
            state.version += 1;
            state.made = 0;
            let mut pod = state.make(name);
            pod.set_address(ip);
            state.commit(Change::Added, pod);
        });
    }

    /// Sets whether a pod is ready.
    pub fn set_ready(&self, name: &str, is_ready: bool) {
        self.update(Change::Modified, name, |pod| pod.set_ready(is_ready));
    }

    /// Sets a label of a pod.
    pub fn modify(&self, name: &str, label: &str, value: &str) {
        self.update(Change::Modified, name, |pod| drop(pod.labels.insert(label.into(), value.into())));
    }

    /// Sets the phase of a pod.
    pub fn set_phase(&self, name: &str, phase: &str) {
        self.update(Change::Modified, name, |pod| pod.phase = phase.into());
    }

    /// Deletes a pod.
    pub fn delete(&self, name: &str) {
        self.update(Change::Deleted, name, |_| {});
    }

    /// Sends a bookmark to the watches that asked for bookmarks.
    pub fn bookmark(&self) {
        self.change(|state| state.tell(&Event::Bookmark { version: state.version, ends_initial_events: false }));
    }

    /// Returns the current pods: the resource version of each, by name.
    pub fn state(&self) -> BTreeMap<String, String> {
        self.change(|state| state.pods.values().map(|pod| (pod.name.clone(), pod.version.to_string())).collect())
    }

    /// Returns the latest resource version.
    pub fn resource_version(&self) -> String {
        self.change(|state| state.version.to_string())
    }

    /// Compacts the history: all earlier continue tokens and resource versions are answered with 410. The answer to a token has
    /// another token, which continues the list with the current state. Open watches go on.
    pub fn compact(&self) {
        self.forget(true);
    }

    /// Compacts the history, and answers expired tokens without a token to continue with.
    pub fn compact_without_token(&self) {
        self.forget(false);
    }

    fn forget(&self, resumable: bool) {
        self.change(|state| {
            state.version += 1;
            state.oldest = state.version;
            state.history.clear();
            state.resumable = resumable;
        });
    }

    /// Breaks all open watches in the middle of the body.
    pub fn drop_watches(&self) {
        self.change(|state| {
            for watch in std::mem::take(&mut state.watches).into_values() {
                let _ = watch.sender.send(Chunk::Abort);
            }
        });
    }

    /// Ends all open watches normally.
    pub fn close_watches(&self) {
        self.change(|state| state.watches.clear());
    }

    /// Breaks the next new watch after this many bytes of its body.
    pub fn cut_watches_after(&self, bytes: usize) {
        self.change(|state| state.cut_next_watch_after = Some(bytes));
    }

    /// Sets how a watch from a forgotten resource version is answered. The default is [`Forgotten::Event`].
    pub fn answer_forgotten(&self, forgotten: Forgotten) {
        self.change(|state| state.forgotten = forgotten);
    }

    /// Ends all open watches with an `ERROR` event of the code 500, with `retryAfterSeconds` if given.
    pub fn fail_watches(&self, retry_after_seconds: Option<u32>) {
        self.change(|state| {
            state.tell(&Event::ErrorStatus(Arc::new(ErrorStatus::internal(retry_after_seconds))));
            state.watches.clear();
        });
    }

    /// Stalls the open watches: they get no more events and do not end.
    pub fn stall_watches(&self) {
        self.change(|state| {
            let mut watches = std::mem::take(&mut state.watches);
            state.stalled.append(&mut watches);
        });
    }

    /// Sets whether new watches end 20 ms after their first event.
    pub fn hurry_watches(&self, hurries: bool) {
        self.change(|state| state.hurries = hurries);
    }

    /// Answers the next `count` watches that name a resource version with this.
    pub fn fail_next_watches(&self, count: usize, answer: Answer) {
        self.change(|state| state.watch_failures.extend(std::iter::repeat_n(answer, count)));
    }

    /// Returns how many watches are open.
    pub fn open_watches(&self) -> usize {
        *self.open_watches.borrow()
    }

    /// Waits until exactly this many watches are open.
    pub async fn until_open_watches(&self, count: usize) {
        let _ = self.open_watches.subscribe().wait_for(|open| *open == count).await;
    }

    /// Sets whether the bookmark after the initial events is annotated as their end (the default) or is an ordinary one.
    pub fn end_initial_events(&self, ends: bool) {
        self.change(|state| state.ends_initial_events = ends);
    }

    /// Sets whether `sendInitialEvents` is supported (the default) or answered with 422.
    pub fn know_initial_events(&self, knows: bool) {
        self.change(|state| state.knows_initial_events = knows);
    }

    /// Accepts only this token. The default is [`TOKEN`].
    pub fn accept_token(&self, token: &str) {
        self.accept_tokens(&[token]);
    }

    /// Accepts only these tokens.
    pub fn accept_tokens(&self, tokens: &[&str]) {
        self.change(|state| state.tokens = tokens.iter().map(ToString::to_string).collect());
    }

    /// Answers the next `count` requests with this, whatever they ask for.
    pub fn fail_next(&self, count: usize, answer: Answer) {
        self.change(|state| state.failures.extend(std::iter::repeat_n(answer, count)));
    }

    fn update(&self, change: Change, name: &str, with: impl FnOnce(&mut Pod)) {
        self.change(|state| {
            let mut pod = Pod::clone(state.pods.get(name).unwrap_or_else(|| panic!("no pod {name}")));
            state.version += 1;
            pod.version = state.version;
            with(&mut pod);
            state.commit(change, pod);
        });
    }

    fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = with(&mut state);
        self.open_watches.send_if_modified(|open| std::mem::replace(open, state.watches.len()) != state.watches.len());
        result
    }
}

/// Answers as recorded, with another name.
fn not_found(name: &str) -> Answer {
    let recorded = Recording::read("get-pod-not-found").answer;
    let body = String::from_utf8_lossy(&recorded.body).replace("nope", name);
    Answer { body: body.into(), ..recorded }
}

impl State {
    /// Makes a new pod with the latest version.
    fn make(&mut self, name: &str) -> Pod {
        let mut pod = self.models[self.made % self.models.len()].clone();
        self.made += 1;
        pod.name = name.into();
        pod.uid = format!("00000000-0000-4000-8000-{:012x}", self.made);
        pod.version = self.version;
        pod
    }

    fn commit(&mut self, change: Change, pod: Pod) {
        let pod = Arc::new(pod);
        let before = match change {
            Change::Deleted => self.pods.remove(&pod.name),
            Change::Added | Change::Modified => self.pods.insert(pod.name.clone(), pod.clone()),
        };
        self.tell(&Event::Pod(change, pod.clone()));
        self.history.push(Past { change, pod, before });
    }

    fn tell(&mut self, event: &Event) {
        self.watches.retain(|_, watch| watch.tell(event));
    }
}
