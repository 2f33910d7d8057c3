//! Picks the pod whose turn it is, or refuses where there is none.

mod bindings {
    wit_bindgen::generate!({ path: "../../gateway/wit", world: "picker" });
}

use bindings::example::gateway::ready_pods::list;
use bindings::exports::example::gateway::upstream::{Guest, Refusal, Request};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Picker;

static TURN: AtomicUsize = AtomicUsize::new(0);

impl Guest for Picker {
    fn pick(request: Request) -> Result<String, Refusal> {
        let mut pods = list();
        if pods.is_empty() {
            return Err(Refusal { status: 503, reason: format!("no pod is ready for {}", request.path_and_query) });
        }
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % pods.len();
        Ok(pods.swap_remove(turn).name)
    }
}

bindings::export!(Picker with_types_in bindings);
