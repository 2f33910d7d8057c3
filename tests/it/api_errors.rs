//! Failures that the API server, or a proxy in front of it, answers with.

use crate::{kubernetes, list_shop, tenant};
use incluster::types::{Error, ListOptions, Status, TransportError};
use testbed::{Answer, Ca, Recording, Testbed};

async fn answered(answer: Answer) -> Error {
    let testbed = Testbed::serving(move |_| answer.clone()).await;
    let result = kubernetes(tenant(&testbed).list_namespaced_pods("shop", &ListOptions::ALL).await);
    result.expect_err("a failure")
}

async fn status(answer: Answer) -> Status {
    match answered(answer).await {
        Error::Api(status) => status,
        other => panic!("{other:?}"),
    }
}

/// Encodes the failure in protobuf, as a server would.
fn in_protobuf(json: &Answer) -> Answer {
    let status: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    Answer::new(json.status, protobuf::status(&status)).header("content-type", "application/vnd.kubernetes.protobuf")
}

#[tokio::test]
async fn every_recorded_failure_in_both_encodings() {
    for (name, code, reason, message) in [
        ("list-label-selector-invalid", 400, "BadRequest", "unable to parse requirement"),
        ("list-continue-malformed", 400, "BadRequest", "continue key is not valid"),
        (
            "list-continue-with-resource-version",
            400,
            "BadRequest",
            "specifying resource version is not allowed when using continue",
        ),
        ("list-limit-invalid", 400, "BadRequest", "strconv.ParseInt"),
        ("list-unauthorized", 401, "Unauthorized", "Unauthorized"),
        ("list-forbidden", 403, "Forbidden", "pods is forbidden: User \"system:serviceaccount:shop:lister\""),
        ("list-all-namespaces-forbidden", 403, "Forbidden", "at the cluster scope"),
        ("get-pod-not-found", 404, "NotFound", "not found"),
        ("path-not-found", 404, "NotFound", "could not find the requested resource"),
        ("method-not-allowed", 405, "MethodNotAllowed", "does not allow this method"),
        ("list-not-acceptable", 406, "NotAcceptable", "406: Not Acceptable"),
        ("list-rv-exact-0", 422, "Invalid", "resourceVersionMatch"),
        ("list-rv-match-without-rv", 422, "Invalid", "resourceVersionMatch"),
    ] {
        let json = Recording::read(name).answer;
        let decoded = status(json.clone()).await;
        assert_eq!((decoded.code, decoded.reason.as_deref()), (code, Some(reason)), "{name}");
        assert!(decoded.message.contains(message), "{name}: {}", decoded.message);
        assert_eq!(status(in_protobuf(&json)).await, decoded, "{name}");
    }
}

#[tokio::test]
async fn expired_is_an_error_of_its_own() {
    let json = Recording::read("list-continue-expired").answer;
    let Error::Expired(expired) = answered(json.clone()).await else { panic!("the list has not expired") };
    assert!(expired.message.contains("continue parameter is too old") && expired.continue_token.is_some(), "{expired:?}");
    assert_eq!(answered(in_protobuf(&json)).await, Error::Expired(expired));
    // A version that the server does not have, for example after a restore from an older backup.
    let json = Recording::read("list-rv-future").answer;
    let Error::Expired(expired) = answered(json.clone()).await else { panic!("the list has not expired") };
    assert!(expired.message.contains("Too large resource version"), "{expired:?}");
    assert_eq!(answered(in_protobuf(&json)).await, Error::Expired(expired));
}

#[tokio::test]
async fn an_internal_error_in_both_encodings() {
    let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"etcdserver: request timed out",
        "reason":"InternalError","details":{"causes":[{"message":"etcdserver: request timed out"}],"retryAfterSeconds":2},"code":500}"#;
    let json = Answer::new(500, body).header("content-type", "application/json");
    let decoded = status(json.clone()).await;
    assert_eq!((decoded.code, decoded.reason.as_deref()), (500, Some("InternalError")));
    assert_eq!(decoded.retry_after_seconds, Some(2));
    assert_eq!(decoded.details.as_ref().unwrap().causes[0].message.as_deref(), Some("etcdserver: request timed out"));
    assert_eq!(status(in_protobuf(&json)).await, decoded);
}

#[tokio::test]
async fn recorded_protobuf_failures() {
    let recorded = status(Recording::read("list-forbidden-protobuf").answer).await;
    assert_eq!(recorded, status(Recording::read("list-forbidden").answer).await);
}

#[tokio::test]
async fn failures_whose_body_is_not_a_status() {
    let text = Answer::new(429, "Too many requests, please try again later.\n")
        .header("content-type", "text/plain")
        .header("retry-after", "1");
    let busy = status(text).await;
    assert_eq!(
        (busy.code, &*busy.message, busy.retry_after_seconds),
        (429, "Too many requests, please try again later.", Some(1))
    );
    let html = status(Answer::new(403, "<html><h1>403 Forbidden</h1></html>").header("content-type", "text/html")).await;
    assert_eq!((html.code, html.reason), (403, None));
    let bare = status(Answer::new(502, "")).await;
    assert_eq!((bare.code, &*bare.message), (502, ""));
}

#[tokio::test]
async fn answers_that_are_not_a_list() {
    for (answer, says) in [
        (Answer::new(200, "<html>").header("content-type", "text/html"), "text/html"),
        (Answer::new(200, "{}").header("content-type", "application/json"), "expected a PodList"),
        (Answer::new(200, "{\"kind\":\"Pod").header("content-type", "application/json"), "ends before the list does"),
        (Answer::new(200, "k8s!").header("content-type", "application/vnd.kubernetes.protobuf"), "does not begin with k8s"),
        (Answer::new(200, "\x1f\x08").header("content-type", "application/json").header("content-encoding", "gzip"), "gzip"),
        (Answer::new(204, ""), "204"),
    ] {
        match answered(answer).await {
            Error::MalformedResponse(message) => assert!(message.contains(says), "{message}"),
            other => panic!("{says}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_nothing_is_sent_to_its_target() {
    let ca = Ca::new("other");
    let elsewhere = testbed::Server::start(ca.identity(&["127.0.0.1"]), testbed::Protocol::Any, |_| Answer::new(200, "")).await;
    for code in [301, 302, 303, 307, 308] {
        let target = format!("{}/api/v1/namespaces/shop/pods", elsewhere.url());
        match answered(Answer::new(code, "").header("location", &target)).await {
            Error::Transport(TransportError::Redirected(to)) => assert!(to.contains(&target), "{to}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_failure_leaves_the_next_call_alone() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed);
    assert!(tenant.list_namespaced_pods("other", &ListOptions::ALL).await.is_err());
    assert_eq!(list_shop(&tenant).await.unwrap().items.len(), 7);
}

/// An encoder of `Status` in protobuf, written by hand, so that it does not depend on the code under test.
mod protobuf {
    use serde_json::Value;

    pub fn status(status: &Value) -> Vec<u8> {
        let details = &status["details"];
        let mut encoded: Vec<u8> =
            [("name", 1), ("group", 2), ("kind", 3)].into_iter().flat_map(|(name, n)| text(n, &details[name])).collect();
        for cause in details["causes"].as_array().into_iter().flatten() {
            let cause: Vec<u8> =
                [("reason", 1), ("message", 2), ("field", 3)].into_iter().flat_map(|(name, n)| text(n, &cause[name])).collect();
            encoded.extend(field(4, &cause));
        }
        encoded.extend(number(5, &details["retryAfterSeconds"]));
        let mut body = field(1, &text(3, &status["metadata"]["continue"]));
        body.extend([("status", 2), ("message", 3), ("reason", 4)].into_iter().flat_map(|(name, n)| text(n, &status[name])));
        body.extend(field(5, &encoded));
        body.extend(number(6, &status["code"]));
        [b"k8s\0".to_vec(), field(1, &[field(1, b"v1"), field(2, b"Status")].concat()), field(2, &body)].concat()
    }

    fn text(number: u8, value: &Value) -> Vec<u8> {
        // Go writes empty strings too.
        field(number, value.as_str().unwrap_or_default().as_bytes())
    }

    fn number(number: u8, value: &Value) -> Vec<u8> {
        [vec![number << 3], varint(value.as_u64().unwrap_or_default())].concat()
    }

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [vec![number << 3 | 2], varint(content.len() as u64), content.to_vec()].concat()
    }

    fn varint(mut n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    }
}
