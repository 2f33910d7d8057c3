//! Picks the pods in turn, or refuses the request if no pod is ready.

mod bindings {
    wit_bindgen::generate!({ path: "../../gateway/wit", world: "picker" });
}

use bindings::example::gateway::ready_pods::list;
use bindings::exports::example::gateway::upstream::{Choice, Guest, Refusal, Request};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Picker;

static TURN: AtomicUsize = AtomicUsize::new(0);

impl Guest for Picker {
    fn pick(request: Request) -> Result<Choice, Refusal> {
        let mut pods = list();
        if pods.is_empty() {
            return Err(Refusal { status: 503, reason: format!("no pod is ready for {}", request.path_and_query) });
        }
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % pods.len();
        Ok(Choice { pods: vec![pods.swap_remove(turn).name], set_headers: Vec::new() })
    }
}

bindings::export!(Picker with_types_in bindings);
