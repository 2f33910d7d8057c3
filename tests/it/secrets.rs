//! The token is sent to the API server, and appears nowhere else.

use crate::log::Log;
use crate::{portable, tenant, tenant_at};
use incluster::Tenant;
use incluster::types::{ListOptions, PagingOptions, WatchOptions};
use testbed::{Answer, Ca, Request, TOKEN, Testbed};

/// The parts of the token that would be of use to somebody.
fn has_secret(text: &str) -> bool {
    let signature = TOKEN.rsplit('.').next().unwrap();
    text.contains(signature) || text.contains(&TOKEN[..40]) || text.contains("Bearer ey")
}

/// A server that sends back what it was sent, wherever an answer has room for it.
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

/// Everything that can go right or wrong, with all of the process's logs at their loudest.
#[tokio::test]
async fn the_token_is_in_no_log_error_or_debug() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // This test's thread runs all of it: the server, the client and the guest.
    let _logged = tracing::subscriber::set_default(subscriber);

    let mut texts = Vec::new();
    let good = Testbed::start().await;
    let echoing = Testbed::serving(echo).await;
    // In both modes: the guest takes the token out of texts that have it, the host withholds the answer.
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
    let log = log.text();
    assert!(log.contains("hyper"), "the logs of the HTTP client are on");
    let line = log.lines().find(|line| has_secret(line));
    assert_eq!(line, None);
}
