//! The queue of faults that a running server commits.

use super::Fault;
use crate::tls::Protocol;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// The faults that a server commits next. All clones share one queue.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<Due>>);

struct Due {
    connections: VecDeque<(Fault, usize)>,
    requests: VecDeque<(Fault, usize)>,
    protocol: Protocol,
}

impl Default for Faults {
    /// No faults, on a server that speaks HTTP/2 and HTTP/1.1.
    fn default() -> Faults {
        let due = Due { connections: VecDeque::new(), requests: VecDeque::new(), protocol: Protocol::Any };
        Faults(Arc::new(Mutex::new(due)))
    }
}

impl Faults {
    /// Queues a fault for the next `count` connections, or for the next `count` requests if it is a fault of requests.
    pub fn commit(&self, fault: Fault, count: usize) {
        let mut due = self.0.lock().unwrap();
        let queue = if fault.is_of_a_request() { &mut due.requests } else { &mut due.connections };
        queue.push_back((fault, count));
    }

    /// Sets the HTTP versions that the server offers on new connections.
    pub fn speak(&self, protocol: Protocol) {
        self.0.lock().unwrap().protocol = protocol;
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.0.lock().unwrap().protocol
    }

    pub(super) fn next_of_connections(&self) -> Option<Fault> {
        next(&mut self.0.lock().unwrap().connections)
    }

    pub(super) fn next_of_requests(&self) -> Option<Fault> {
        next(&mut self.0.lock().unwrap().requests)
    }
}

fn next(queue: &mut VecDeque<(Fault, usize)>) -> Option<Fault> {
    while let Some((fault, left)) = queue.front_mut() {
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return Some(fault.clone());
        }
        queue.pop_front();
    }
    None
}
