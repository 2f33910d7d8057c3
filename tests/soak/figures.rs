//! What the server saw, and what the host says of itself by `metrics`.

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::BTreeMap;
use testbed::Testbed;

/// Sums over the whole run. What is summed up is taken away second by second: it would be all that grows.
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

    pub fn take(&mut self, testbed: &Testbed) {
        self.requests += testbed.server.take_requests().len();
        self.connections = testbed.server.connections();
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            if let DebugValue::Counter(count) = value {
                let labels: Vec<&str> = key.key().labels().map(|label| label.value()).collect();
                let name = format!("{}{{{}}}", key.key().name().trim_start_matches("incluster_"), labels.join(","));
                *self.counters.entry(name).or_default() += count;
            }
        }
    }

    pub fn print(&self) {
        println!("the server saw {} requests on {} connections", self.requests, self.connections);
        println!("metrics: {:?}", self.counters);
    }
}
