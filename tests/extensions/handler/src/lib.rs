//! An extension that answers HTTP requests: the path names a namespace, and the answer lists the names of its pods.

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package example:handler;
            /// Functions that take the contract's own types.
            interface pods {
                use incluster:kubernetes/types@0.1.0.{pod};
                names: func(pods: list<pod>) -> list<string>;
            }
            world handler {
                export pods;
            }
        ",
        with: { "incluster:kubernetes/types@0.1.0": incluster_extension::types },
    });
}

use bindings::exports::example::handler::pods::Guest as Pods;
use incluster_extension::{Client, Error, Pod};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (status, text) = match list(path.trim_start_matches('/')) {
            Ok(names) => (200, names.join("\n")),
            Err(error) => (502, error.to_string()),
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

fn list(namespace: &str) -> Result<Vec<String>, Error> {
    let pods = Client::in_cluster()?.pods(namespace).list()?;
    Ok(<Handler as Pods>::names(pods.items))
}

impl Pods for Handler {
    fn names(pods: Vec<Pod>) -> Vec<String> {
        pods.into_iter().map(|pod| pod.metadata.name).collect()
    }
}

bindings::export!(Handler with_types_in bindings);

wasip2::http::proxy::export!(Handler);
