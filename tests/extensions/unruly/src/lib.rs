//! An extension for the gateway that misbehaves, as the request's path says; else it picks the first pod.

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../../../examples/gateway/wit"],
        inline: "package example:unruly;
                 world unruly { include incluster:kubernetes/extension@0.1.0; include example:gateway/picker@0.1.0; }",
        world: "example:unruly/unruly",
        generate_all,
    });
}

use bindings::example::gateway::ready_pods::list;
use bindings::exports::example::gateway::upstream::{Guest, Refusal, Request};
use bindings::incluster::kubernetes::client::{get_json, load_incluster_config};
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
                let config = load_incluster_config().expect("a configuration");
                refused(403, format!("{:?}", get_json(&config, "/api/v1/namespaces/kube-system/secrets")))
            }
            _ => list().into_iter().next().map(|pod| pod.name).ok_or(Refusal { status: 503, reason: "no pod is ready".into() }),
        }
    }
}

bindings::export!(Unruly with_types_in bindings);
