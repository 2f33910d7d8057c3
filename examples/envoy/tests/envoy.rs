//! Tests of the processor with a real Envoy, and pods that come and go: `./justw test-envoy`.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod scene;

use gateway::MOST_TRIES;
use incluster_envoy::EnvoyProcessor;
use scene::support::{Browser, Cluster, METRICS, compiler};
use scene::{CONFIG, Envoy, PATIENCE, Program, Scene, config, strict, with_two_processors};
use std::collections::BTreeSet;
use std::path::Path;
use tokio::time::timeout;

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
    // The pod is no longer ready, but still answers an Envoy that does not know that yet.
    scene.cluster.store.set_ready("a", false);
    let draining = async {
        loop {
            if scene.endpoints().await.contains("failed_eds_health") {
                return;
            }
            assert_eq!(scene.get("any").await.0, 200);
        }
    };
    timeout(PATIENCE, draining).await.expect("Envoy notices");
    for _ in 0..20 {
        let (status, pod) = scene.get("any").await;
        assert!(status == 200 && pod != "a", "{pod}");
    }
    // The pod's process is gone, and nobody has noticed: its requests go to the next named endpoint.
    scene.cluster.crash("b").await;
    // Many requests at once, because Envoy limits concurrent retries.
    let answers = futures_util::future::join_all((0..64).map(|_| scene.get("any"))).await;
    assert!(answers.iter().all(|answer| *answer == (200, "c".into())), "{answers:?}");
    scene.cluster.store.delete("b");
    scene.cluster.store.delete("c");
    scene.until(|status, body| status == 503 && body.contains("no pod is ready")).await;
    scene.cluster.store.set_ready("a", true);
    scene.until(|status, pod| status == 200 && pod == "a").await;
}

#[tokio::test]
async fn a_route_answers_502_or_fails_open_when_its_extension_misbehaves() {
    let scene = Scene::set(&["a"], ", extension: unruly.wasm, pickTimeout: 500ms").await;
    let ask = async |path: &str| scene.browser.get(&format!("{}/{path}", scene.envoy.url)).await;
    for misdeed in ["trap", "spin", "allocate"] {
        let (status, body) = ask(misdeed).await;
        assert!(status == 502 && body.contains("extension failed"), "{misdeed}: {status} {body}");
    }
    // With `failOpen`, the route goes on without its extension. The reload loses no request.
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
async fn an_extension_sets_the_headers_that_its_route_permits() {
    let more = ", extension: unruly.wasm, setHeaders: [x-tier], settings: {tier: gold}";
    let scene = Scene::set(&["a"], more).await;
    let ask = async |path: &str| {
        let request = http::Request::get(format!("{}/{path}", scene.envoy.url)).header("x-tier", "mine");
        scene.browser.send(request.body(http_body_util::Full::default()).unwrap()).await
    };
    let (status, body) = ask("permitted").await;
    assert!(status == 200 && body.ends_with(" 0first+second"), "{status} {body}");
    let (status, body) = ask("good").await;
    assert!(status == 200 && body.ends_with(" 0"), "the client's own is removed: {status} {body}");
    for path in ["unpermitted", "malformed", "many"] {
        assert_eq!(ask(path).await.0, 502, "{path}");
    }
    assert!(ask("settings").await.1.contains("gold"));
}

/// Where an extension decides who may reach what, nothing else picks a pod.
#[tokio::test]
async fn a_strict_cluster_sends_requests_to_picked_pods_alone() {
    let mut scene = Scene::set_with(&strict(CONFIG), &["a", "b"], ", extension: unruly.wasm").await;
    let open = Envoy::start(&scene.socket, CONFIG).await;
    let first = async |envoy: &Envoy| scene.browser.get(&format!("{}/first", envoy.url)).await;
    assert!(first(&scene.envoy).await.1.starts_with("a ") && first(&open).await.1.starts_with("a "));
    // The one pod that is picked is gone, and nobody has noticed.
    scene.cluster.crash("a").await;
    let first = async |envoy: &Envoy| scene.browser.get(&format!("{}/first", envoy.url)).await;
    assert_eq!(first(&scene.envoy).await.0, 503);
    assert!(first(&open).await.1.starts_with("b "), "where Envoy may pick, it does");
}

#[tokio::test]
async fn picked_pods_are_tried_in_order() {
    let mut scene = Scene::set_with(&strict(CONFIG), &["a", "b", "c", "d"], ", extension: sticky.wasm").await;
    let mut order = Vec::new();
    for _ in 0..MOST_TRIES {
        let (status, pod) = scene.get("session").await;
        assert_eq!(status, 200, "{pod}");
        assert!(!order.contains(&pod));
        scene.cluster.crash(&pod).await;
        order.push(pod);
    }
    assert_eq!(scene.get("session").await.0, 503);
}

#[tokio::test]
async fn a_port_that_changes_is_told_to_envoy() {
    let scene = Scene::set(&["a"], "").await;
    let port = scene.cluster.port;
    let routes = scene.cluster.route("shop", "cluster: web").replace(&format!("port: {port}"), "port: 9");
    scene.cluster.write_text(&config(&scene.cluster, &scene.socket, &routes));
    scene.processor.engine().reload().await.unwrap();
    let told =
        async { while !scene.browser.get(&format!("{}/clusters", scene.envoy.admin)).await.1.contains("127.0.0.2:9::") {} };
    timeout(PATIENCE, told).await.expect("Envoy has the new port");
}

#[tokio::test]
async fn what_was_known_serves_while_the_api_server_is_away() {
    let scene = Scene::set(&["a"], ", extension: sticky.wasm").await;
    scene.cluster.testbed.server.leave();
    let routes = scene.processor.engine().routes();
    let stale = async {
        while routes.routes()[0].pods.problem().is_none() {
            tokio::task::yield_now().await;
        }
    };
    let asking = async {
        loop {
            assert_eq!(scene.get("any").await, (200, "a".into()));
        }
    };
    tokio::select! {
        () = asking => {}
        stale = timeout(PATIENCE, stale) => stale.expect("it says so"),
    }
    assert_eq!(scene.get("any").await, (200, "a".into()));
}

/// Two processors end and start again, one after the other, as in a rolling update.
#[tokio::test]
async fn processors_are_replaced_without_a_failed_request() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let dir = tempfile::TempDir::new().unwrap();
    let sockets = ["first", "second"].map(|name| dir.path().join(name));
    let routes = cluster.route("shop", "cluster: web, extension: sticky.wasm");
    let file = |socket: &Path| {
        let written = cluster.write_text(&format!("drainTime: 2s\n{}", config(&cluster, socket, &routes)));
        let own = written.with_file_name(socket.with_extension("yaml").file_name().unwrap());
        std::fs::rename(written, &own).unwrap();
        own
    };
    let files = sockets.each_ref().map(|socket| file(socket));
    let mut running = Vec::new();
    for file in &files {
        running.push(Program::start(file).await);
    }
    let envoy = Envoy::start(&sockets[0], &with_two_processors(CONFIG, &sockets[1])).await;
    let browser = Browser::new();
    let healthy = async |count: usize| {
        let is_it = async {
            loop {
                let (_, text) = browser.get(&format!("{}/clusters", envoy.admin)).await;
                let mut lines = text.lines().filter(|line| line.starts_with("incluster::") && line.contains("::health_flags::"));
                if lines.by_ref().filter(|line| line.ends_with("::healthy")).count() == count {
                    return;
                }
            }
        };
        timeout(PATIENCE, is_it).await.expect("Envoy knows which processors are healthy");
    };
    let replacing = async {
        healthy(2).await;
        for (running, file) in running.iter_mut().zip(&files) {
            running.stop().await;
            healthy(1).await;
            *running = Program::start(file).await;
            healthy(2).await;
        }
    };
    let mut asked = 0;
    let asking = async {
        loop {
            let (status, body) = browser.get(&format!("{}/cart", envoy.url)).await;
            assert_eq!(status, 200, "{body}");
            asked += 1;
        }
    };
    tokio::select! {
        () = replacing => {}
        () = asking => {}
    }
    assert!(asked > 0);
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
    // The client names a destination itself.
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
    // The processor starts again at the same socket.
    let processor = EnvoyProcessor::start(&scene.file, compiler(), METRICS.clone()).await.unwrap();
    processor.engine().until_ready().await;
    let asking = async { while ask(&closed.url).await.0 != 200 {} };
    timeout(PATIENCE, asking).await.expect("it picks again");
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
