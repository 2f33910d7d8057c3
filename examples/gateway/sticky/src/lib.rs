//! Sends the requests of one session to one pod for as long as it is ready: rendezvous hashing, by which only the sessions of
//! a pod that goes move to others. A session is the header `x-session`, else the client's address.

mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "picker" });
}

use bindings::example::gateway::ready_pods::{generation, list};
use bindings::exports::example::gateway::upstream::{Guest, Refusal, Request};
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

struct Sticky;

thread_local! {
    /// The names of the ready pods, and of which generation they are: a sandbox that is used again need not ask again.
    static KNOWN: RefCell<Option<(u64, Vec<String>)>> = const { RefCell::new(None) };
}

impl Guest for Sticky {
    fn pick(request: Request) -> Result<String, Refusal> {
        let header = request.headers.iter().find(|(name, _)| name == "x-session");
        let session = header.map_or(request.client.as_bytes(), |(_, value)| value);
        KNOWN.with_borrow_mut(|known| {
            let generation = generation();
            if known.as_ref().is_none_or(|(known, _)| *known != generation) {
                *known = Some((generation, list().into_iter().map(|pod| pod.name).collect()));
            }
            let pods = known.as_ref().map_or(&[][..], |(_, pods)| pods);
            let best = pods.iter().max_by_key(|pod| weight(pod, session));
            best.cloned().ok_or_else(|| Refusal { status: 503, reason: "no pod is ready".into() })
        })
    }
}

fn weight(pod: &str, session: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (pod, session).hash(&mut hasher);
    hasher.finish()
}

bindings::export!(Sticky with_types_in bindings);
