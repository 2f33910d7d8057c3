//! A gateway extension that misbehaves in the way that the request's path names. For any other path it picks the first pod.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package test:unruly;
            world unruly {
                include example:gateway/picker@0.1.0;
                import wasi:config/store@0.2.0-rc.1;
            }
        ",
        path: "../../../examples/gateway/wit",
        world: "unruly",
        generate_all,
    });
}

use bindings::example::gateway::ready_pods::list;
use bindings::exports::example::gateway::upstream::{Choice, Guest, Refusal, Request};
use bindings::wasi::config::store;
use incluster_extension::{Client, Json};
use std::hint::black_box;

struct Unruly;

impl Guest for Unruly {
    fn pick(request: Request) -> Result<Choice, Refusal> {
        let refused = |status, reason: String| Err(Refusal { status, reason });
        let pods: Vec<_> = list().into_iter().map(|pod| pod.name).collect();
        let with = |name: &str, value: &[u8]| {
            let set_headers = [&b"first"[..], value].map(|value| (name.to_string(), value.to_vec())).into();
            Ok(Choice { pods: pods.clone(), set_headers })
        };
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
            "elsewhere" => Ok(Choice { pods: vec!["kube-apiserver".into()], set_headers: vec![] }),
            "nowhere" => Ok(Choice { pods: vec![], set_headers: vec![] }),
            "first" => Ok(Choice { pods: pods.into_iter().take(1).collect(), set_headers: vec![] }),
            "headers" => refused(418, request.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")),
            "permitted" => with("X-Tier", b"second"),
            "unpermitted" => with("authorization", b"Bearer mine"),
            "malformed" => with("x-tier", b"a\r\nx-user: admin"),
            "many" => with("x-tier", &[b'a'; 9 << 10]),
            "settings" => refused(418, format!("{:?} {:?}", store::get("tier"), store::get("absent"))),
            "teapot" => refused(418, "short and stout".into()),
            "nonsense" => refused(200, "not an error".into()),
            "secrets" => {
                let client = Client::in_cluster().expect("a configuration");
                refused(403, format!("{:?}", client.get_at::<Json>("/api/v1/namespaces/kube-system/secrets")))
            }
            _ if pods.is_empty() => refused(503, "no pod is ready".into()),
            _ => Ok(Choice { pods, set_headers: vec![] }),
        }
    }
}

bindings::export!(Unruly with_types_in bindings);
