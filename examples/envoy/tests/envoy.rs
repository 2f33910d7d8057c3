//! A real Envoy, whose requests go where the processor says, to pods that come and go: `./justw test-envoy`.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod scene;

use incluster_envoy::EnvoyProcessor;
use scene::support::{METRICS, compiler};
use scene::{CONFIG, Envoy, PATIENCE, Scene, config, picked};
use std::collections::BTreeSet;
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
