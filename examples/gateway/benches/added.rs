//! Measures what an extension adds to a proxied request: `./justw gateway-bench`. The same requests take three routes in turn: without
//! an extension, with one in a fresh sandbox each, and with one in sandboxes that are used again.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{Browser, Cluster};

const REQUESTS: usize = 5000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Cargo passes `--bench`. Run as a test, this would take minutes and test nothing.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut cluster = Cluster::start().await;
    for pod in 0..10 {
        cluster.add(&format!("web-{pod}")).await;
    }
    let port = cluster.port;
    let (server, dir) = (cluster.testbed.server.url(), cluster.testbed.volume.path().display().to_string());
    let tenant = |name: &str, reuse: &str| {
        format!(
            "  {name}:\n    server: {server}\n    serviceAccountDir: {dir}\n    policy: {{rules: [{{verbs: [watch], apiGroups: \
             [\"\"], resources: [pods], namespaces: [shop]}}]}}\n{reuse}"
        )
    };
    let route = |tenant: &str, path: &str, more: &str| {
        format!("  - {{tenant: {tenant}, namespace: shop, port: {port}, pathPrefix: {path}{more}}}\n")
    };
    let text = [
        "listen: 127.0.0.1:0\nstatus: 127.0.0.1:0\ntenants:\n".to_string(),
        tenant("fresh", ""),
        tenant("warm", "    reuse: {kept: 8, calls: 100000, idleTime: 1m}\n"),
        "routes:\n".into(),
        route("fresh", "/none", ""),
        route("fresh", "/fresh", ", extension: sticky.wasm"),
        route("warm", "/warm", ", extension: sticky.wasm"),
    ]
    .concat();
    let gateway = support::started(&cluster.write_text(&text)).await;
    let browser = Browser::new();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for request in 0..REQUESTS {
        for (path, times) in ["none", "fresh", "warm"].iter().zip(&mut times) {
            let url = format!("http://{}/{path}", gateway.address);
            let begun = Instant::now();
            let (status, body) = browser.get_as(&format!("session-{}", request % 100), &url).await;
            times.push(begun.elapsed());
            assert_eq!(status, 200, "{body}");
        }
    }
    let mut medians = Vec::new();
    for (name, times) in ["no extension", "a fresh sandbox", "warm sandboxes"].iter().zip(&mut times) {
        times.sort_unstable();
        let (median, p99) = (times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
        medians.push(median);
        println!("{name:<16} median {median:>9.1?}, p99 {p99:>9.1?}");
    }
    println!(
        "added at the median: fresh {:.1?}, warm {:.1?}",
        medians[1].saturating_sub(medians[0]),
        medians[2].saturating_sub(medians[0])
    );
}
