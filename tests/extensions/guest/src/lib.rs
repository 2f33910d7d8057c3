//! A well-behaved extension: picks an upstream among ready pods.

mod bindings {
    wit_bindgen::generate!({ path: "../wit" });
}

use incluster_extension::{Client, Error, Pod};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

struct Picker;

static CALLS: AtomicU32 = AtomicU32::new(0);

impl bindings::Guest for Picker {
    fn pick(namespace: String, selector: String, key: String) -> Result<String, String> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let list = || Client::in_cluster()?.pods(&namespace).labels(&selector).list();
        let pods = list().map_err(|error: Error| error.to_string())?;
        let ready: Vec<_> = pods.items.iter().filter(|pod| is_ready(pod)).collect();
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let place = hasher.finish().checked_rem(ready.len() as u64).ok_or("no pod is ready")?;
        let pod = ready[place as usize];
        Ok(format!("{} {}", pod.metadata.name, pod.status.pod_ips.first().map(String::as_str).unwrap_or_default()))
    }

    fn calls() -> u32 {
        CALLS.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn explode() {
        std::process::abort();
    }
}

fn is_ready(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|condition| condition.condition_type == "Ready" && condition.status == "True")
}

bindings::export!(Picker with_types_in bindings);
