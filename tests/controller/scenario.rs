//! A scenario for `examples/controller` with the lines that it must print, shared by all tests that run it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use testbed::{Answer, Chunk, PodStore, Request, TOKEN, Testbed};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch as channel;

/// The controller's arguments.
pub const ARGS: [&str; 4] = ["shop", "front", "--summary", "1"];

/// The controller's API server and its objects.
pub struct Scene {
    pub testbed: Testbed,
    api: Api,
}

#[derive(Clone)]
struct Api {
    shop: PodStore,
    /// The pods of `front`. The store knows only one namespace, so these pods are requested in `front` and say that they are in `shop`.
    front: PodStore,
    slices: Arc<Mutex<Slices>>,
    /// The slices of `front`, which has none.
    no_slices: Arc<Mutex<Slices>>,
    is_away: Arc<AtomicBool>,
    /// How many requests were refused because the server is away.
    refusals: Arc<channel::Sender<u32>>,
    /// How many watches of the pods of `shop` asked for the initial events.
    beginnings: Arc<AtomicU32>,
}

struct Slices {
    address: &'static str,
    version: u32,
    watches: Vec<UnboundedSender<Chunk>>,
}

impl Api {
    fn answer(&self, request: &Request) -> Answer {
        if self.is_away.load(Relaxed) {
            self.refusals.send_modify(|count| *count += 1);
            return Answer::new(503, "");
        }
        let begins = request.query("sendInitialEvents").is_some();
        if request.path() == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" {
            return self.slices.lock().unwrap().watch(begins);
        }
        if request.path().ends_with("/endpointslices") {
            return self.no_slices.lock().unwrap().nothing(begins);
        }
        if request.path() == "/api/v1/namespaces/shop/pods" {
            self.beginnings.fetch_add(begins.into(), Relaxed);
            return self.shop.answer(request);
        }
        let mut request = request.clone();
        request.path_and_query = request.path_and_query.replace("/front/", "/shop/");
        self.front.answer(&request)
    }
}

impl Slices {
    fn at(address: &'static str) -> Slices {
        Slices { address, version: 7, watches: vec![] }
    }

    fn watch(&mut self, begins: bool) -> Answer {
        let added = self.event("ADDED");
        self.open(begins.then_some(added).as_deref(), begins)
    }

    /// A watch of a namespace without slices.
    fn nothing(&mut self, begins: bool) -> Answer {
        self.open(None, begins)
    }

    fn open(&mut self, first: Option<&str>, begins: bool) -> Answer {
        let (sender, receiver) = unbounded_channel();
        let end = r#"{"type":"BOOKMARK","object":{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}},"addressType":"IPv4","endpoints":null}}"#;
        for event in first.into_iter().chain(begins.then_some(end)) {
            sender.send(Chunk::Data(event.to_string().into())).unwrap();
        }
        self.watches.push(sender);
        Answer::streaming(200, receiver).header("content-type", "application/json")
    }

    fn event(&self, kind: &str) -> String {
        let Slices { address, version, .. } = self;
        format!(
            r#"{{"type":"{kind}","object":{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"web","namespace":"shop","resourceVersion":"{version}"}},"addressType":"IPv4","endpoints":[{{"addresses":["{address}"],"conditions":{{"ready":true}}}},{{"addresses":["10.9.9.9"],"conditions":{{"ready":false}}}}]}}}}"#
        )
    }

    fn set(&mut self, address: &'static str) {
        self.address = address;
        self.version += 1;
        let event = self.event("MODIFIED");
        self.watches.retain(|watch| watch.send(Chunk::Data(event.clone().into())).is_ok());
    }
}

impl Scene {
    pub async fn set() -> Scene {
        let stores = [(); 2].map(|()| PodStore::with_pods(0));
        let [shop, front] = stores;
        let api = Api {
            shop,
            front,
            slices: Arc::new(Mutex::new(Slices::at("10.0.0.1"))),
            no_slices: Arc::new(Mutex::new(Slices::at(""))),
            is_away: Arc::default(),
            refusals: Arc::default(),
            beginnings: Arc::default(),
        };
        api.shop.add_ready("web-1", "10.0.0.1");
        api.front.add_ready("edge-1", "10.0.1.1");
        let serving = api.clone();
        Scene { testbed: Testbed::serving(move |request| serving.answer(request)).await, api }
    }

    /// Plays the scenario, and checks the controller's lines, which `line` returns one by one.
    pub async fn play(&self, mut line: impl AsyncFnMut() -> String) {
        let Api { shop, front, slices, no_slices: _, is_away, refusals, beginnings } = &self.api;
        let is_refused = async || {
            let before = *refusals.borrow();
            refusals.subscribe().wait_for(|count| *count > before).await.unwrap();
        };
        let added = |name: &str, address: &str| format!("+ pod shop/{name}: Running, ready, {address}");
        let first = [added("edge-1", "10.0.1.1"), added("web-1", "10.0.0.1"), "+ endpointslice shop/web: 10.0.0.1".into()];
        changes(&mut line, &first).await;
        while line().await != "= 2 pods, 1 slices" {}

        slices.lock().unwrap().set("10.0.0.2");
        changes(&mut line, &["~ endpointslice shop/web: 10.0.0.1 -> 10.0.0.2".into()]).await;
        front.set_ready("edge-1", false);
        let before = "Running, ready, 10.0.1.1";
        changes(&mut line, &[format!("~ pod shop/edge-1: {before} -> Running, not ready, 10.0.1.1")]).await;

        // The token is replaced, and the old one is no longer accepted.
        let renewed = TOKEN.replace('e', "f");
        self.testbed.volume.set("token", renewed.as_bytes());
        for store in [shop, front] {
            store.accept_token(&renewed);
            store.drop_watches();
        }
        shop.add_ready("web-2", "10.0.0.2");
        front.set_ready("edge-1", true);
        let now = "~ pod shop/edge-1: Running, not ready, 10.0.1.1 -> Running, ready, 10.0.1.1";
        changes(&mut line, &[added("web-2", "10.0.0.2"), now.into()]).await;

        // The API server restarts.
        is_away.store(true, Relaxed);
        self.testbed.server.hang_up();
        is_refused().await;
        shop.delete("web-1");
        front.add_ready("edge-2", "10.0.1.2");
        is_away.store(false, Relaxed);
        changes(&mut line, &[added("edge-2", "10.0.1.2"), "- pod shop/web-1".into()]).await;

        // While the server is away, a pod is deleted and the history compacted, so the watch expires.
        let before = beginnings.load(Relaxed);
        is_away.store(true, Relaxed);
        shop.drop_watches();
        is_refused().await;
        shop.delete("web-2");
        shop.add_ready("web-3", "10.0.0.3");
        shop.compact();
        is_away.store(false, Relaxed);
        changes(&mut line, &[added("web-3", "10.0.0.3"), "- pod shop/web-2".into()]).await;
        assert_eq!(beginnings.load(Relaxed), before + 1, "the watch expired and began again");
        while line().await != "= 3 pods, 1 slices" {}
    }
}

/// Checks that the next changes are these, in any order, because they come from several watches. Summary lines in between are skipped.
async fn changes(line: &mut impl AsyncFnMut() -> String, expected: &[String]) {
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let next = line().await;
        if !next.starts_with('=') {
            found.push(next);
        }
    }
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
