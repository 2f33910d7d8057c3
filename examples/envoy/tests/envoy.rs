//! A real Envoy, whose requests go where the processor says, to pods that come and go: `./justw test-envoy`.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../gateway/tests/support/mod.rs"]
mod support;

use incluster_envoy::EnvoyProcessor;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use support::{Browser, Cluster, METRICS, compiler};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration of the README.
const CONFIG: &str = include_str!("../envoy.yaml");

/// A running Envoy. It ends when this is dropped.
struct Envoy {
    url: String,
    admin: String,
    _files: TempDir,
    _process: Child,
}

impl Envoy {
    /// Starts one that asks at this socket, by this configuration.
    async fn start(socket: &Path, config: &str) -> Envoy {
        let files = TempDir::new().unwrap();
        let admin_file = files.path().join("admin");
        let config = config.replace("/run/incluster/processor.sock", &socket.display().to_string());
        let config =
            config.replace("0.0.0.0, port_value: 8080", "127.0.0.1, port_value: 0").replace("port_value: 9901", "port_value: 0");
        let file = files.path().join("envoy.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(std::env::var_os("ENVOY").expect("ENVOY: tools/envoy.sh prints it"));
        command.env_clear().args(["--disable-hot-restart", "--concurrency", "2", "-c"]).arg(&file);
        command.arg("--admin-address-path").arg(&admin_file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let started = async {
            let mut said = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("starting workers") {
                    return;
                }
                said += &(line + "\n");
            }
            panic!("Envoy has ended: {said}");
        };
        timeout(PATIENCE, started).await.expect("Envoy starts");
        // It writes on, and must not be stopped by a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let admin = format!("http://{}", std::fs::read_to_string(&admin_file).unwrap().trim());
        let (_, listeners) = Browser::new().get(&format!("{admin}/listeners")).await;
        let address = listeners.trim().split_once("::").expect("a listener").1;
        Envoy { url: format!("http://{address}"), admin, _files: files, _process: process }
    }
}

/// A cluster, the processor and an Envoy.
struct Scene {
    cluster: Cluster,
    processor: EnvoyProcessor,
    envoy: Envoy,
    browser: Browser,
    socket: PathBuf,
    file: PathBuf,
    _dir: TempDir,
}

/// A configuration: a tenant that may watch pods, and these routes.
fn config(cluster: &Cluster, socket: &Path, routes: &str) -> String {
    let (server, dir) = (cluster.testbed.server.url(), cluster.testbed.volume.path().display().to_string());
    format!(
        "listen: unix:{}\nstatus: 127.0.0.1:0\ntenants:\n  shop:\n    server: {server}\n    serviceAccountDir: {dir}\n    \
         policy: {{rules: [{{verbs: [list, watch], apiGroups: [\"\"], resources: [pods], namespaces: [shop]}}]}}\n    \
         limits: {{call: {{memory: 32Mi, cpuTime: 100ms}}}}\nroutes:\n{routes}",
        socket.display()
    )
}

/// What the processors of this process have picked.
fn picked() -> u64 {
    let text = METRICS.render();
    let lines = text.lines().filter(|line| line.starts_with("gateway_requests_total") && line.contains("outcome=\"picked\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

impl Scene {
    async fn set(pods: &[&str], more: &str) -> Scene {
        Scene::set_with(CONFIG, pods, more).await
    }

    async fn set_with(envoy: &str, pods: &[&str], more: &str) -> Scene {
        let mut cluster = Cluster::start().await;
        for pod in pods {
            cluster.add(pod).await;
        }
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("processor.sock");
        let routes = cluster.route("shop", &format!("cluster: web{more}"));
        let file = cluster.write_text(&config(&cluster, &socket, &routes));
        let processor = EnvoyProcessor::start(&file, compiler(), METRICS.clone()).await.unwrap();
        processor.engine().until_ready().await;
        let envoy = Envoy::start(&socket, envoy).await;
        Scene { cluster, processor, envoy, browser: Browser::new(), socket, file, _dir: dir }
    }

    /// The status, and the pod that answered or the text.
    async fn get(&self, session: &str) -> (u16, String) {
        let (status, body) = self.browser.get_as(session, &format!("{}/cart", self.envoy.url)).await;
        (status, if status == 200 { body.split(' ').next().unwrap().into() } else { body })
    }

    /// Asks until the answer is as it should be.
    async fn until(&self, is_it: impl Fn(u16, &str) -> bool) {
        let asking = async {
            loop {
                let (status, body) = self.get("any").await;
                if is_it(status, &body) {
                    return;
                }
            }
        };
        timeout(PATIENCE, asking).await.expect("an answer as it should be");
    }

    /// The health that Envoy has of its endpoints, one line each.
    async fn endpoints(&self) -> String {
        let (_, text) = self.browser.get(&format!("{}/clusters", self.envoy.admin)).await;
        let lines = text.lines().filter(|line| line.starts_with("web::") && line.contains("::health_flags::"));
        lines.map(|line| line.rsplit("::").next().unwrap().to_owned() + "\n").collect()
    }
}

#[tokio::test]
async fn an_extension_picks_and_envoy_sends_there() {
    let scene = Scene::set(&["a", "b", "c"], ", extension: sticky.wasm").await;
    let mut pods = BTreeSet::new();
    for session in 0..20 {
        let (status, first) = scene.get(&session.to_string()).await;
        assert_eq!(status, 200, "{first}");
        for _ in 0..3 {
            assert_eq!(scene.get(&session.to_string()).await, (200, first.clone()), "a session stays with its pod");
        }
        pods.insert(first);
    }
    assert_eq!(pods, ["a", "b", "c"].map(String::from).into());
    scene.processor.stop().await;
}

#[tokio::test]
async fn pods_come_and_go_without_a_failed_request() {
    let mut scene = Scene::set(&["a", "b"], "").await;
    scene.cluster.add("c").await;
    scene.until(|_, pod| pod == "c").await;
    // It is not ready any more, and answers those who have not heard of it.
    scene.cluster.store.set_ready("a", false);
    let draining = async {
        loop {
            if scene.endpoints().await.contains("failed_eds_health") {
                return;
            }
            assert_eq!(scene.get("any").await.0, 200);
        }
    };
    timeout(PATIENCE, draining).await.expect("Envoy hears of it");
    for _ in 0..20 {
        let (status, pod) = scene.get("any").await;
        assert!(status == 200 && pod != "a", "{pod}");
    }
    // Its process is gone, and nobody has noticed: the next endpoint that was named has the request.
    scene.cluster.crash("b").await;
    for _ in 0..20 {
        assert_eq!(scene.get("any").await, (200, "c".into()));
    }
    scene.cluster.store.delete("b");
    scene.cluster.store.delete("c");
    scene.until(|status, body| status == 503 && body.contains("no pod is ready")).await;
    scene.cluster.store.set_ready("a", true);
    scene.until(|status, pod| status == 200 && pod == "a").await;
}

#[tokio::test]
async fn an_extension_that_misbehaves_is_what_its_route_says() {
    let scene = Scene::set(&["a"], ", extension: unruly.wasm, pickTimeout: 500ms").await;
    let ask = async |path: &str| scene.browser.get(&format!("{}/{path}", scene.envoy.url)).await;
    for misdeed in ["trap", "spin", "allocate"] {
        let (status, body) = ask(misdeed).await;
        assert!(status == 502 && body.contains("extension failed"), "{misdeed}: {status} {body}");
    }
    // The same, where the route goes on without it. The reload loses no request.
    let routes = scene.cluster.route("shop", "cluster: web, extension: unruly.wasm, pickTimeout: 500ms, failOpen: true");
    scene.cluster.write_text(&config(&scene.cluster, &scene.socket, &routes));
    let reload = async {
        scene.processor.engine().reload().await.unwrap();
    };
    let asking = async {
        loop {
            assert_eq!(ask("good").await.0, 200);
        }
    };
    tokio::select! {
        () = reload => {}
        () = asking => {}
    }
    for misdeed in ["trap", "spin", "allocate"] {
        let (status, body) = ask(misdeed).await;
        assert!(status == 200 && body.starts_with("a "), "{misdeed}: {status} {body}");
    }
    // A configuration that is damaged changes nothing.
    scene.cluster.write_text("listen: [");
    assert!(scene.processor.engine().reload().await.is_err());
    assert_eq!(ask("trap").await.0, 200);
}

#[tokio::test]
async fn without_a_processor_envoy_goes_on_as_it_is_told() {
    let open = CONFIG.replace("failure_mode_allow: false", "failure_mode_allow: true");
    let mut scene = Scene::set_with(&open, &["a"], "").await;
    scene.cluster.add("hidden").await;
    scene.cluster.store.set_ready("hidden", false);
    let hidden = format!("127.0.0.3:{}", scene.cluster.port);
    let known = async { while !scene.browser.get(&format!("{}/clusters", scene.envoy.admin)).await.1.contains(&hidden) {} };
    timeout(PATIENCE, known).await.expect("Envoy hears of it");
    let closed = Envoy::start(&scene.socket, CONFIG).await;
    // With a destination that the client chose.
    let (browser, cluster) = (scene.browser.clone(), scene.cluster);
    let ask = async |url: &str| {
        let request = http::Request::get(format!("{url}/cart")).header("x-gateway-destination-endpoint", &hidden);
        browser.send(request.body(http_body_util::Full::default()).unwrap()).await
    };
    for url in [&scene.envoy.url, &closed.url] {
        let (status, body) = ask(url).await;
        assert!(status == 200 && body.starts_with("a "), "{status} {body}");
    }
    scene.processor.stop().await;
    for _ in 0..5 {
        let (status, body) = ask(&scene.envoy.url).await;
        assert!(status == 200 && body.starts_with("a "), "{status} {body}");
        assert_eq!(ask(&closed.url).await.0, 500);
    }
    // It starts again at the same socket.
    let before = picked();
    let processor = EnvoyProcessor::start(&scene.file, compiler(), METRICS.clone()).await.unwrap();
    processor.engine().until_ready().await;
    let asking = async { while ask(&closed.url).await.0 != 200 {} };
    timeout(PATIENCE, asking).await.expect("it picks again");
    assert!(picked() > before);
    processor.stop().await;
    drop(cluster);
}

#[tokio::test]
async fn a_client_cannot_choose_its_endpoint() {
    let mut scene = Scene::set(&["a"], ", pathPrefix: /cart").await;
    scene.cluster.add("hidden").await;
    scene.cluster.store.set_ready("hidden", false);
    let hidden = format!("127.0.0.3:{}", scene.cluster.port);
    let known = async { while !scene.browser.get(&format!("{}/clusters", scene.envoy.admin)).await.1.contains(&hidden) {} };
    timeout(PATIENCE, known).await.expect("Envoy hears of it");
    for path in ["cart", "elsewhere"] {
        let request = http::Request::get(format!("{}/{path}", scene.envoy.url)).header("x-gateway-destination-endpoint", &hidden);
        let (status, body) = scene.browser.send(request.body(http_body_util::Full::default()).unwrap()).await;
        assert!(status == 200 && body.starts_with("a "), "{path}: {status} {body}");
    }
}

#[tokio::test]
async fn a_cluster_whose_route_is_removed_has_no_endpoints() {
    let scene = Scene::set(&["a"], "").await;
    assert_eq!(scene.get("any").await.0, 200);
    scene.cluster.write_text(&config(&scene.cluster, &scene.socket, &scene.cluster.route("shop", "cluster: other")));
    scene.processor.engine().reload().await.unwrap();
    let gone = async { while !scene.endpoints().await.is_empty() {} };
    timeout(PATIENCE, gone).await.expect("Envoy hears of it");
}
