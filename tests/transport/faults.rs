//! The fault matrix: each test is a row, for every kind of call. A row says which error a lasting fault becomes, and whether calls
//! survive a passing one. Each transport's tests compile this file, with a `crate::caller` that makes calls with that transport.

use crate::caller::Caller;
use incluster::types::{Error, TransportError};
use std::time::Duration;
use testbed::{Answer, Fault, PodStore, Testbed};

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// All pods in one answer.
    List,
    /// All pods, three a page.
    Page,
    /// All pods in one answer, handed over as it arrives.
    Stream,
    /// All pods as JSON, three a page.
    JsonPage,
    /// The initial events of a watch.
    Watch,
    /// The initial events of a watch, as JSON.
    JsonWatch,
    /// A watch from the resource version 1 for a second; the result is the number of its events.
    BriefWatch,
}

impl Call {
    fn is_watch(self) -> bool {
        matches!(self, Call::Watch | Call::JsonWatch | Call::BriefWatch)
    }

    fn is_json(self) -> bool {
        matches!(self, Call::JsonPage | Call::JsonWatch)
    }
}

/// Every kind of call but [`Call::BriefWatch`].
pub const CALLS: [Call; 6] = [Call::List, Call::Page, Call::Stream, Call::JsonPage, Call::Watch, Call::JsonWatch];

/// The kinds of calls whose answers have an end.
pub const LISTS: [Call; 4] = [Call::List, Call::Page, Call::Stream, Call::JsonPage];

/// The time limit of a call, in tests of that limit.
const CALL: Duration = Duration::from_millis(2500);

/// A check that an error is the expected one for a kind of call.
pub type Expected = fn(&Error, Call) -> bool;

/// Checks that calls survive a passing fault, and that a lasting one fails after two attempts.
pub async fn passes(fault: Fault, expected: Expected) {
    passes_for(&CALLS, fault, expected).await;
}

/// Checks like [`passes`], for some kinds of calls.
pub async fn passes_for(calls: &[Call], fault: Fault, expected: Expected) {
    for &call in calls {
        let testbed = Testbed::faulty_then(fault.clone(), 1, PodStore::recorded().handler()).await;
        assert_eq!(Caller::impatient(&testbed).outcome(call).await, Ok(7), "{call:?}");
        let testbed = Testbed::faulty(fault.clone()).await;
        let failure = Caller::impatient(&testbed).answer(call).await.unwrap_err();
        assert!(expected(&failure.error, call), "{call:?}: {failure:?}");
        assert_eq!(failure.attempts, 2, "{call:?}: {failure:?}");
    }
}

/// Checks that a fault that would not pass is not tried again.
async fn stays(fault: Fault, expected: Expected) {
    for call in CALLS {
        let testbed = Testbed::faulty(fault.clone()).await;
        let error = Caller::impatient(&testbed).outcome(call).await.unwrap_err();
        assert!(expected(&error, call), "{call:?}: {error:?}");
        assert_eq!(testbed.server.connections(), 1, "{call:?}");
    }
}

/// Checks like [`passes`], for a server's answer.
async fn answer_passes(answer: Answer, expected: Expected) {
    for call in CALLS {
        let store = PodStore::recorded();
        store.fail_next(1, answer.clone());
        let testbed = Testbed::serving(store.handler()).await;
        assert_eq!(Caller::impatient(&testbed).outcome(call).await, Ok(7), "{call:?}");
        store.fail_next(2, answer.clone());
        let failure = Caller::impatient(&testbed).answer(call).await.unwrap_err();
        assert!(expected(&failure.error, call), "{call:?}: {failure:?}");
        assert_eq!(failure.attempts, 2, "{call:?}: {failure:?}");
        assert_eq!(Caller::impatient(&testbed).outcome(call).await, Ok(7), "{call:?}");
    }
}

async fn answer_stays(answer: Answer, expected: Expected) {
    for call in CALLS {
        let answer = answer.clone();
        let testbed = Testbed::serving(move |_| answer.clone()).await;
        let error = Caller::impatient(&testbed).outcome(call).await.unwrap_err();
        assert!(expected(&error, call), "{call:?}: {error:?}");
        assert_eq!(testbed.server.requests().len(), 1, "{call:?}");
    }
}

/// Expects a lost connection.
pub fn lost(error: &Error, _: Call) -> bool {
    matches!(error, Error::Transport(TransportError::ConnectionLost(_)))
}

/// A fault: the beginning of a list, and then nothing.
pub fn half_a_list() -> Fault {
    Fault::RawThenStall(raw("Content-Length: 1000", r#"{"kind":"PodList","items":["#))
}

/// Expects a timeout, or for a watch also a lost connection: it reports that it has ended too many times.
pub fn timeout(error: &Error, call: Call) -> bool {
    matches!(error, Error::Transport(TransportError::Timeout(_))) || call.is_watch() && lost(error, call)
}

fn malformed(error: &Error, _: Call) -> bool {
    matches!(error, Error::MalformedResponse(_))
}

fn not_http(error: &Error, _: Call) -> bool {
    matches!(error, Error::Transport(TransportError::HttpProtocol(_)))
}

fn limit(error: &Error, _: Call) -> bool {
    matches!(error, Error::LimitExceeded(_))
}

fn json(body: impl Into<bytes::Bytes>) -> Answer {
    Answer::new(200, body).header("content-type", "application/json")
}

fn protobuf(body: impl Into<bytes::Bytes>) -> Answer {
    Answer::new(200, body).header("content-type", "application/vnd.kubernetes.protobuf")
}

/// The head of a response, and the beginning of its body.
fn raw(headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn connection_refused() {
    for call in CALLS {
        let testbed = Testbed::start().await;
        let caller = Caller::impatient(&testbed);
        testbed.server.stop().await;
        let failure = caller.answer(call).await.unwrap_err();
        assert!(matches!(failure.error, Error::Transport(TransportError::ConnectionRefused(_))), "{failure:?}");
        assert_eq!(failure.attempts, 2);
    }
}

#[tokio::test]
async fn connection_reset() {
    passes(Fault::Reset, lost).await;
    passes(Fault::ResetAfterRequest, lost).await;
}

#[tokio::test]
async fn closed_before_the_answer() {
    passes(Fault::CloseAfterRequest, lost).await;
}

#[tokio::test]
async fn tls_alert() {
    stays(
        Fault::TlsAlert,
        |error, _| matches!(error, Error::Transport(TransportError::Tls(text)) if text.contains("HandshakeFailure")),
    )
    .await;
}

#[tokio::test]
async fn truncated_body() {
    passes(Fault::Raw(raw("Content-Length: 1000", r#"{"kind":"PodList","items":["#)), lost).await;
}

#[tokio::test]
async fn truncated_chunk() {
    passes(Fault::Raw(raw("Transfer-Encoding: chunked", "400\r\n{\"kind\":\"PodList\",")), lost).await;
}

/// A list that ends with the connection counts as complete only if TLS was closed: anybody in between can end a TCP connection.
#[tokio::test]
async fn an_end_that_is_not_the_servers() {
    let list = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
    passes_for(&LISTS, Fault::Cut(raw("Connection: close", list)), lost).await;
    let testbed = Testbed::faulty(Fault::Raw(raw("Connection: close", list))).await;
    assert_eq!(Caller::impatient(&testbed).outcome(Call::List).await, Ok(0));
}

#[tokio::test]
async fn wrong_content_length() {
    stays(Fault::Raw(raw("Content-Length: -7", "{}")), not_http).await;
    stays(Fault::Raw(raw("Content-Length: 2\r\nContent-Length: 3", "{}")), not_http).await;
}

#[tokio::test]
async fn a_header_of_10_megabytes() {
    let header = format!("X-Large: {}", "a".repeat(10 << 20));
    stays(Fault::Raw(raw(&header, "{}")), limit).await;
}

#[tokio::test]
async fn no_http_at_all() {
    stays(Fault::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), not_http).await;
}

#[tokio::test]
async fn silence_after_accepting() {
    passes(Fault::Silent, timeout).await;
}

#[tokio::test]
async fn half_a_handshake() {
    passes(Fault::HalfHandshake, timeout).await;
}

#[tokio::test]
async fn no_head() {
    passes(Fault::NoHead, timeout).await;
}

#[tokio::test]
async fn half_a_head() {
    passes(Fault::HalfHead, timeout).await;
}

/// A watch that has been quiet for long is begun again, any number of times, without an error.
#[tokio::test]
async fn half_a_body_then_nothing() {
    passes_for(&LISTS, half_a_list(), timeout).await;
    for call in [Call::Watch, Call::JsonWatch] {
        let testbed = Testbed::faulty_then(half_a_list(), 1, PodStore::recorded().handler()).await;
        assert_eq!(Caller::impatient(&testbed).outcome(call).await, Ok(7));
    }
}

/// A call ends at its own deadline even if no phase exceeds its limit.
#[tokio::test]
async fn a_byte_at_a_time() {
    let body = raw("Content-Length: 100000", &" ".repeat(100_000));
    for call in LISTS {
        let testbed = Testbed::faulty(Fault::Drip(body.clone())).await;
        let begun = std::time::Instant::now();
        let error = Caller::within(&testbed, CALL).outcome(call).await.unwrap_err();
        let Error::Transport(TransportError::Timeout(text)) = &error else { panic!("{error:?}") };
        assert_eq!(text, "the whole call");
        assert!(begun.elapsed() < 2 * CALL, "{:?}", begun.elapsed());
    }
    let testbed = Testbed::faulty(Fault::Drip(body)).await;
    assert_eq!(Caller::within(&testbed, CALL).outcome(Call::BriefWatch).await, Ok(0));
}

/// A call ends at its deadline even if there is always more to read, in a body or before the answer.
#[tokio::test]
async fn bytes_without_end() {
    let body = (raw("Connection: close", r#"{"kind":"PodList","items":["#), b" ".to_vec());
    let interim = (vec![], b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec());
    for (first, again) in [body, interim] {
        for call in LISTS {
            let testbed = Testbed::faulty(Fault::Flood(first.clone(), again.clone())).await;
            let begun = std::time::Instant::now();
            let error = Caller::within(&testbed, CALL / 10).outcome(call).await.unwrap_err();
            assert!(timeout(&error, call), "{error:?}");
            assert!(begun.elapsed() < CALL, "{:?}", begun.elapsed());
        }
    }
}

#[tokio::test]
async fn too_many_requests_as_plain_text() {
    let answer = Answer::new(429, "Too many requests, please try again later.\n").header("content-type", "text/plain");
    answer_passes(answer, |error, _| matches!(error, Error::Api(status) if status.code == 429)).await;
}

#[tokio::test]
async fn too_many_requests_until_a_date() {
    // One second from now by the server's clock, which differs from ours.
    let answer = Answer::new(429, "busy")
        .header("date", "Mon, 23 Nov 2020 19:04:12 GMT")
        .header("retry-after", "Mon, 23 Nov 2020 19:04:13 GMT");
    let begun = std::time::Instant::now();
    answer_passes(answer, |error, _| matches!(error, Error::Api(status) if status.retry_after_seconds == Some(1))).await;
    assert!(begun.elapsed() >= Duration::from_secs(6), "each retry waited for a second");
}

#[tokio::test]
async fn server_errors() {
    let status = |code: u16, reason: &str| {
        let body = format!(
            r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"m","reason":"{reason}","code":{code}}}"#
        );
        Answer::new(code, body).header("content-type", "application/json")
    };
    answer_passes(status(500, "InternalError"), |e, _| matches!(e, Error::Api(s) if s.code == 500)).await;
    answer_passes(
        status(503, "ServiceUnavailable").header("retry-after", "0"),
        |e, _| matches!(e, Error::Api(s) if s.code == 503),
    )
    .await;
    answer_passes(status(504, "Timeout"), |e, _| matches!(e, Error::Api(s) if s.code == 504)).await;
    answer_passes(Answer::new(502, "<html>Bad Gateway"), |e, _| matches!(e, Error::Api(s) if s.code == 502)).await;
}

#[tokio::test]
async fn a_wait_longer_than_the_call_may_take_is_not_begun() {
    let answer = Answer::new(503, "busy").header("retry-after", "3600");
    answer_stays(answer, |e, _| matches!(e, Error::Api(s) if s.retry_after_seconds == Some(3600))).await;
}

#[tokio::test]
async fn forbidden_by_a_proxy() {
    let answer = Answer::new(403, "<html><h1>403 Forbidden</h1></html>").header("content-type", "text/html");
    answer_stays(answer, |e, _| matches!(e, Error::Api(s) if s.code == 403 && s.message.contains("<h1>"))).await;
}

#[tokio::test]
async fn a_redirect() {
    let answer = Answer::new(307, "").header("location", "https://127.0.0.1/");
    answer_stays(answer, |e, _| matches!(e, Error::Transport(TransportError::Redirected(_)))).await;
}

#[tokio::test]
async fn garbage_protobuf() {
    let garbage: Vec<u8> = (0..=255).cycle().take(3000).collect();
    answer_stays(protobuf([b"k8s\0", &garbage[..]].concat()), |e, call| malformed(e, call) || limit(e, call)).await;
    // For a watch, this is a frame of 255 bytes.
    answer_stays(protobuf([&[0, 0, 0, 255][..], &garbage].concat()), malformed).await;
}

#[tokio::test]
async fn protobuf_of_another_kind() {
    let unknown = b"k8s\0\x0a\x0e\x0a\x02v1\x12\x08NodeList\x12\x00";
    let event = [b"\x0a\x05ADDED\x12\x18\x0a\x16", &unknown[..]].concat();
    let frame = [&(event.len() as u32).to_be_bytes()[..], &event].concat();
    for call in CALLS {
        let body = if call.is_watch() { frame.clone() } else { unknown.to_vec() };
        let testbed = Testbed::serving(move |_| protobuf(body.clone())).await;
        let error = Caller::impatient(&testbed).outcome(call).await.unwrap_err();
        let says = if call.is_json() { "protobuf, not JSON" } else { "NodeList" };
        assert!(matches!(&error, Error::MalformedResponse(text) if text.contains(says)), "{call:?}: {error:?}");
    }
}

/// The body has its full length, but ends in the middle of a character.
#[tokio::test]
async fn json_cut_in_the_middle_of_a_character() {
    let body = r#"{"kind":"PodList","items":[{"metadata":{"name":"ä"#.as_bytes();
    for call in LISTS {
        let body = body[..body.len() - 1].to_vec();
        let testbed = Testbed::serving(move |_| json(body.clone())).await;
        let error = Caller::impatient(&testbed).outcome(call).await.unwrap_err();
        assert!(malformed(&error, call), "{error:?}");
    }
    let broken = [br#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":""#, &b"\xc3"[..], br#""}}}"#].concat();
    for call in [Call::Watch, Call::JsonWatch] {
        let broken = broken.clone();
        let testbed = Testbed::serving(move |_| json(broken.clone())).await;
        assert!(malformed(&Caller::impatient(&testbed).outcome(call).await.unwrap_err(), call));
    }
}

#[tokio::test]
async fn deeply_nested_json() {
    let body = format!(r#"{{"kind":"PodList","items":[{{"spec":{}"#, "[".repeat(1_000_000));
    answer_stays(json(body), limit).await;
}

#[tokio::test]
async fn gzip_though_not_asked_for() {
    answer_stays(json(&b"\x1f\x8b\x08\x00"[..]).header("content-encoding", "gzip"), malformed).await;
}

#[tokio::test]
async fn a_status_that_says_it_is_no_failure() {
    let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"m","reason":"Expired","code":410}"#;
    answer_stays(json(status), malformed).await;
}

#[tokio::test]
async fn a_pod_without_end() {
    let body = format!(r#"{{"kind":"PodList","items":[{{"metadata":{{"name":"{}"#, "a".repeat(17 << 20));
    answer_stays(json(body), limit).await;
}
