//! Tests of what a client sees of each fault.

use super::*;
use crate::client::{Error, PODS, ask, get};
use std::time::Duration;

async fn fails(fault: Fault) -> (Error, usize) {
    let testbed = Testbed::faulty_at_first(fault.clone(), 1).await;
    let error = get(&testbed, PODS).await.expect_err(&format!("{fault:?}"));
    let requests = testbed.server.requests();
    assert!(requests.iter().all(|request| request.path() == PODS && request.header("authorization").is_some()));
    let (status, body) = get(&testbed, PODS).await.unwrap();
    assert_eq!((status, body), (200, crate::Recording::read("list-json").answer.body), "{fault:?} was once");
    (error, requests.len())
}

#[tokio::test]
async fn connections_that_break() {
    match fails(Fault::Reset).await {
        (Error::Connect(error), 0) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    match fails(Fault::TlsAlert).await {
        (Error::Connect(error), 0) => assert!(error.to_string().contains("HandshakeFailure"), "{error}"),
        other => panic!("{other:?}"),
    }
    for fault in [Fault::ResetAfterRequest, Fault::CloseAfterRequest, Fault::Raw(b"SSH-2.0-OpenSSH\r\n".into())] {
        assert!(matches!(fails(fault).await, (Error::Head(_), 1)));
    }
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec();
    assert!(matches!(fails(Fault::Raw(short)).await, (Error::Body(_), 1)));
}

#[tokio::test]
async fn streams_that_break() {
    let (error, requests) = fails(Fault::StreamRefused(7)).await;
    assert_eq!((error.reason(), requests), (Some(h2::Reason::REFUSED_STREAM), 1));
    let (error, requests) = fails(Fault::StreamReset).await;
    assert_eq!((error.reason(), requests), (Some(h2::Reason::INTERNAL_ERROR), 1));
    assert!(matches!(error, Error::Body(_)));
    let (error, requests) = fails(Fault::GoAway).await;
    assert_eq!((error.reason(), requests), (Some(h2::Reason::NO_ERROR), 1));
    assert!(matches!(error, Error::Head(_)));
}

#[tokio::test]
async fn silences() {
    let nothing = Duration::from_millis(50);
    for (fault, requests) in [(Fault::Silent, 0), (Fault::HalfHandshake, 0), (Fault::NoHead, 1), (Fault::HalfHead, 1)] {
        let testbed = Testbed::faulty(fault.clone()).await;
        assert!(tokio::time::timeout(nothing, ask(&testbed, PODS)).await.is_err(), "{fault:?}");
        assert_eq!((testbed.server.requests().len(), testbed.server.connections()), (requests, 1), "{fault:?}");
    }
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec();
    for fault in [Fault::RawThenStall(head), Fault::NoAnswer, Fault::HalfAnswer] {
        let testbed = Testbed::faulty(fault.clone()).await;
        assert!(tokio::time::timeout(nothing, get(&testbed, PODS)).await.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn faults_that_become_due_while_the_server_runs() {
    let faults = Faults::default();
    let testbed = Testbed::disturbed(&faults, PodApi::answer).await;
    assert_eq!(get(&testbed, PODS).await.unwrap().0, 200);
    faults.commit(Fault::Reset, 1);
    faults.commit(Fault::StreamRefused(8), 1);
    assert!(matches!(get(&testbed, PODS).await, Err(Error::Connect(_))));
    assert_eq!(get(&testbed, PODS).await.unwrap_err().reason(), Some(h2::Reason::CANCEL));
    faults.speak(Protocol::Http1);
    let answer = ask(&testbed, PODS).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_11));
}

#[tokio::test]
async fn drops() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    let testbed = Testbed::faulty(Fault::Drip(answer)).await;
    assert_eq!(get(&testbed, PODS).await.unwrap(), (200, "{}".into()));
}
