//! Swaps the volume a thousand times while callers list. No call may fail: each swap leaves a complete volume.

use crate::tenant;
use incluster::types::ListOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testbed::{PodStore, TOKEN, Testbed};
use tokio::task::JoinSet;

const SWAPS: usize = 1000;
const CALLERS: usize = 8;

pub async fn run() -> Vec<String> {
    let testbed = Arc::new(Testbed::serving(PodStore::recorded().handler()).await);
    let tenant = tenant(&testbed);
    let swapping = Arc::new(AtomicBool::new(true));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (tenant, swapping) = (tenant.clone(), swapping.clone());
        callers.spawn(async move {
            let (mut calls, mut problems) = (0, Vec::new());
            while swapping.load(Ordering::Relaxed) {
                calls += 1;
                let listed = tenant.list_namespaced_pods("shop", &ListOptions::ALL).await;
                problems.extend(listed.err().map(|error| format!("while the volume was swapped: {error}")));
            }
            (calls, problems)
        });
    }
    for swap in 1..=SWAPS {
        let text = format!("{TOKEN}\n");
        testbed.volume.set_many(&[("token", text.as_bytes()), ("ca.crt", testbed.ca.pem().as_bytes())]);
        // A caller has read the volume since the last swap.
        testbed.server.until_requests(swap).await;
    }
    swapping.store(false, Ordering::Relaxed);
    let (mut calls, mut problems) = (0, Vec::new());
    while let Some(ended) = callers.join_next().await {
        let (more, failed) = ended.expect("a caller");
        calls += more;
        problems.extend(failed);
    }
    println!("{SWAPS} swaps of the volume during {calls} calls: {} failed", problems.len());
    problems
}
