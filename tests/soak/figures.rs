//! Totals of what the server saw and of the host's metrics.

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::BTreeMap;
use testbed::Testbed;

/// Totals over the whole run. The raw values are drained each second: they would grow without end.
pub struct Figures {
    snapshotter: Snapshotter,
    requests: usize,
    connections: usize,
    counters: BTreeMap<String, u64>,
}

impl Figures {
    pub fn install() -> Figures {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        recorder.install().expect("the first recorder");
        Figures { snapshotter, requests: 0, connections: 0, counters: BTreeMap::new() }
    }

    pub fn take(&mut self, testbed: Option<&Testbed>) {
        if let Some(testbed) = testbed {
            self.requests += testbed.server.take_requests().len();
            self.connections = testbed.server.connections();
        }
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let labels: Vec<&str> = key.key().labels().map(|label| label.value()).collect();
            let name = format!("{}{{{}}}", key.key().name().trim_start_matches("incluster_"), labels.join(","));
            let count = match value {
                DebugValue::Counter(count) => count,
                // Counts how requests ended: some end badly after a good status.
                DebugValue::Histogram(times) if name.starts_with("request_seconds") => times.len() as u64,
                _ => continue,
            };
            *self.counters.entry(name).or_default() += count;
        }
    }

    /// Whether an answer, or a part of it, was late.
    pub fn has_timeouts(&self) -> bool {
        self.counters.keys().any(|name| name.contains("timeout"))
    }

    pub fn print(&self) {
        if self.connections > 0 {
            println!("the server saw {} requests on {} connections", self.requests, self.connections);
        }
        println!("metrics: {:?}", self.counters);
    }
}
