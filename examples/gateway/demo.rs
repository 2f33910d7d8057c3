//! `just gateway-demo`: sends requests through the gateway while pods come, go and turn unready, watches end, an extension misbehaves
//! and the configuration is damaged and mended. Prints what became of the requests.
#![expect(clippy::expect_used, reason = "a demo that cannot go on has failed")]

#[path = "tests/support/mod.rs"]
mod support;
#[path = "tests/support/traffic.rs"]
mod traffic;

use std::error::Error;
use std::process::ExitCode;
use support::{Browser, Cluster};
use traffic::{Traffic, provoke};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let mut cluster = Cluster::start().await;
    for pod in ["web-1", "web-2", "web-3"] {
        cluster.add(pod).await;
    }
    let good = cluster.route("shop", "pathPrefix: /shop, extension: sticky.wasm");
    let hostile = cluster.route("shop", "pathPrefix: /hostile, extension: unruly.wasm");
    let gateway = support::started(&cluster.write("shop", &(good.clone() + &hostile))).await;
    let url = format!("http://{}", gateway.address);
    println!("API server {}; gateway {url}; status page http://{}\n", cluster.testbed.server.url(), gateway.status_address);

    let mut traffic = Traffic::start(&format!("{url}/shop"));
    traffic.tell("three pods").await;
    cluster.add("web-4").await;
    traffic.tell("web-4 has come").await;
    cluster.store.set_ready("web-1", false);
    traffic.tell("web-1 is not ready, but still there").await;
    cluster.store.delete("web-1");
    traffic.tell("web-1 was deleted").await;
    cluster.store.drop_watches();
    traffic.tell("the API server closed all watches").await;
    let hostile = format!("{url}/hostile");
    tokio::join!(provoke(&hostile), traffic.tell("an extension spins, traps, allocates, lies, and asks"));
    cluster.write("shop", "  - {tenant: nobody}");
    traffic.tell("the configuration was damaged").await;
    cluster.write("shop", &good);
    traffic.tell("it was mended, and has no route /hostile").await;
    let (gone, _) = Browser::new().get(&format!("{hostile}/")).await;
    println!("  /hostile answers {gone}");

    let failed = traffic.stop().await;
    gateway.stop().await;
    println!("\n{failed} requests failed");
    Ok(if failed == 0 && gone == 404 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
