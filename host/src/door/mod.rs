//! The sandbox's one door to the network.
//!
//! A guest's `wasi:http` request leaves only if it is what the client sends: a GET over https, to the API server's own
//! authority, with credentials, with no header that the client does not use, and for something that the tenant's policy
//! permits. Everything else is denied here, before a connection is even looked for. Redirects are not followed: they are
//! returned to the guest, which refuses them.
//!
//! If the token stays outside the sandbox, it is added to requests here, and an answer that contains it is withheld.

mod answer;
mod body;
mod connections;
mod frames;
mod guard;
pub(crate) mod issuing;
mod lookup;
mod permission;
pub mod policy;
mod pool;
mod quiet;
mod quota;
mod renewal;
mod telemetry;
mod tls_stream;
pub(crate) mod token_request;
mod wasi_error;

pub(crate) use connections::Connections;
pub(crate) use permission::Permission;
pub(crate) use quota::RequestQuota;

use crate::figures::{self, Counted};
use crate::limits::RequestLimits;
use crate::now;
use body::{LimitedBody, Open};
use bytes::Bytes;
use guard::Guard;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use incluster_core::credentials::Credentials;
use incluster_core::failure::ATTEMPT_HEADER;
use incluster_core::request_info::{RequestInfo, Verb};
use incluster_core::{Server, Token};
use issuing::Issuing;
use permission::OpenRequest;
use pool::Patience;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use telemetry::Exchange;
pub(crate) use telemetry::Telling;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The header for the number of the attempt within a call. It is removed before the request leaves.
const ATTEMPT: header::HeaderName = header::HeaderName::from_static(ATTEMPT_HEADER);

/// The highest number of an attempt that is believed.
const MOST_ATTEMPTS: u32 = 1_000_000;

/// A time that is as good as for ever.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The headers that a request may have: those that the client sends.
const HEADERS: [header::HeaderName; 5] = [header::ACCEPT, header::AUTHORIZATION, header::HOST, header::USER_AGENT, ATTEMPT];

/// The text that a sandbox finds instead of the token, if the token stays outside.
pub(crate) const PLACEHOLDER: &str = "incluster-brokered-token";

/// What one tenant's sandboxes may request, and how much of it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) tenant: Arc<str>,
    pub(crate) server: Server,
    pub(crate) permission: Arc<Permission>,
    pub(crate) limits: RequestLimits,
    pub(crate) bearer: Bearer,
    pub(crate) connections: Connections,
    pub(crate) quota: Arc<RequestQuota>,
    pub(crate) telling: Arc<Telling>,
    /// Whether the server has shown that it never marks the end of a watch's initial objects. This is kept here, because each watch is a
    /// new client.
    pub(crate) lists_first: Arc<AtomicBool>,
}

/// Where the token on requests comes from.
#[derive(Clone)]
pub(crate) enum Bearer {
    /// From the sandbox, which has the token.
    Sandbox,
    /// From a file; sandboxes have a placeholder.
    File(Arc<Credentials>),
    /// From a source that issues it; sandboxes have a placeholder.
    Issued(Arc<Issuing>),
}

impl Bearer {
    /// The token that replaces the placeholder; `None` if there is no placeholder.
    async fn token(&self, until: Instant) -> Result<Option<Arc<Token>>, Error> {
        match self {
            Bearer::Sandbox => Ok(None),
            Bearer::File(credentials) => credentials.token(now()).map(Some).map_err(wasi_error::no_token),
            Bearer::Issued(issuing) => {
                let token = timeout_at(until, issuing.token()).await.unwrap_or_else(|_| Err(issuing.why_not()));
                token.map(Some).map_err(|e| wasi_error::not_issued(&e))
            }
        }
    }

    /// Notes that the API server has not accepted this token. A failure here need not be reported: the guest repeats the request, which
    /// then fails for the same reason.
    fn refused(&self, token: &Token) {
        match self {
            Bearer::Sandbox => {}
            Bearer::File(credentials) => _ = credentials.reload(now()),
            Bearer::Issued(issuing) => issuing.refused(token),
        }
    }
}

impl Door {
    /// Checks a guest's request, and builds the request that may leave.
    fn admit(&self, request: &http::request::Parts) -> Result<Admitted, Refusal> {
        self.quota.count()?;
        let uri = &request.uri;
        if request.method != Method::GET {
            return Err(Refusal::Method);
        }
        if uri.scheme_str() != Some("https") || !uri.authority().is_some_and(|a| self.server.is(a.as_str())) {
            return Err(Refusal::Server);
        }
        if request.headers.keys().any(|name| !HEADERS.contains(name)) {
            return Err(Refusal::Header);
        }
        let Some(token) = bearer(&request.headers) else { return Err(Refusal::Credentials) };
        if !matches!(self.bearer, Bearer::Sandbox) && token != PLACEHOLDER.as_bytes() {
            return Err(Refusal::Credentials);
        }
        let path_and_query = uri.path_and_query().map_or("/", |p| p.as_str());
        let info = RequestInfo::parse(path_and_query).map_err(|malformed| Refusal::Policy(malformed.to_string()))?;
        if !self.permission.permits(&info) {
            return Err(Refusal::Policy(self.permission.policy().refusal(&info)));
        }
        let stream = Stream::open(self.quota.stream()?, info.verb == Verb::Watch, &self.tenant);
        let open = self.permission.open(path_and_query);
        let mut request_out = Request::new(Full::default());
        // The server has one spelling, whichever the guest uses, so that there is one pool of connections and one header Host.
        *request_out.uri_mut() = format!("{}{path_and_query}", self.server).parse().map_err(|_| Refusal::Server)?;
        *request_out.headers_mut() = request.headers.clone();
        request_out.headers_mut().remove(header::HOST);
        request_out.headers_mut().remove(ATTEMPT);
        Ok(Admitted { request: request_out, verb: info.verb, stream, open })
    }

    /// Adds the token, if the sandbox does not have it. Returns the guard that keeps it from coming back.
    fn authorize(&self, headers: &mut HeaderMap, token: Option<&Token>) -> Result<Option<Guard>, Error> {
        let mut guard = None;
        if let Some(token) = token {
            self.uses(token.as_bytes());
            guard = Some(Guard::new(self.telling.secrets.clone()));
            let value = HeaderValue::try_from(token.authorization())
                .map_err(|_| wasi_error::denied("the token has a character that a header cannot carry"))?;
            headers.insert(header::AUTHORIZATION, value);
        }
        // Not shown by `Debug`, and kept out of HTTP/2's compression tables.
        if let Some(token) = headers.get_mut(header::AUTHORIZATION) {
            token.set_sensitive(true);
        }
        Ok(guard)
    }

    /// Notes that this token is used.
    fn uses(&self, token: &[u8]) {
        self.telling.secrets.add(token, now().wall);
        self.telling.uses(token, &self.tenant);
    }

    async fn send(&self, admitted: Admitted, options: RequestOptions, exchange: Exchange) -> Result<Response<WasiBody>, Error> {
        let Admitted { mut request, verb, stream, open } = admitted;
        let mut withdrawn: Withdrawn = Box::pin(open.withdrawn());
        let is_watch = verb == Verb::Watch;
        let at_most = |limit: Duration, asked: Option<Duration>| asked.map_or(limit, |asked| asked.min(limit));
        let limits = RequestLimits { first_byte: at_most(self.limits.first_byte, options.first_byte_timeout), ..self.limits };
        let deadline = later(limits.head());
        let token = tokio::select! {
            biased;
            () = &mut withdrawn => Err(wasi_error::withdrawn()),
            token = self.bearer.token(deadline) => token,
        };
        let authorized = token.and_then(|token| Ok((self.authorize(request.headers_mut(), token.as_deref())?, token)));
        let (guard, token) = match authorized {
            Ok(authorized) => authorized,
            Err(error) => return Err(exchange.failed(error)),
        };
        let answer = tokio::select! {
            biased;
            () = &mut withdrawn => Err(wasi_error::withdrawn()),
            answer = self.connections.request(request, Patience { until: deadline, first_byte: limits.first_byte, own: self.limits.first_byte }) => match answer {
                Ok(answer) if guard.as_ref().is_some_and(|guard| guard.finds_in_headers(answer.headers())) => {
                    Err(wasi_error::token_in_answer())
                }
                answer => answer.map_err(|e| wasi_error::of_request(&e, &self.server)),
            },
        };
        let (answered, answer) = match answer {
            Ok(answer) => (exchange.answered(answer.status(), answer.headers()), answer),
            Err(error) => return Err(exchange.failed(error)),
        };
        if let (Some(token), 401) = (&token, answer.status().as_u16()) {
            self.bearer.refused(token);
        }
        let (own_pause, bytes) = (limits.pause(is_watch), limits.body_bytes(is_watch));
        let pause = at_most(own_pause, options.between_bytes_timeout);
        let (head, body) = answer.into_parts();
        open.keep(body);
        let open = Open { answered, guard, request: open, withdrawn, _stream: stream };
        Ok(Response::from_parts(head, LimitedBody::new(bytes, pause, own_pause, open).boxed_unsync()))
    }
}

/// The moment that is this long from now.
fn later(time: Duration) -> Instant {
    Instant::now().checked_add(time).unwrap_or_else(|| Instant::now() + FAR)
}

/// A request that may leave, its place among the tenant's open streams, and whether it is still permitted.
struct Admitted {
    request: Request<Full<Bytes>>,
    verb: Verb,
    stream: Stream,
    open: Arc<OpenRequest>,
}

/// An answer that is waited for or read: its place among the tenant's open streams, and in the metrics.
pub(crate) struct Stream {
    _permit: OwnedSemaphorePermit,
    _streams: Counted,
    _watches: Option<Counted>,
}

impl Stream {
    fn open(permit: OwnedSemaphorePermit, is_watch: bool, tenant: &Arc<str>) -> Stream {
        let streams = Counted::one(metrics::gauge!(figures::STREAMS, "tenant" => tenant.clone()));
        let watches = is_watch.then(|| Counted::one(metrics::gauge!(figures::WATCHES, "tenant" => tenant.clone())));
        Stream { _permit: permit, _streams: streams, _watches: watches }
    }
}

type Withdrawn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a request may not leave.
#[derive(Debug)]
enum Refusal {
    Method,
    Server,
    Header,
    Credentials,
    Policy(String),
    Streams(u32),
    Rate(u32),
}

impl Refusal {
    /// The reason, as a label of the metrics `incluster_denied_total` and `incluster_limits_exceeded_total`.
    fn reason(&self) -> &'static str {
        match self {
            Refusal::Method => "method",
            Refusal::Server => "server",
            Refusal::Header => "header",
            Refusal::Credentials => "credentials",
            Refusal::Policy(_) => "policy",
            Refusal::Streams(_) => "open_streams",
            Refusal::Rate(_) => "requests_per_second",
        }
    }

    /// Whether the reason is a limit, and not what was requested.
    fn is_limit(&self) -> bool {
        matches!(self, Refusal::Streams(_) | Refusal::Rate(_))
    }

    fn into_error(self) -> Error {
        match self {
            Refusal::Method => wasi_error::denied("only GET leaves the sandbox"),
            Refusal::Server => wasi_error::denied("only the API server can be reached, by https"),
            Refusal::Header => wasi_error::denied("a header is not among those that the client sends"),
            Refusal::Credentials => wasi_error::denied("the authorization header does not contain this sandbox's bearer token"),
            Refusal::Policy(why) => wasi_error::denied(&why),
            Refusal::Streams(limit) => wasi_error::limit_exceeded(&format!(
                "the tenant waits for or reads {limit} answers of the API server, which is its limit (tenant.openStreams)"
            )),
            Refusal::Rate(limit) => wasi_error::limit_exceeded(&format!(
                "the tenant makes more than {limit} requests a second, which is its limit (tenant.requestsPerSecond)"
            )),
        }
    }
}

/// A sandbox's way to its tenant's door.
#[derive(Clone)]
pub(crate) struct Egress(Arc<Door>);

impl Egress {
    pub(crate) fn new(door: Arc<Door>) -> Egress {
        Egress(door)
    }
}

/// The number of the attempt, as the guest states it; 1 if the guest states no number, or an impossible one.
fn attempt(headers: &HeaderMap) -> u32 {
    let said = headers.get(ATTEMPT).and_then(|attempt| attempt.to_str().ok()?.parse().ok());
    said.filter(|attempt| (1..=MOST_ATTEMPTS).contains(attempt)).unwrap_or(1)
}

/// The bearer token, if there is exactly one header `Authorization`, with a bearer token in it.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = values.next()?.as_bytes().strip_prefix(b"Bearer ")?;
    (!token.trim_ascii().is_empty() && values.next().is_none()).then_some(token)
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Processing), Error>> + Send> {
        let (parts, _no_body_leaves) = request.into_parts();
        let door = self.0.clone();
        let admitted = door.admit(&parts);
        if let (Ok(_), Bearer::Sandbox, Some(token)) = (&admitted, &door.bearer, bearer(&parts.headers)) {
            door.uses(token);
        }
        let exchange = Exchange::begin(&parts, attempt(&parts.headers), door.tenant.clone(), door.telling.clone());
        if let Ok(admitted) = &admitted {
            exchange.leaves(admitted.verb);
        }
        let span = exchange.span();
        let answer = async move {
            let response = match admitted {
                Ok(admitted) => door.send(admitted, options.unwrap_or_default(), exchange).await?,
                Err(refusal) => {
                    let (reason, is_limit) = (refusal.reason(), refusal.is_limit());
                    return Err(exchange.refused(reason, is_limit, refusal.into_error()));
                }
            };
            Ok((response, Box::new(std::future::ready(Ok(()))) as Processing))
        };
        Box::new(answer.instrument(span))
    }
}

type Processing = Box<dyn Future<Output = Result<(), Error>> + Send>;

#[cfg(test)]
mod tests;
