//! An external processor for Envoy: picks pods for each request, and names them by the Endpoint Picker Protocol
//! of the Gateway API Inference Extension.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Part;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse, ProcessingRequest, ProcessingResponse,
    TrailersResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gateway::{Engine, Failed, Head, Picked};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// The name of the header and of the metadata key whose value is the endpoints to try, in order: `IP:PORT[,IP:PORT…]`.
const DESTINATION: &str = "x-gateway-destination-endpoint";

/// The namespace of the dynamic metadata.
const METADATA: &str = "envoy.lb";

/// The maximum length of a refusal's text, in bytes.
const MOST_REASON: usize = 16 << 10;

/// How long a decision may take. Envoy must wait for longer: its filter's `message_timeout` is 2 s in envoy.yaml.
const LIMIT: Duration = Duration::from_millis(1500);

/// The attribute with the client's address, which Envoy sends if its filter lists it in `request_attributes`.
const SOURCE: &str = "source.address";

/// The external processing service.
pub(crate) struct Processor(pub(crate) Arc<Engine>);

/// What to do with a request.
#[derive(Debug, PartialEq)]
enum Decision {
    /// The request goes to a pod, without the headers in this list.
    To(Picked, Vec<String>),
    /// No route matches the request: Envoy decides.
    Envoys,
    /// The request is refused with this status code and text.
    Refused(u16, String),
}

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream = BoxStream<'static, Result<ProcessingResponse, Status>>;

    async fn process(&self, request: Request<Streaming<ProcessingRequest>>) -> Result<Response<Self::ProcessStream>, Status> {
        let engine = self.0.clone();
        let answers = request.into_inner().then(move |message| {
            let engine = engine.clone();
            async move { Ok(answer(&engine, message?).await) }
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Answers one message. The filter should send only the heads of requests; anything else passes unchanged.
async fn answer(engine: &Engine, message: ProcessingRequest) -> ProcessingResponse {
    let client = client(&message).unwrap_or_default();
    let response = match message.request {
        Some(Part::RequestHeaders(head)) => return decided(decide(engine, head.headers.unwrap_or_default(), client).await),
        Some(Part::ResponseHeaders(_)) => Some(Answer::ResponseHeaders(HeadersResponse::default())),
        Some(Part::RequestBody(_)) => Some(Answer::RequestBody(BodyResponse::default())),
        Some(Part::ResponseBody(_)) => Some(Answer::ResponseBody(BodyResponse::default())),
        Some(Part::RequestTrailers(_)) => Some(Answer::RequestTrailers(TrailersResponse::default())),
        Some(Part::ResponseTrailers(_)) => Some(Answer::ResponseTrailers(TrailersResponse::default())),
        None => None,
    };
    ProcessingResponse { response, ..ProcessingResponse::default() }
}

/// The client's IP address.
fn client(message: &ProcessingRequest) -> Option<String> {
    let attribute = message.attributes.values().find_map(|attributes| attributes.fields.get(SOURCE))?;
    let Some(Kind::StringValue(address)) = &attribute.kind else { return None };
    // The address may have a port, or be that of a Unix socket.
    let ip = address.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| address.parse::<IpAddr>());
    ip.ok().map(|ip| ip.to_string())
}

async fn decide(engine: &Engine, headers: HeaderMap, client: String) -> Decision {
    let head = head(headers, client);
    let (path, routes) = (head.path_and_query.split('?').next().unwrap_or_default(), engine.routes());
    let Some(route) = routes.find(gateway::host_of(&head.authority), path) else {
        gateway::count("", "", "no_route");
        return Decision::Envoys;
    };
    let picked = gateway::pick_for(route, head, LIMIT).await;
    let outcome = picked.as_ref().map_or_else(|Failed { outcome, .. }| *outcome, |_| "picked");
    gateway::count(&route.config.to_string(), &route.config.tenant, outcome);
    match picked {
        Ok(picked) => {
            // Only the extension may set headers of these names.
            let is_set = |name: &&String| picked.headers.iter().any(|(set, _)| name.eq_ignore_ascii_case(set.as_str()));
            let removed = route.config.set_headers.iter().filter(|name| !is_set(name)).map(|name| name.to_ascii_lowercase());
            let removed = removed.collect();
            Decision::To(picked, removed)
        }
        Err(Failed { status, reason, .. }) => Decision::Refused(status.as_u16(), reason),
    }
}

/// The head of a request, as an extension sees it.
fn head(headers: HeaderMap, client: String) -> Head {
    let mut head =
        Head { method: String::new(), authority: String::new(), path_and_query: String::new(), headers: Vec::new(), client };
    for HeaderValue { key, value, raw_value } in headers.headers {
        // Envoy fills in one of the two.
        let value = if value.is_empty() { raw_value } else { value.into_bytes() };
        let text = || String::from_utf8_lossy(&value).into_owned();
        match &*key {
            ":method" => head.method = text(),
            ":authority" => head.authority = text(),
            ":path" => head.path_and_query = text(),
            _ if key.starts_with(':') => {}
            _ => head.headers.push((key, value)),
        }
    }
    head
}

fn decided(decision: Decision) -> ProcessingResponse {
    let mutation = match decision {
        Decision::Refused(status, reason) => {
            // An extension's text can be long, and Envoy takes no message over 4 MiB.
            let mut body = reason.into_bytes();
            body.truncate(MOST_REASON);
            let refusal = ImmediateResponse {
                status: Some(HttpStatus { code: status.into() }),
                body,
                details: "incluster".into(),
                ..ImmediateResponse::default()
            };
            return ProcessingResponse { response: Some(Answer::ImmediateResponse(refusal)), ..ProcessingResponse::default() };
        }
        // A client must not choose an endpoint itself.
        Decision::Envoys => HeaderMutation { set_headers: Vec::new(), remove_headers: vec![DESTINATION.into()] },
        Decision::To(picked, removed) => return to(&picked, removed),
    };
    with(mutation, None)
}

/// Makes the answer that sends a request to the picked pods.
fn to(picked: &Picked, remove_headers: Vec<String>) -> ProcessingResponse {
    let endpoints = picked.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
    let mut set_headers = vec![set(DESTINATION, endpoints.as_bytes(), false)];
    for (place, (name, value)) in picked.headers.iter().enumerate() {
        // The first value replaces the client's. An extension may set one header several times.
        let is_first = !picked.headers[..place].iter().any(|(before, _)| before == name);
        set_headers.push(set(name.as_str(), value.as_bytes(), !is_first));
    }
    let text = |text| Value { kind: Some(Kind::StringValue(text)) };
    let inner = Struct { fields: [(DESTINATION.to_owned(), text(endpoints))].into() };
    let metadata = Struct { fields: [(METADATA.to_owned(), Value { kind: Some(Kind::StructValue(inner)) })].into() };
    with(HeaderMutation { set_headers, remove_headers }, Some(metadata))
}

/// Makes a change that sets a header: it replaces the header's values, or adds one to them.
#[expect(deprecated, reason = "in an external processor's answer, Envoy 1.40 reads `append`, and not `append_action`")]
fn set(name: &str, value: &[u8], is_appended: bool) -> HeaderValueOption {
    let action = if is_appended { HeaderAppendAction::AppendIfExistsOrAdd } else { HeaderAppendAction::OverwriteIfExistsOrAdd };
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), raw_value: value.into(), ..HeaderValue::default() }),
        append: Some(BoolValue { value: is_appended }),
        append_action: action.into(),
        keep_empty_value: true,
    }
}

fn with(mutation: HeaderMutation, dynamic_metadata: Option<Struct>) -> ProcessingResponse {
    let response = CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() };
    ProcessingResponse {
        response: Some(Answer::RequestHeaders(HeadersResponse { response: Some(response) })),
        dynamic_metadata,
        ..ProcessingResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(key: &str, raw_value: &[u8]) -> HeaderValue {
        HeaderValue { key: key.into(), raw_value: raw_value.into(), ..HeaderValue::default() }
    }

    #[test]
    fn a_head_is_read_from_pseudo_headers_and_headers() {
        let headers = vec![
            header(":method", b"GET"),
            header(":authority", b"shop.example.com:8080"),
            header(":path", b"/cart?page=2"),
            header(":scheme", b"https"),
            HeaderValue { value: "a".into(), ..header("x-session", b"") },
            header("x-odd", b"\xff"),
        ];
        let head = head(HeaderMap { headers }, "10.0.0.1".into());
        assert_eq!((&*head.method, &*head.authority, &*head.path_and_query), ("GET", "shop.example.com:8080", "/cart?page=2"));
        assert_eq!(head.headers, [("x-session".into(), b"a".to_vec()), ("x-odd".into(), vec![0xff])]);
    }

    #[test]
    fn a_client_is_an_address_without_its_port() {
        let of = |address: &str| {
            let value = Value { kind: Some(Kind::StringValue(address.into())) };
            let attributes = Struct { fields: [(SOURCE.to_owned(), value)].into() };
            let message =
                ProcessingRequest { attributes: [("filter".to_owned(), attributes)].into(), ..ProcessingRequest::default() };
            client(&message)
        };
        assert_eq!(of("10.0.0.1:4711").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("[2001:db8::1]:4711").as_deref(), Some("2001:db8::1"));
        assert_eq!(of("10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(of("a-socket"), None);
        assert_eq!(client(&ProcessingRequest::default()), None);
    }

    #[test]
    fn endpoints_are_in_the_header_and_in_the_metadata() {
        let endpoints = ["10.0.0.1:80", "[2001:db8::1]:80"].map(|address| address.parse().unwrap());
        let response = decided(Decision::To(Picked { addresses: endpoints.into(), headers: Vec::new() }, Vec::new()));
        let Some(Answer::RequestHeaders(HeadersResponse { response: Some(common) })) = response.response else {
            panic!("no head")
        };
        let [option] = &*common.header_mutation.unwrap().set_headers else { panic!("no header") };
        let header = option.header.as_ref().unwrap();
        assert_eq!((&*header.key, &*header.raw_value), (DESTINATION, &b"10.0.0.1:80,[2001:db8::1]:80"[..]));
        let Some(Kind::StructValue(lb)) = &response.dynamic_metadata.unwrap().fields[METADATA].kind else {
            panic!("no metadata")
        };
        assert_eq!(lb.fields[DESTINATION].kind, Some(Kind::StringValue("10.0.0.1:80,[2001:db8::1]:80".into())));
    }

    #[test]
    fn headers_are_the_extensions_alone() {
        let tier = http::HeaderName::from_static("x-tier");
        let headers = ["gold", "blue"].map(|value| (tier.clone(), http::HeaderValue::from_static(value))).to_vec();
        let picked = Picked { addresses: vec!["10.0.0.1:80".parse().unwrap()], headers };
        let Some(Answer::RequestHeaders(head)) = decided(Decision::To(picked, vec!["x-user".into()])).response else {
            panic!("no head")
        };
        let mutation = head.response.unwrap().header_mutation.unwrap();
        let action = |option: &HeaderValueOption| {
            let header = option.header.as_ref().unwrap();
            (header.key.clone(), String::from_utf8(header.raw_value.clone()).unwrap(), option.append_action)
        };
        let (replace, append) = (HeaderAppendAction::OverwriteIfExistsOrAdd, HeaderAppendAction::AppendIfExistsOrAdd);
        assert_eq!(
            mutation.set_headers[1..].iter().map(action).collect::<Vec<_>>(),
            [("x-tier".into(), "gold".into(), replace.into()), ("x-tier".into(), "blue".into(), append.into())]
        );
        assert_eq!(mutation.remove_headers, ["x-user"]);
    }

    #[test]
    fn a_client_does_not_choose_an_endpoint() {
        let Some(Answer::RequestHeaders(HeadersResponse { response: Some(common) })) = decided(Decision::Envoys).response else {
            panic!("no head")
        };
        assert_eq!(common.header_mutation.unwrap().remove_headers, [DESTINATION]);
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let Some(Answer::ImmediateResponse(refusal)) = decided(Decision::Refused(503, "no pod is ready".into())).response else {
            panic!("no refusal")
        };
        assert_eq!((refusal.status.unwrap().code, &*refusal.body), (503, &b"no pod is ready"[..]));
        let Some(Answer::ImmediateResponse(long)) = decided(Decision::Refused(403, "x".repeat(8 << 20))).response else {
            panic!("no refusal")
        };
        assert_eq!(long.body.len(), MOST_REASON);
    }
}
