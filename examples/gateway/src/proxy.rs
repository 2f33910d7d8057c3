//! Takes a request, and sends it to the pod that the route's extension picks.

use crate::front::{Body, text};
use crate::picker::Request as Head;
use crate::picking::{Failed, Picked, count, host_of, pick_for};
use crate::routes::{Route, Routes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;
use tracing::warn;

const CONNECT: Duration = Duration::from_secs(2);

/// How long a pod may take to send the head of its answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Headers that concern a connection, and not the request (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The connections to pods.
#[derive(Clone)]
pub(crate) struct Upstreams(Client<HttpConnector, Body>);

impl Upstreams {
    pub(crate) fn new() -> Upstreams {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        Upstreams(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
    }

    /// Answers a request from this client.
    pub(crate) async fn serve(&self, routes: &Routes, client: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let host_header = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = authority.or_else(host_header).unwrap_or_default().to_string();
        let host = host_of(&authority);
        let Some(route) = routes.find(host, request.uri().path()).cloned() else {
            count("", "", "no_route");
            return text(StatusCode::NOT_FOUND, "there is no route for this host and path");
        };
        let answer = self.forward(&route, client.ip(), authority, request).await;
        let outcome = match &answer {
            Ok(_) => "served",
            Err(failed) => failed.outcome,
        };
        count(&route.config.to_string(), &route.config.tenant, outcome);
        answer.unwrap_or_else(|failed| text(failed.status, &failed.reason))
    }

    async fn forward(
        &self,
        route: &Route,
        client: IpAddr,
        authority: String,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Failed> {
        let (parts, body) = request.into_parts();
        let path_and_query = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let head = Head {
            method: parts.method.as_str().into(),
            path_and_query: path_and_query.into(),
            headers: parts.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().into())).collect(),
            client: client.to_string(),
            authority: authority.clone(),
        };
        let Picked { addresses, headers: set } = pick_for(route, head, Duration::MAX).await?;
        let mut headers = forwarded(parts.headers, &authority, client);
        for name in &route.config.set_headers {
            headers.remove(name);
        }
        headers.extend(set);
        // A request with a body is sent once.
        let is_repeatable = body.is_end_stream();
        let mut body = Some(body.boxed());
        let mut addresses = addresses.into_iter().peekable();
        loop {
            let pod = addresses.next().ok_or_else(|| unreachable("no pod can be reached"))?;
            let mut request = Request::new(body.take().unwrap_or_else(empty));
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = uri(pod, path_and_query)?;
            *request.headers_mut() = headers.clone();
            match timeout(ANSWER, self.0.request(request)).await {
                Ok(Ok(answer)) => return Ok(answered(answer)),
                Ok(Err(error)) if error.is_connect() && is_repeatable && addresses.peek().is_some() => {
                    warn!(route = %route.config, %pod, "the pod cannot be reached; the next one is tried");
                }
                Ok(Err(error)) => {
                    warn!(route = %route.config, %pod, %error, "the pod did not answer");
                    return Err(unreachable("the pod did not answer"));
                }
                Err(_) => {
                    return Err(Failed::new("timeout", StatusCode::GATEWAY_TIMEOUT, "the pod did not answer in time".into()));
                }
            }
        }
    }
}

fn unreachable(reason: &str) -> Failed {
    Failed::new("unreachable", StatusCode::BAD_GATEWAY, reason.into())
}

fn uri(pod: SocketAddr, path_and_query: &str) -> Result<Uri, Failed> {
    let uri = Uri::builder().scheme("http").authority(pod.to_string()).path_and_query(path_and_query).build();
    uri.map_err(|_| Failed::new("malformed", StatusCode::BAD_REQUEST, "the request target is malformed".into()))
}

/// The headers for the pod: without those of the client's connection, and with who the client is.
fn forwarded(mut headers: HeaderMap, authority: &str, client: IpAddr) -> HeaderMap {
    without_hop_by_hop(&mut headers);
    let client = client.to_string();
    let before = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let chain = before.chain([client.as_str()]).collect::<Vec<_>>().join(", ");
    for (name, value) in [("x-forwarded-for", chain.as_str()), ("x-forwarded-proto", "http"), ("host", authority)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers
}

fn without_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

fn answered(answer: Response<Incoming>) -> Response<Body> {
    let mut answer = answer.map(BodyExt::boxed);
    without_hop_by_hop(answer.headers_mut());
    *answer.version_mut() = http::Version::default();
    answer
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_no_headers_of_the_connection_and_knows_who_asks() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "1"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "gopher"),
            ("cookie", "a=b"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let sent = forwarded(headers, "shop.example", IpAddr::from([203, 0, 113, 7]));
        let mut sent: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        sent.sort_unstable();
        assert_eq!(
            sent,
            [
                ("cookie", "a=b"),
                ("host", "shop.example"),
                ("x-forwarded-for", "192.0.2.1, 203.0.113.7"),
                ("x-forwarded-proto", "http")
            ]
        );
    }
}
