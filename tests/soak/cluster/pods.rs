//! Changes pods of a real cluster.

use super::admin::Admin;
use fastrand::Rng;
use std::collections::BTreeMap;

/// The smallest number of pods at any time.
pub const FEWEST: usize = 30;
const MOST: usize = 60;

/// How many pods the node runs; all others stay unscheduled.
const RUNNING: usize = 3;

pub struct Pods<'a> {
    admin: &'a Admin,
    namespace: &'static str,
    random: Rng,
    /// The names of the unscheduled pods, and the number of the next one.
    names: Vec<String>,
    made: usize,
    done: BTreeMap<&'static str, usize>,
}

impl Pods<'_> {
    pub async fn make<'a>(admin: &'a Admin, namespace: &'static str, seed: u64) -> Pods<'a> {
        let (random, done) = (Rng::with_seed(seed), BTreeMap::new());
        let mut pods = Pods { admin, namespace, random, names: Vec::new(), made: 0, done };
        while pods.names.len() < FEWEST {
            let name = pods.next_name();
            admin.make_pod(namespace, &name).await;
            pods.names.push(name);
        }
        admin.make_deployment(namespace, RUNNING).await;
        pods
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        // A name anywhere in the sort order.
        format!("pod-{:04}-{}", self.random.usize(..10_000), self.made)
    }

    /// Makes one random change, which fails while the API server is away.
    pub async fn change(&mut self) {
        let (place, path) = (self.random.usize(..self.names.len()), format!("/api/v1/namespaces/{}/pods", self.namespace));
        let done = match self.random.u8(..16) {
            0..4 if self.names.len() < MOST => {
                let name = self.next_name();
                // If the answer is lost, the pod may exist anyway.
                let added = self.admin.try_pod(self.namespace, &name).await;
                if added.is_ok() {
                    self.names.push(name);
                }
                added.map(|()| "added")
            }
            4..8 if self.names.len() > FEWEST => {
                let name = self.names.swap_remove(place);
                let body = r#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}"#;
                let deleted = self.admin.ask("DELETE", &format!("{path}/{name}"), "application/json", body).await;
                deleted.map(|_| "deleted")
            }
            8 if self.random.u8(..16) == 0 => {
                let all = format!("{path}?labelSelector=app%3Dweb");
                self.admin.ask("DELETE", &all, "application/json", "").await.map(|_| "running pods deleted")
            }
            _ => {
                self.made += 1;
                let patch = format!(r#"{{"metadata":{{"labels":{{"soak":"{}"}}}}}}"#, self.made);
                let path = format!("{path}/{}", self.names[place]);
                self.admin.ask("PATCH", &path, "application/merge-patch+json", &patch).await.map(|_| "modified")
            }
        };
        *self.done.entry(done.unwrap_or("not changed")).or_default() += 1;
    }

    /// Removes the running pods, which change by themselves. Returns how many times each change was made.
    pub async fn rest(self) -> BTreeMap<&'static str, usize> {
        self.admin.remove_deployment(self.namespace).await;
        self.done
    }
}
