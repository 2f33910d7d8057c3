//! An extension for the gateway that misbehaves, as the request's path says; else it picks the first pod.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../examples/gateway/wit",
        world: "picker",
    });
}

use bindings::example::gateway::ready_pods::list;
use bindings::exports::example::gateway::upstream::{Guest, Refusal, Request};
use incluster_extension::{Client, Json};
use std::hint::black_box;

struct Unruly;

impl Guest for Unruly {
    fn pick(request: Request) -> Result<String, Refusal> {
        let refused = |status, reason: String| Err(Refusal { status, reason });
        match request.path_and_query.rsplit('/').next().unwrap_or_default() {
            "spin" => loop {
                black_box(0);
            },
            "trap" => std::process::abort(),
            "allocate" => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "elsewhere" => Ok("kube-apiserver".into()),
            "teapot" => refused(418, "short and stout".into()),
            "nonsense" => refused(200, "not an error".into()),
            "secrets" => {
                let client = Client::in_cluster().expect("a configuration");
                refused(403, format!("{:?}", client.get_at::<Json>("/api/v1/namespaces/kube-system/secrets")))
            }
            _ => list().into_iter().next().map(|pod| pod.name).ok_or(Refusal { status: 503, reason: "no pod is ready".into() }),
        }
    }
}

bindings::export!(Unruly with_types_in bindings);
