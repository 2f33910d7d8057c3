//! An extension that answers HTTP requests: with the names of the pods in the namespace that the path is.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "package example:handler; world handler { include incluster:kubernetes/extension@0.1.0; }",
    generate_all,
});

use incluster::kubernetes::client::{list_namespaced_pods, load_incluster_config};
use incluster::kubernetes::types::ListOptions;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, text) = match names(path.trim_start_matches('/')) {
            Ok(names) => (200, names.join("\n")),
            Err(error) => (502, error),
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("a status");
        let body = response.body().expect("a body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a stream");
        stream.blocking_write_and_flush(text.as_bytes()).expect("room for a short text");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the end");
    }
}

fn names(namespace: &str) -> Result<Vec<String>, String> {
    let config = load_incluster_config().map_err(|e| format!("{e:?}"))?;
    let all = ListOptions {
        label_selector: None,
        field_selector: None,
        limit: None,
        continue_token: None,
        resource_version: None,
        resource_version_match: None,
        timeout_seconds: None,
    };
    let pods = list_namespaced_pods(&config, namespace, &all).map_err(|e| format!("{e:?}"))?;
    Ok(pods.items.into_iter().map(|pod| pod.metadata.name).collect())
}

wasip2::http::proxy::export!(Handler);
