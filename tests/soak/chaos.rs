//! Everything that can go wrong, at random.

use crate::ledger::{Deed, Ledger};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testbed::{Answer, Ca, PodStore, TOKEN, Testbed};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// So many pods there are at first.
pub const PODS: usize = 200;

/// The store keeps between so many and so many.
const FEWEST: usize = 150;
const MOST: usize = 300;

/// How often a pod changes.
const PACE: Duration = Duration::from_millis(10);

/// One change in so many comes with a fault.
const FAULTS: u8 = 10;

/// How long a token stays damaged.
const DAMAGE: Duration = Duration::from_millis(5);

/// How long to wait for a connection that is made anew.
const RECONNECTION: Duration = Duration::from_secs(1);

pub struct Chaos {
    testbed: Arc<Testbed>,
    store: PodStore,
    ledger: Arc<Ledger>,
    random: Rng,
    /// The names of the pods that there are, and the number of the next.
    pods: Vec<String>,
    made: usize,
    token: String,
    tokens: u32,
    ca: String,
    done: Done,
}

/// What was done, and how often.
#[derive(Default)]
pub struct Done(BTreeMap<&'static str, usize>);

impl Done {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn print(&self) {
        println!("chaos: {:?}", self.0);
    }
}

impl Chaos {
    pub fn new(testbed: &Arc<Testbed>, store: &PodStore, ledger: &Arc<Ledger>, seed: u64) -> Chaos {
        Chaos {
            testbed: testbed.clone(),
            store: store.clone(),
            ledger: ledger.clone(),
            random: Rng::with_seed(seed),
            pods: store.state().into_keys().collect(),
            made: PODS,
            token: TOKEN.into(),
            tokens: 0,
            ca: testbed.ca.pem(),
            done: Done::default(),
        }
    }

    /// Leaves everything in good order after that time.
    pub async fn run(mut self, time: Duration) -> Done {
        let end = Instant::now() + time;
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < end {
            pace.tick().await;
            self.change_a_pod();
            if self.random.u8(..FAULTS) == 0 {
                self.commit_a_fault().await;
            }
        }
        self.done
    }

    fn change_a_pod(&mut self) {
        let place = self.random.usize(..self.pods.len());
        match self.random.u8(..4) {
            0 if self.pods.len() < MOST => {
                // Anywhere in the order of names.
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

    async fn commit_a_fault(&mut self) {
        let (ledger, store) = (self.ledger.clone(), self.store.clone());
        match self.random.u8(..16) {
            0 => {
                ledger.doing(Deed::Compacted, || store.compact());
                self.done.count("compactions");
            }
            1 => {
                ledger.doing(Deed::Compacted, || ledger.doing(Deed::CompactedForGood, || store.compact_without_token()));
                self.done.count("compactions without a token");
            }
            2 => {
                if self.random.bool() {
                    // What they would go on with is forgotten.
                    ledger.doing(Deed::Compacted, || store.compact());
                    self.done.count("compactions");
                }
                ledger.doing(Deed::WatchesEnded, || store.drop_watches());
                self.done.count("watches dropped");
            }
            3 => {
                ledger.doing(Deed::WatchesEnded, || store.close_watches());
                self.done.count("watches closed");
            }
            4 => {
                let bytes = self.random.usize(..20_000);
                ledger.doing(Deed::WatchesEnded, || store.cut_watches_after(bytes));
                self.done.count("watches cut");
            }
            5 => {
                ledger.doing(Deed::WatchesEnded, || self.testbed.server.hang_up());
                self.done.count("hang-ups");
            }
            6 | 7 => self.rotate_token(),
            8 | 9 => self.damage_token().await,
            10 => self.rotate_ca().await,
            11 => self.damage_ca().await,
            12 => {
                self.testbed.volume.set("namespace", b"shop\n");
                self.done.count("volume swaps");
            }
            13 => store.bookmark(),
            _ => self.fail_requests(),
        }
    }

    fn fail_requests(&mut self) {
        let answer = match self.random.u8(..6) {
            0 => Answer::new(429, "Too many requests, please try again later.\n").header("retry-after", "0"),
            1 => Answer::new(429, "Too many requests, please try again later.\n").header("retry-after", "1"),
            2 => Answer::new(500, "an internal error"),
            3 => Answer::new(503, "the server is shutting down").header("retry-after", "0"),
            4 => Answer::new(503, "the server is shutting down").header("retry-after", "1"),
            _ => Answer::new(504, "the backend timed out"),
        };
        self.store.fail_next(self.random.usize(1..4), answer);
        self.done.count("failures ordered");
    }

    /// As kubelet does it: the new token is in the volume before the old one is refused.
    fn rotate_token(&mut self) {
        self.tokens += 1;
        let new = format!("{TOKEN}{}", self.tokens);
        self.store.accept_tokens(&[&self.token, &new]);
        self.testbed.volume.set("token", new.as_bytes());
        self.ledger.doing(Deed::Revoked, || self.store.accept_token(&new));
        self.token = new;
        self.done.count("token rotations");
    }

    /// As a careless tool does it: the file is empty or half for a moment.
    async fn damage_token(&mut self) {
        let rest = if self.random.bool() { 0 } else { self.token.len() / 2 };
        let damaged = self.ledger.begin(Deed::TokenDamaged);
        self.testbed.volume.write_in_place("token", &self.token.as_bytes()[..rest]);
        tokio::time::sleep(DAMAGE).await;
        self.testbed.volume.set("token", self.token.as_bytes());
        self.ledger.end(damaged);
        self.done.count("tokens damaged");
    }

    /// In the documented order: both CAs are trusted before the server shows the new one's certificate. The connections that
    /// there are break, as when the server restarts.
    async fn rotate_ca(&mut self) {
        let new = Ca::new("kubernetes-ca");
        let (volume, server) = (&self.testbed.volume, &self.testbed.server);
        volume.set("ca.crt", format!("{}{}", self.ca, new.pem()).as_bytes());
        server.rotate(new.identity(&["127.0.0.1"]));
        let connections = server.connections();
        self.ledger.doing(Deed::WatchesEnded, || server.hang_up());
        // Were the file damaged before anybody has looked at it, what was good last would be the CA that is no more.
        let _ = timeout(RECONNECTION, server.until_connections(connections + 1)).await;
        volume.set("ca.crt", new.pem().as_bytes());
        self.ca = new.pem();
        self.done.count("CA rotations");
    }

    /// No caller may notice: what was good last stays.
    async fn damage_ca(&mut self) {
        let rest = if self.random.bool() { 0 } else { self.ca.len() / 2 };
        let (volume, server) = (&self.testbed.volume, &self.testbed.server);
        volume.write_in_place("ca.crt", &self.ca.as_bytes()[..rest]);
        let connections = server.connections();
        self.ledger.doing(Deed::WatchesEnded, || server.hang_up());
        // Somebody has looked at it meanwhile, unless all are waiting for something else.
        let _ = timeout(RECONNECTION, server.until_connections(connections + 1)).await;
        volume.set("ca.crt", self.ca.as_bytes());
        self.done.count("CAs damaged");
    }
}
