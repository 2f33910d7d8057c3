//! Changes pods and commits faults of the server, at random.

use crate::faults::{self, Deck, Spell};
use crate::ledger::Ledger;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testbed::{Faults, PodStore, TOKEN, Testbed};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The number of pods at the beginning.
pub const PODS: usize = 200;

/// The store always has between `FEWEST` and `MOST` pods.
const FEWEST: usize = 150;
const MOST: usize = 300;

/// How often a pod changes.
const PACE: Duration = Duration::from_millis(10);

/// On average, one change in this many comes with a fault.
const FAULTS: u8 = 10;

/// How long a run must be for each kind of fault to be required.
pub const ALL: Duration = Duration::from_secs(60);

pub struct Chaos {
    pub testbed: Arc<Testbed>,
    pub store: PodStore,
    pub faults: Faults,
    pub ledger: Arc<Ledger>,
    pub random: Rng,
    /// The names of the current pods, and the number of the next pod.
    pods: Vec<String>,
    made: usize,
    pub token: String,
    tokens: u32,
    pub ca: String,
    pub deck: Deck,
    pub spells: Vec<Spell>,
    pub done: Done,
}

/// What was done, and how many times.
#[derive(Default)]
pub struct Done(BTreeMap<&'static str, usize>);

impl Done {
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn print(&self) {
        println!("chaos: {:?}", self.0);
    }

    /// Reports the faults that a run of this length should have had and did not.
    pub fn missing(&self, time: Duration) -> Vec<String> {
        let missing = faults::names().filter(|name| time >= ALL && !self.0.contains_key(name));
        missing.map(|name| format!("in {} s this fault never occurred: {name}", time.as_secs())).collect()
    }
}

impl Chaos {
    pub fn new(testbed: &Arc<Testbed>, store: &PodStore, faults: &Faults, ledger: &Arc<Ledger>, seed: u64) -> Chaos {
        Chaos {
            testbed: testbed.clone(),
            store: store.clone(),
            faults: faults.clone(),
            ledger: ledger.clone(),
            random: Rng::with_seed(seed),
            pods: store.state().into_keys().collect(),
            made: PODS,
            token: TOKEN.into(),
            tokens: 0,
            ca: testbed.ca.pem(),
            deck: Deck::default(),
            spells: Vec::new(),
            done: Done::default(),
        }
    }

    /// Changes pods and commits faults for that time, then ends all lasting faults.
    pub async fn run(mut self, time: Duration) -> Done {
        let end = Instant::now() + time;
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < end {
            pace.tick().await;
            self.change_a_pod();
            self.end_spells(false).await;
            if self.random.u8(..FAULTS) == 0 {
                self.commit_a_fault().await;
            }
        }
        self.end_spells(true).await;
        // A frozen connection would stay silent for longer than the callers wait.
        self.testbed.server.hang_up();
        self.done
    }

    pub fn next_token(&mut self) -> String {
        self.tokens += 1;
        format!("{TOKEN}{}", self.tokens)
    }

    fn change_a_pod(&mut self) {
        let place = self.random.usize(..self.pods.len());
        match self.random.u8(..4) {
            0 if self.pods.len() < MOST => {
                // A name anywhere in the sort order.
                let name = format!("web-{:05}-{}", self.random.usize(..PODS), self.made);
                self.made += 1;
                self.store.add(&name);
                self.pods.push(name);
                self.done.count("pods added");
            }
            1 if self.pods.len() > FEWEST => {
                self.store.delete(&self.pods.swap_remove(place));
                self.done.count("pods deleted");
            }
            2 => {
                let phase = ["Pending", "Running", "Succeeded", "Failed"][self.random.usize(..4)];
                self.store.set_phase(&self.pods[place], phase);
                self.done.count("pods modified");
            }
            _ => {
                self.store.modify(&self.pods[place], "soak", &self.made.to_string());
                self.done.count("pods modified");
            }
        }
    }
}
