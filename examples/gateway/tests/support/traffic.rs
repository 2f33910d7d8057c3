//! Continuous requests, and what became of them, for the demos.

use crate::support::Browser;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long requests are counted before they are printed.
const STEP: Duration = Duration::from_secs(2);

/// How many clients ask, one request after the other, for 16 sessions each.
const CLIENTS: usize = 8;

/// What became of requests since the last step.
#[derive(Default)]
struct Tally {
    by_pod: BTreeMap<String, usize>,
    failed: Vec<String>,
    micros: Vec<u128>,
}

/// Clients that ask until they are stopped.
pub struct Traffic {
    tally: Arc<Mutex<Tally>>,
    is_over: Arc<AtomicBool>,
    clients: JoinSet<()>,
    failed: usize,
}

impl Traffic {
    /// Begins to ask for this URL.
    pub fn start(url: &str) -> Traffic {
        let (tally, is_over) = (Arc::new(Mutex::new(Tally::default())), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (tally, is_over, url) = (tally.clone(), is_over.clone(), url.to_string());
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
        Traffic { tally, is_over, clients, failed: 0 }
    }

    /// Counts for a while, and prints what became of the requests after this event.
    pub async fn tell(&mut self, what: &str) {
        tokio::time::sleep(STEP).await;
        let mut tally = std::mem::take(&mut *self.tally.lock().expect("no panic"));
        tally.micros.sort_unstable();
        let at = |share: usize| tally.micros.get(tally.micros.len() * share / 100).copied().unwrap_or_default();
        let by_pod: Vec<_> = tally.by_pod.iter().map(|(pod, count)| format!("{pod} {count}")).collect();
        println!(
            "{what:<58} {:>6} served, {:>2} failed, median {:>4} µs, p99 {:>5} µs   {}",
            tally.micros.len(),
            tally.failed.len(),
            at(50),
            at(99),
            by_pod.join(", ")
        );
        for failed in tally.failed.iter().take(3) {
            println!("    failed: {failed}");
        }
        self.failed += tally.failed.len();
    }

    /// Ends the clients. Returns how many requests have failed.
    pub async fn stop(mut self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.failed
    }
}

/// Sends requests to a misbehaving extension, and prints the answers.
pub async fn provoke(url: &str) {
    let browser = Browser::new();
    for path in ["spin", "trap", "allocate", "elsewhere", "secrets"] {
        let (status, body) = browser.get(&format!("{url}/{path}")).await;
        let line = body.lines().next().unwrap_or_default();
        println!("  beside it /hostile/{path}: {status} {}", line.chars().take(90).collect::<String>());
    }
}
