//! A cluster whose pods are servers on loopback addresses, all on one port, and a gateway's files.
#![allow(dead_code, reason = "each test, the demo and the benchmark use a part of it")]
#![expect(clippy::expect_used, reason = "what cannot be set up has failed")]

use bytes::Bytes;
use gateway::Gateway;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use incluster::Compiler;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use testbed::{PodStore, Testbed};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The process's recorder.
pub static METRICS: LazyLock<PrometheusHandle> =
    LazyLock::new(|| PrometheusBuilder::new().install_recorder().expect("the first recorder"));

/// The compiler of the gateway's program for tests; the demo and the benchmark do not have the program, and compile in their own process.
pub fn compiler() -> Compiler {
    match option_env!("CARGO_BIN_EXE_gateway") {
        Some(program) => Compiler::child(program).arg("compile-child"),
        None => Compiler::in_process(),
    }
}

/// A gateway whose extensions are loaded.
pub async fn started(file: &Path) -> Gateway {
    let gateway = Gateway::start(file, compiler(), METRICS.clone()).await.expect("a gateway");
    gateway.until_loaded().await;
    gateway
}

/// An API server, and pods that it knows.
pub struct Cluster {
    pub testbed: Testbed,
    pub store: PodStore,
    /// The port that all pods listen on.
    pub port: u16,
    pods: BTreeMap<String, JoinHandle<()>>,
    addresses: u8,
    files: TempDir,
}

impl Cluster {
    /// Starts a cluster without pods.
    pub async fn start() -> Cluster {
        let store = PodStore::with_pods(0);
        let testbed = Testbed::serving(store.handler()).await;
        // A port of all addresses, so that it is free at each of them.
        let port = TcpListener::bind("0.0.0.0:0").await.expect("a port").local_addr().expect("an address").port();
        let files = TempDir::new().expect("a folder");
        Cluster { testbed, store, port, pods: BTreeMap::new(), addresses: 1, files }
    }

    /// Adds a ready pod.
    pub async fn add(&mut self, name: &str) {
        self.addresses += 1;
        let ip = format!("127.0.0.{}", self.addresses);
        let listener = TcpListener::bind((ip.as_str(), self.port)).await.expect("the port at another address");
        self.pods.insert(name.into(), tokio::spawn(serve(listener, name.into())));
        self.store.add_ready(name, &ip);
    }

    /// Ends a pod's process, while the API server still calls the pod ready.
    pub async fn crash(&mut self, name: &str) {
        let pod = self.pods.remove(name).expect("a pod");
        pod.abort();
        let _ = pod.await;
    }

    /// Returns a route of the configuration; `more` is added to it as YAML.
    pub fn route(&self, tenant: &str, more: &str) -> String {
        format!("  - {{tenant: {tenant}, namespace: shop, port: {}, {more}}}\n", self.port)
    }

    /// Puts a file beside the configuration.
    pub fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.files.path().join(name), content).expect("a file");
    }

    /// Writes the configuration: a tenant that may watch pods, and these routes.
    pub fn write(&self, tenant: &str, routes: &str) -> PathBuf {
        self.write_for(&[tenant], routes)
    }

    /// Like [`write`](Cluster::write), for several tenants.
    pub fn write_for(&self, tenants: &[&str], routes: &str) -> PathBuf {
        let (server, dir) = (self.testbed.server.url(), self.testbed.volume.path().display().to_string());
        let tenant = |name: &&str| {
            format!(
                "  {name}:\n    server: {server}\n    serviceAccountDir: {dir}\n    \
                 policy: {{rules: [{{verbs: [list, watch], apiGroups: [\"\"], resources: [pods], namespaces: [shop]}}]}}\n    \
                 limits: {{call: {{memory: 32Mi, cpuTime: 100ms}}}}\n"
            )
        };
        let tenants: String = tenants.iter().map(tenant).collect();
        self.write_text(&format!("listen: 127.0.0.1:0\nstatus: 127.0.0.1:0\ntenants:\n{tenants}routes:\n{routes}"))
    }

    /// Writes the configuration, and the extensions beside it.
    pub fn write_text(&self, text: &str) -> PathBuf {
        let at = |name: &str| self.files.path().join(name);
        for (name, component) in [("sticky.wasm", extensions::STICKY), ("unruly.wasm", extensions::UNRULY)] {
            if !at(name).exists() {
                std::fs::write(at(name), component).expect("a component");
            }
        }
        // In one step, because a gateway may read it at any time.
        std::fs::write(at("next"), text).expect("a file");
        std::fs::rename(at("next"), at("gateway.yaml")).expect("a file");
        at("gateway.yaml")
    }
}

/// Serves as a pod, which answers with its name, the request's target, a few headers, and the body's size.
async fn serve(listener: TcpListener, name: String) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let _ = stream.set_nodelay(true);
        let name = name.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let name = name.clone();
                async move { Ok::<_, Infallible>(answer(&name, request).await) }
            });
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_string();
    let (host, client, target) = (header("host"), header("x-forwarded-for"), request.uri().to_string());
    let tiers =
        request.headers().get_all("x-tier").iter().map(|value| value.to_str().unwrap_or("?")).collect::<Vec<_>>().join("+");
    let size = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
    Response::new(Full::from(format!("{name} {target} {host} {client} {size}{tiers}")))
}

/// A client that keeps its connections.
#[derive(Clone)]
pub struct Browser(Client<HttpConnector, Full<Bytes>>);

impl Browser {
    pub fn new() -> Browser {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Browser(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends a request. Returns the status and the body.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let answer = self.0.request(request).await.expect("an answer of the gateway's");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub async fn get(&self, url: &str) -> (u16, String) {
        self.send(Request::get(url).body(Full::default()).expect("a request")).await
    }

    /// Sends a GET request in this session.
    pub async fn get_as(&self, session: &str, url: &str) -> (u16, String) {
        let request = Request::get(url).header("x-session", session);
        self.send(request.body(Full::default()).expect("a request")).await
    }
}
