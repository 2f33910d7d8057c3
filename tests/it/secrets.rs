//! Checks that the token is sent only to the API server, and appears nowhere else.

use crate::echoes::{certificate, http_1, leaks, volume};
use crate::http_2::http_2;
use crate::log::Log;
use crate::{portable, tenant, tenant_at};
use incluster::types::{ListOptions, PagingOptions, WatchOptions};
use incluster::{Error, Tenant};
use metrics_util::debugging::DebuggingRecorder;
use std::fmt::Debug;
use testbed::{Answer, Ca, Chunk, Request, TOKEN, Testbed};
use tokio::sync::mpsc;

/// Returns all texts that a caller gets from a tenant: answers and errors.
async fn said(tenant: &Tenant, is_brokered: bool) -> Vec<String> {
    // A complete answer may contain the token if the caller has the token itself.
    fn shown<T: Debug>(answer: &Result<T, Error>, is_brokered: bool) -> String {
        match answer {
            Ok(answer) if is_brokered => format!("{answer:?}"),
            Ok(_) => String::new(),
            Err(error) => format!("{error:?} {error}"),
        }
    }
    let list = tenant.list_namespaced_pods("shop", &ListOptions::ALL).await;
    let mut pages = tenant.page_namespaced_pods("shop", &ListOptions::ALL, &PagingOptions::DEFAULT).await.unwrap();
    let options = WatchOptions { resource_version: Some("1".into()), ..WatchOptions::ALL };
    let mut watch = tenant.watch_namespaced_pods("shop", &options).await.unwrap();
    let text = tenant.get_json("/api").await.map(|json| String::from_utf8_lossy(&json).into_owned());
    vec![
        shown(&list, is_brokered),
        shown(&pages.next().await, is_brokered),
        shown(&watch.next().await, is_brokered),
        shown(&text, is_brokered),
    ]
}

/// A peer cannot get the token echoed anywhere: by any fault, to guests with and without the token, with all logs at trace level.
#[tokio::test]
async fn no_peer_can_make_the_token_appear_anywhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let mut testbeds = vec![("a certificate", certificate().await), ("ca.crt", volume().await)];
    for (way, fault) in http_1().into_iter().chain(http_2()) {
        testbeds.push((way, Testbed::faulty(fault).await));
    }
    let mut withheld = 0;
    for (way, testbed) in &testbeds {
        for (make, is_brokered) in [(tenant as fn(&Testbed) -> Tenant, true), (portable, false)] {
            let said = said(&make(testbed), is_brokered).await;
            for text in &said {
                assert!(!leaks(text), "{way}: {text}");
                withheld += usize::from(text.contains("and was withheld"));
            }
            assert!(!testbed.server.requests().is_empty() || ["a certificate", "ca.crt"].contains(way), "{way}: {said:?}");
        }
    }
    assert!(withheld > 50, "{withheld}");
    tracing::trace!("all logs are on");
    let log = log.text();
    assert!(log.contains("incluster: failed") && log.contains("all logs are on"));
    let client = |line: &&str| !line.contains("testbed") && leaks(line);
    assert_eq!(log.lines().find(client), None);
    for (key, ..) in snapshotter.snapshot().into_vec() {
        assert!(key.key().labels().all(|label| !leaks(label.value())), "{key:?}");
    }
}

/// An open watch outlives a token's renewal. An echo of the old token or of the new one is then withheld.
#[tokio::test]
async fn a_watch_that_outlives_a_token_knows_the_next_one() {
    let renewed = TOKEN.replace("eyJhdWQi", "eyJhYmMi");
    for sent_back in [TOKEN, &renewed] {
        let (sender, receiver) = mpsc::unbounded_channel();
        let events = Answer::streaming(200, receiver).header("content-type", "application/json");
        let accepted = renewed.clone();
        let testbed = Testbed::serving(move |request: &Request| match request.header("authorization") {
            _ if request.path_and_query.contains("watch=") => events.clone(),
            Some(sent) if sent.ends_with(&accepted) => Answer::new(200, "{}").header("content-type", "application/json"),
            _ => Answer::new(401, ""),
        });
        let testbed = testbed.await;
        let tenant = tenant(&testbed);
        let options = WatchOptions { resource_version: Some("1".into()), ..WatchOptions::ALL };
        let mut watch = tenant.watch_namespaced_pods("shop", &options).await.unwrap();
        let event = |name: &str| {
            let pod = format!(r#"{{"kind":"Pod","metadata":{{"name":"{name}","resourceVersion":"2"}}}}"#);
            sender.send(Chunk::Data(format!("{{\"type\":\"ADDED\",\"object\":{pod}}}\n").into())).unwrap();
        };
        // Only the beginning of the token: the event is not held back.
        event(&TOKEN[..15]);
        assert!(watch.next().await.unwrap().is_some());
        testbed.volume.set("token", renewed.as_bytes());
        tenant.get_json("/api").await.unwrap();
        event("another");
        assert!(watch.next().await.unwrap().is_some());
        event(sent_back);
        let error = watch.next().await.unwrap_err().to_string();
        assert!(error.contains("and was withheld") && !leaks(&error), "{error}");
    }
}

/// Whether a text contains a part of the token that is worth stealing.
fn has_secret(text: &str) -> bool {
    let signature = TOKEN.rsplit('.').next().unwrap();
    text.contains(signature) || text.contains(&TOKEN[..40]) || text.contains("Bearer ey")
}

/// A handler that echoes the token in every place that an answer has for it.
fn echo(request: &Request) -> Answer {
    let sent = request.header("authorization").unwrap_or_default();
    let json = |body: String| Answer::new(200, body).header("content-type", "application/json");
    match request.path().split('/').nth(4).unwrap_or_default() {
        "text" => Answer::new(403, format!("you sent authorization: {sent}")).header("content-type", "text/plain"),
        "status" => Answer { status: 500, ..json(format!(r#"{{"status":"Failure","message":"{sent}","reason":"{sent}"}}"#)) },
        "protobuf" => {
            let message = [&[3 << 3 | 2, 200, 2][..], format!("{sent:>328}").as_bytes()].concat();
            assert_eq!(message.len(), 331);
            let body = [b"k8s\0", &[2 << 3 | 2, 0xcb, 2][..], &message].concat();
            Answer::new(500, body).header("content-type", "application/vnd.kubernetes.protobuf")
        }
        "redirect" => Answer::new(302, "").header("location", &format!("https://127.0.0.1/?{sent}")),
        "type" => Answer::new(200, "").header("content-type", sent),
        "kind" => json(format!(r#"{{"kind":"{sent}"}}"#)),
        "event" => json(format!(r#"{{"type":"ERROR","object":{{"kind":"Status","message":"{sent}","code":403}}}}"#)),
        "expired" => json(format!(r#"{{"type":"ERROR","object":{{"kind":"Status","message":"{sent}","code":410}}}}"#)),
        "type-of-event" => json(format!(r#"{{"type":"{sent}","object":{{"kind":"Pod"}}}}"#)),
        "time" => json(format!(r#"{{"kind":"PodList","items":[{{"metadata":{{"creationTimestamp":"{sent}"}}}}]}}"#)),
        _ => Answer::new(500, format!("{:?}", request.headers)),
    }
}

/// No log, error or debug text contains the token, whatever goes right or wrong, with all logs at trace level.
#[tokio::test]
async fn the_token_is_in_no_log_error_or_debug() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // Server, client and guest all run on this test's thread.
    let _logged = tracing::subscriber::set_default(subscriber);

    let mut texts = Vec::new();
    let good = Testbed::start().await;
    let echoing = Testbed::serving(echo).await;
    // Both modes: without the token in the guest, the host withholds the answer; with it, the guest redacts the token in texts.
    for (testbed, make, says) in [
        (&good, tenant as fn(&Testbed) -> Tenant, ""),
        (&echoing, tenant, "withheld"),
        (&good, portable, ""),
        (&echoing, portable, "(redacted)"),
    ] {
        for namespace in ["shop", "other", "../x", "text", "status", "protobuf", "redirect", "type", "kind", "time"] {
            texts.push(format!("{:?}", make(testbed).list_namespaced_pods(namespace, &ListOptions::ALL).await.err()));
            let pages = make(testbed).page_namespaced_pods(namespace, &ListOptions::ALL, &PagingOptions::DEFAULT).await;
            if let Ok(mut pages) = pages {
                texts.push(format!("{:?}", pages.next().await.err()));
            }
        }
        let namespaces = ["event", "expired", "type-of-event", "text", "status", "protobuf", "redirect", "type"];
        for namespace in namespaces.into_iter().filter(|_| !std::ptr::eq(testbed, &good)) {
            let options = WatchOptions { resource_version: Some("1".into()), ..WatchOptions::ALL };
            let mut watch = make(testbed).watch_namespaced_pods(namespace, &options).await.unwrap();
            let event = format!("{:?}", watch.next().await);
            assert!(event.contains(says), "{namespace}: {event}");
            texts.push(event);
        }
        for path in ["/version", "/api/v1/nodes", "/api/v1/namespaces/text/pods"] {
            let error = make(testbed).get_json(path).await.unwrap_err();
            texts.extend([format!("{error:?}"), error.to_string()]);
        }
    }
    texts.push(format!("{:?}", tenant_at("https://127.0.0.1:1", &good).get_json("/api").await));
    for (file, content) in [
        ("ca.crt", Ca::new("another").pem().into_bytes()),
        ("token", format!("{TOKEN}\nsecond line").into_bytes()),
        ("token", format!("{TOKEN}\0").into_bytes()),
    ] {
        good.volume.set(file, &content);
        texts.push(format!("{:?}", tenant(&good).get_json("/api").await));
    }

    for text in &texts {
        assert!(!has_secret(text), "{text}");
    }
    tracing::trace!("all logs are on");
    let log = log.text();
    assert!(log.contains("all logs are on"));
    let line = log.lines().find(|line| has_secret(line));
    assert_eq!(line, None);
}
