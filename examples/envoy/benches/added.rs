//! Measures what a decision adds to a request through Envoy: `./justw envoy-bench`, with `ENVOY` and, for JavaScript, `LANGUAGES`.
//! The same requests take several routes in turn: one whose processor answers at once, and others whose extension picks
//! among 100 pods.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(dead_code, reason = "it uses a part of the scene")]

#[path = "../tests/scene/mod.rs"]
mod scene;

use incluster_envoy::EnvoyProcessor;
use scene::support::{Browser, Cluster, METRICS, compiler};
use scene::{CONFIG, Envoy};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const REQUESTS: usize = 3000;
const PODS: usize = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Cargo passes `--bench`. Run as a test, this would take minutes and test nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut cluster = Cluster::start().await;
    for pod in 0..PODS {
        cluster.add(&format!("web-{pod}")).await;
    }
    let mut names = vec!["none", "rust-fresh", "rust-warm"];
    if let Some(languages) = std::env::var_os("LANGUAGES") {
        cluster.put("js.wasm", &std::fs::read(PathBuf::from(languages).join("javascript-picker.wasm")).unwrap());
        names.extend(["js-fresh", "js-warm"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("processor.sock");
    let (server, account) = (cluster.testbed.server.url(), cluster.testbed.volume.path().display().to_string());
    let tenant = |name: &str, reuse: &str| {
        format!(
            "  {name}:\n    server: {server}\n    serviceAccountDir: {account}\n    policy: {{rules: [{{verbs: [watch], apiGroups: [\"\"], resources: \
             [pods], namespaces: [shop]}}]}}\n{reuse}"
        )
    };
    let route = |name: &&str| {
        let extension = match name.split('-').next().unwrap() {
            "none" => "",
            "rust" => ", extension: sticky.wasm",
            _ => ", extension: js.wasm",
        };
        let tenant = if name.ends_with("warm") { "warm" } else { "fresh" };
        format!(
            "  - {{tenant: {tenant}, namespace: shop, port: {}, pathPrefix: /{name}{extension}, cluster: {tenant}}}\n",
            cluster.port
        )
    };
    let text = format!(
        "listen: unix:{}\nstatus: 127.0.0.1:0\ntenants:\n{}{}routes:\n{}",
        socket.display(),
        tenant("fresh", ""),
        tenant("warm", "    reuse: {kept: 8, calls: 100000}\n"),
        names.iter().map(route).collect::<String>(),
    );
    let file = cluster.write_text(&text);
    let processor = EnvoyProcessor::start(&file, compiler(), METRICS.clone()).await.unwrap();
    processor.engine().until_ready().await;
    // Both clusters have the same pods.
    let envoy =
        Envoy::start(&socket, &CONFIG.replace("cluster: web", "cluster: fresh").replace("name: web", "name: fresh")).await;
    let browser = Browser::new();
    let mut times = vec![Vec::new(); names.len()];
    for request in 0..REQUESTS {
        for (name, times) in names.iter().zip(&mut times) {
            let begun = Instant::now();
            let (status, body) = browser.get_as(&format!("session-{}", request % 100), &format!("{}/{name}", envoy.url)).await;
            times.push(begun.elapsed());
            assert_eq!(status, 200, "{name}: {body}");
        }
    }
    let mut medians: Vec<(Duration, Duration)> = Vec::new();
    for (name, times) in names.iter().zip(&mut times) {
        times.sort_unstable();
        let (median, p99) = (times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
        medians.push((median, p99));
        println!("{name:<12} median {median:>9.1?}, p99 {p99:>9.1?}, added {:>9.1?}", median.saturating_sub(medians[0].0));
    }
    processor.stop().await;
}
