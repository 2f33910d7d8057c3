//! `just gateway-demo`: requests through the gateway, while pods come, go and turn unready, watches end, an extension misbehaves
//! and the configuration is damaged and mended; and what became of them.
#![expect(clippy::expect_used, reason = "a demo that cannot go on has failed")]

#[path = "tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Browser, Cluster};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What became of requests since it was last told.
#[derive(Default)]
struct Tally {
    by_pod: BTreeMap<String, usize>,
    failed: Vec<String>,
    micros: Vec<u128>,
}

impl Tally {
    fn tell(&mut self, what: &str) -> usize {
        self.micros.sort_unstable();
        let at = |share: usize| self.micros.get(self.micros.len() * share / 100).copied().unwrap_or_default();
        let by_pod: Vec<_> = self.by_pod.iter().map(|(pod, count)| format!("{pod} {count}")).collect();
        println!(
            "{what:<58} {:>6} served, {:>2} failed, median {:>4} µs, p99 {:>5} µs   {}",
            self.micros.len(),
            self.failed.len(),
            at(50),
            at(99),
            by_pod.join(", ")
        );
        for failed in self.failed.iter().take(3) {
            println!("    failed: {failed}");
        }
        let failed = self.failed.len();
        *self = Tally::default();
        failed
    }
}

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

    let (tally, is_over) = (Arc::new(Mutex::new(Tally::default())), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (tally, is_over, url) = (tally.clone(), is_over.clone(), format!("{url}/shop"));
        clients.spawn(async move {
            let browser = Browser::new();
            for request in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let begun = Instant::now();
                let (status, body) = browser.get_as(&format!("{client}-{}", request % 16), &url).await;
                let tally = &mut *tally.lock().expect("no panic");
                match status {
                    200 => {
                        tally.micros.push(begun.elapsed().as_micros());
                        *tally.by_pod.entry(body.split(' ').next().unwrap_or_default().into()).or_default() += 1;
                    }
                    _ => tally.failed.push(format!("{status} {}", body.trim())),
                }
            }
        });
    }
    let mut failed = 0;
    let mut tell = async |what: &str| {
        sleep(Duration::from_secs(2)).await;
        failed += tally.lock().expect("no panic").tell(what);
    };
    tell("three pods").await;
    cluster.add("web-4").await;
    tell("web-4 has come").await;
    cluster.store.set_ready("web-1", false);
    tell("web-1 is not ready, but still there").await;
    cluster.store.delete("web-1");
    tell("web-1 was deleted").await;
    cluster.store.drop_watches();
    tell("the API server closed all watches").await;
    let browser = Browser::new();
    let attacks = async {
        for path in ["spin", "trap", "allocate", "elsewhere", "secrets"] {
            let (status, body) = browser.get(&format!("{url}/hostile/{path}")).await;
            println!(
                "  beside it /hostile/{path}: {status} {}",
                body.lines().next().unwrap_or_default().get(..90).unwrap_or(&body).trim()
            );
        }
    };
    tokio::join!(attacks, tell("an extension spins, traps, allocates, lies, and asks"));
    cluster.write("shop", "  - {tenant: nobody}");
    tell("the configuration was damaged").await;
    cluster.write("shop", &good);
    tell("it was mended, and has no route /hostile").await;
    let (gone, _) = browser.get(&format!("{url}/hostile/")).await;
    println!("  /hostile answers {gone}");

    is_over.store(true, Ordering::Relaxed);
    while clients.join_next().await.is_some() {}
    gateway.stop().await;
    println!("\n{failed} requests failed");
    Ok(if failed == 0 && gone == 404 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
