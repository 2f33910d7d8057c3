//! What a pick costs among 10,000 endpoints on 200 routes, and what memory that takes: `./justw gateway-bench`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/support/mod.rs"]
mod support;

use gateway::{Config, Engine, Head, pick_for};
use incluster::Compiler;
use std::time::{Duration, Instant};
use support::{Cluster, METRICS};

const PODS: u32 = 10_000;
const ROUTES: usize = 200;
const PICKS: usize = 5000;

/// The private resident memory of this process, in MB.
fn private() -> f64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let fields = smaps.lines().filter_map(|line| line.strip_prefix("Private_"));
    fields.filter_map(|field| field.split_whitespace().nth(1)?.parse::<f64>().ok()).sum::<f64>() * 1024.0 / 1e6
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Cargo passes `--bench`. Run as a test, this would take minutes and test nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let cluster = Cluster::start().await;
    for pod in 0..PODS {
        let [_, a, b, c] = pod.to_be_bytes();
        cluster.store.add_ready(&format!("web-{pod:05}"), &format!("10.{a}.{b}.{c}"));
    }
    let routes: String = (0..ROUTES)
        .map(|route| cluster.route("many", &format!("pathPrefix: /{route}, extension: sticky.wasm, cluster: web")))
        .collect();
    let file = cluster.write("many", &routes);
    let cache = file.with_file_name("cache");
    let text = std::fs::read_to_string(&file).expect("a file");
    // A list of all these pods does not fit into the tests' own limits, nor does a warm sandbox for each route into the default ones.
    let warm = text.replace(
        "    limits: {call: {memory: 32Mi, cpuTime: 100ms}}",
        "    limits: {tenant: {instances: 250}}\n    reuse: {kept: 1, calls: 1000000}",
    );
    let file = cluster.write_text(&format!("cache: {}\n{warm}", cache.display()));
    let before = private();
    let begun = Instant::now();
    let config = Config::read(&file).expect("a configuration");
    let engine = Engine::start(&file, config, Compiler::in_process(), METRICS.clone()).await.expect("an engine");
    engine.until_ready().await;
    let watches = cluster.testbed.server.requests().len();
    println!("{PODS} pods, {ROUTES} routes: ready after {:.1?}, {watches} watches", begun.elapsed());
    let routes = engine.routes();
    let pick = async |number: usize| {
        let route = routes.find("", &format!("/{}", number % ROUTES)).expect("a route");
        let head = Head {
            method: "GET".into(),
            authority: String::new(),
            path_and_query: "/".into(),
            headers: vec![("x-session".into(), number.to_string().into_bytes())],
            client: "10.0.0.1".into(),
        };
        let begun = Instant::now();
        let picked = pick_for(route, head, Duration::from_secs(5)).await;
        picked.expect("a pod");
        begun.elapsed()
    };
    for (name, picks) in [("the first pick of each route, which takes the list", ROUTES), ("a later pick", PICKS)] {
        let mut times = Vec::new();
        for number in 0..picks {
            times.push(pick(number).await);
        }
        times.sort_unstable();
        println!("{name}: median {:.1?}, p99 {:.1?}", times[picks / 2], times[picks * 99 / 100]);
    }
    println!(
        "memory: {:.0} MB before, with the test double of the API server, and {:.0} MB more now",
        before,
        private() - before
    );
    engine.stop().await;
}
