//! Sends the requests of one session to one pod for as long as it is ready. Rendezvous hashing moves only a lost pod's sessions to
//! others. A session is the header `x-session`, or else the client's address.

mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "picker" });
}

use bindings::example::gateway::ready_pods::{generation, list};
use bindings::exports::example::gateway::upstream::{Choice, Guest, Refusal, Request};
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

struct Sticky;

/// How many pods are named: the session's own, and those to which it goes while that one cannot be reached.
const TRIES: usize = 3;

thread_local! {
    /// The names of the ready pods, and their generation: a warm sandbox need not ask for them again.
    static KNOWN: RefCell<Option<(u64, Vec<String>)>> = const { RefCell::new(None) };
}

impl Guest for Sticky {
    fn pick(request: Request) -> Result<Choice, Refusal> {
        let header = request.headers.iter().find(|(name, _)| name == "x-session");
        let session = header.map_or(request.client.as_bytes(), |(_, value)| value);
        KNOWN.with_borrow_mut(|known| {
            let generation = generation();
            if known.as_ref().is_none_or(|(known, _)| *known != generation) {
                *known = Some((generation, list().into_iter().map(|pod| pod.name).collect()));
            }
            let pods = known.as_ref().map_or(&[][..], |(_, pods)| pods);
            let mut best: [Option<(u64, &String)>; TRIES] = [None; TRIES];
            for pod in pods {
                let mut next = Some((weight(pod, session), pod));
                for place in &mut best {
                    if next > *place {
                        std::mem::swap(&mut next, place);
                    }
                }
            }
            let pods: Vec<_> = best.into_iter().flatten().map(|(_, pod)| pod.clone()).collect();
            if pods.is_empty() {
                return Err(Refusal { status: 503, reason: "no pod is ready".into() });
            }
            Ok(Choice { pods, set_headers: Vec::new() })
        })
    }
}

fn weight(pod: &str, session: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (pod, session).hash(&mut hasher);
    hasher.finish()
}

bindings::export!(Sticky with_types_in bindings);
