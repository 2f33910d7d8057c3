//! `just envoy-demo`: sends requests through a stock Envoy while pods come, go and turn unready, the API server is unavailable, an extension
//! misbehaves, and the processor is replaced by another. Prints what became of the requests.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a demo that cannot go on has failed")]
#![allow(dead_code, reason = "it uses a part of the tests' scene")]

#[path = "tests/scene/mod.rs"]
mod scene;
#[path = "../gateway/tests/support/traffic.rs"]
mod traffic;

use incluster_envoy::EnvoyProcessor;
use scene::{CONFIG, Envoy, config, with_two_processors};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use support::{Cluster, METRICS, compiler};
use traffic::{Traffic, provoke};

use scene::support;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let mut cluster = Cluster::start().await;
    for pod in ["web-1", "web-2", "web-3"] {
        cluster.add(pod).await;
    }
    let dir = tempfile::tempdir()?;
    let sockets = ["first", "second"].map(|name| dir.path().join(name));
    let good = cluster.route("shop", "pathPrefix: /shop, cluster: web, extension: sticky.wasm");
    let hostile = cluster.route("shop", "pathPrefix: /hostile, cluster: web, extension: unruly.wasm");
    let write = |cluster: &Cluster, socket: &Path, routes: &str| {
        cluster.write_text(&format!("drainTime: 1s\n{}", config(cluster, socket, routes)))
    };
    // Each reads the file when it starts; the second one follows its changes.
    let first = EnvoyProcessor::start(&write(&cluster, &sockets[0], &good), compiler(), METRICS.clone()).await?;
    first.engine().until_ready().await;
    let both = good.clone() + &hostile;
    let second = EnvoyProcessor::start(&write(&cluster, &sockets[1], &both), compiler(), METRICS.clone()).await?;
    second.engine().until_ready().await;
    first.engine().reload().await?;
    let envoy = Envoy::start(&sockets[0], &with_two_processors(CONFIG, &sockets[1])).await;
    println!(
        "API server {}; Envoy {}, its admin page {}; two processors, status page http://{}\n",
        cluster.testbed.server.url(),
        envoy.url,
        envoy.admin,
        second.status_address
    );

    let mut traffic = Traffic::start(&format!("{}/shop", envoy.url));
    traffic.tell("three pods").await;
    cluster.add("web-4").await;
    traffic.tell("web-4 has come").await;
    cluster.store.set_ready("web-1", false);
    traffic.tell("web-1 is not ready, but still there").await;
    cluster.crash("web-2").await;
    traffic.tell("web-2 has crashed, and nobody has noticed").await;
    cluster.store.delete("web-2");
    traffic.tell("web-2 was deleted").await;
    cluster.testbed.server.leave();
    traffic.tell("the API server is unavailable").await;
    cluster.testbed.server.come_back();
    traffic.tell("the API server is back").await;
    let hostile = format!("{}/hostile", envoy.url);
    tokio::join!(provoke(&hostile), traffic.tell("an extension spins, traps, allocates, lies, and asks"));
    let stopping = async {
        first.engine().drain().await;
        first.stop().await;
    };
    tokio::join!(stopping, traffic.tell("one of the two processors has drained and ended"));
    write(&cluster, &sockets[1], "  - {tenant: nobody}");
    traffic.tell("the configuration was damaged").await;

    let failed = traffic.stop().await;
    second.stop().await;
    println!("\n{failed} requests failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
