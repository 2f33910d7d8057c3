//! The sandbox's one door to the network.
//!
//! A guest's `wasi:http` request leaves only if it is what the client sends: a GET, over https, to the API server's own
//! authority, with credentials, and without headers that the client has no use for. Everything else is denied here, before
//! a connection is even looked for. Redirects are not followed: they go back to the guest, which refuses them.

mod body;
mod connect;
mod failure;
mod telemetry;
mod trust;

use crate::{Limits, Server};
use body::LimitedBody;
use bytes::Bytes;
use connect::Connector;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Exchange, Tokens};
use tokio::time::timeout;
use tracing::Instrument;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Flow-control windows that a list of thousands of pods does not wait for.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// An unused connection is kept for so long, a little less than load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// A connection whose other end has gone without a word is found out, and given up, in this time together.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What a request may carry: what the client needs.
const HEADERS: [header::HeaderName; 4] = [header::ACCEPT, header::AUTHORIZATION, header::HOST, header::USER_AGENT];

/// The door to one API server. Clones share the pool of connections.
#[derive(Clone)]
pub(crate) struct Egress {
    server: Server,
    limits: Limits,
    client: Client<Connector, Empty<Bytes>>,
    tokens: Arc<Tokens>,
    /// What this sandbox asked for last, and how often in a row.
    last: Option<(String, u32)>,
}

impl Egress {
    pub(crate) fn new(server: Server, ca_path: PathBuf, limits: Limits) -> Egress {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .build(Connector::new(server.clone(), ca_path, &limits));
        Egress { server, limits, client, tokens: Arc::default(), last: None }
    }

    /// The request that may leave, made anew from what the guest's asks for.
    fn admit(&self, request: &http::request::Parts) -> Result<Request<Empty<Bytes>>, Error> {
        let uri = &request.uri;
        let to_server = uri.scheme_str() == Some("https") && uri.authority().is_some_and(|a| self.server.is(a.as_str()));
        if request.method != Method::GET || !to_server || !is_authenticated(&request.headers) {
            return Err(Error::HttpRequestDenied);
        }
        if request.headers.keys().any(|name| !HEADERS.contains(name)) {
            return Err(Error::HttpRequestDenied);
        }
        let path_and_query = uri.path_and_query().map_or("/", |p| p.as_str());
        let mut admitted = Request::new(Empty::new());
        // One spelling of the server, whatever the guest's: one pool of connections, and one header Host.
        *admitted.uri_mut() = format!("{}{path_and_query}", self.server).parse().map_err(|_| Error::HttpRequestUriInvalid)?;
        *admitted.headers_mut() = request.headers.clone();
        admitted.headers_mut().remove(header::HOST);
        // Shown by no Debug, and kept out of HTTP/2's compression tables.
        if let Some(token) = admitted.headers_mut().get_mut(header::AUTHORIZATION) {
            token.set_sensitive(true);
        }
        Ok(admitted)
    }

    /// Which attempt at the same thing a request is, counted from 1.
    fn attempt(&mut self, request: &http::request::Parts) -> u32 {
        let asked = request.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let attempt = match self.last.take() {
            Some((last, attempts)) if last == asked => attempts.saturating_add(1),
            _ => 1,
        };
        self.last = Some((asked, attempt));
        attempt
    }

    async fn send(
        self,
        request: Request<Empty<Bytes>>,
        options: RequestOptions,
        exchange: Exchange,
    ) -> Result<Response<WasiBody>, Error> {
        self.tokens.seen(request.headers());
        let is_watch = is_watch(request.uri());
        let at_most = |limit: Duration, asked: Option<Duration>| asked.map_or(limit, |asked| asked.min(limit));
        let Limits { first_byte, between_bytes, watch_pause, response_bytes, connect, handshake, .. } = self.limits;
        // A connection may have to be made first, which has deadlines of its own.
        let deadline = connect.saturating_add(handshake).saturating_add(at_most(first_byte, options.first_byte_timeout));
        let answer = match timeout(deadline, self.client.request(request)).await {
            Ok(answer) => answer.map_err(|e| failure::of_request(&e, &self.server)),
            Err(_) => Err(Error::HttpResponseTimeout),
        };
        let answered = exchange.answered(answer.as_ref().map(Response::status));
        // A watch is quiet while nothing happens, and goes on for as long as somebody reads it.
        let (pause, bytes) = match is_watch {
            true => (watch_pause, u64::MAX),
            false => (between_bytes, response_bytes),
        };
        let pause = at_most(pause, options.between_bytes_timeout);
        Ok(answer?.map(|body| LimitedBody::new(body, bytes, pause, answered).boxed_unsync()))
    }
}

/// Whether the answer has no end: as the API server reads the query, where more than one spelling is true.
fn is_watch(uri: &http::Uri) -> bool {
    let parameters = uri.query().unwrap_or_default().split('&');
    parameters
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .any(|(name, value)| name == "watch" && !matches!(value, "false" | "0"))
}

/// One header `Authorization`, and a bearer token in it.
fn is_authenticated(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let bearer = values.next().and_then(|v| v.as_bytes().strip_prefix(b"Bearer "));
    bearer.is_some_and(|token| !token.trim_ascii().is_empty()) && values.next().is_none()
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Processing), Error>> + Send> {
        let (parts, _no_body_leaves) = request.into_parts();
        let admitted = self.admit(&parts);
        let exchange = Exchange::begin(&parts, self.attempt(&parts));
        let egress = self.clone();
        let span = exchange.span();
        let answer = async move {
            let response = match admitted {
                Ok(request) => egress.send(request, options.unwrap_or_default(), exchange).await?,
                Err(denied) => {
                    tracing::warn!(authority = ?parts.uri.authority(), "request denied");
                    exchange.answered(Err(&denied));
                    return Err(denied);
                }
            };
            Ok((response, Box::new(std::future::ready(Ok(()))) as Processing))
        };
        Box::new(answer.instrument(span))
    }
}

type Processing = Box<dyn Future<Output = Result<(), Error>> + Send>;

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(request: http::request::Builder) -> Option<Request<Empty<Bytes>>> {
        let server = Server::new("10.0.0.1", 443).unwrap();
        let egress = Egress::new(server, "ca.crt".into(), Limits::default());
        egress.admit(&request.body(()).unwrap().into_parts().0).ok()
    }

    fn admit(request: http::request::Builder) -> bool {
        admitted(request).is_some()
    }

    fn good() -> http::request::Builder {
        Request::get("https://10.0.0.1:443/api/v1/pods?limit=1").header("authorization", "Bearer x").header("accept", "a")
    }

    #[test]
    fn what_the_client_sends_may_leave() {
        assert!(admit(good()));
        let other_spelling = admitted(good().uri("https://10.0.0.1/api").header("host", "evil")).unwrap();
        assert_eq!(other_spelling.uri(), "https://10.0.0.1:443/api");
        assert_eq!(other_spelling.headers().get("host"), None);
        assert!(other_spelling.headers()["authorization"].is_sensitive());
    }

    #[test]
    fn nothing_else_may() {
        for uri in ["http://10.0.0.1:443/api", "https://10.0.0.2/api", "https://10.0.0.1:8443/", "https://x@10.0.0.1/", "/api"] {
            assert!(!admit(good().uri(uri)), "{uri}");
        }
        for method in ["POST", "DELETE", "CONNECT", "HEAD", "OPTIONS", "get"] {
            assert!(!admit(good().method(method)), "{method}");
        }
        for header in ["impersonate-user", "cookie", "proxy-authorization", "x-forwarded-for", "range", "expect", "upgrade"] {
            assert!(!admit(good().header(header, "x")), "{header}");
        }
    }

    #[test]
    fn a_watch_is_told_from_a_list() {
        for (query, expected) in [
            ("?watch=true", true),
            ("?limit=1&watch=1", true),
            ("?watch", true),
            ("?watch=false", false),
            ("?watch=0", false),
            ("?labelSelector=watch%3Dtrue", false),
            ("", false),
        ] {
            assert_eq!(is_watch(&format!("https://10.0.0.1/api/v1/pods{query}").parse().unwrap()), expected, "{query}");
        }
    }

    #[test]
    fn nothing_leaves_without_credentials() {
        let bare = || Request::get("https://10.0.0.1/api");
        assert!(!admit(bare()));
        for value in ["", "Bearer", "Bearer ", "Bearer   ", "bearer x", "Basic eDp5"] {
            assert!(!admit(bare().header("authorization", value)), "{value:?}");
        }
        assert!(!admit(good().header("authorization", "Bearer y")));
    }
}
