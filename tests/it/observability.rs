//! Tests of the metrics and logs about requests.

use crate::log::Log;
use crate::{list_shop, tenant};
use incluster::policy::Policy;
use incluster::types::{ListOptions, RetryPolicy};
use incluster::{RequestLimits, TenantLimits};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::collections::BTreeMap;
use std::time::Duration;
use testbed::{Answer, Ca, PodStore, TOKEN, Testbed};

/// Returns each counter's value and each histogram's number of values, by name and labels.
fn figures(recorder: &metrics_util::debugging::Snapshotter) -> BTreeMap<String, u64> {
    let figure = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let labels: Vec<_> = key.key().labels().map(|label| label.value().to_string()).collect();
        let name = [&[key.key().name().to_string()], &labels[..]].concat().join(" ");
        let figure = match value {
            DebugValue::Counter(n) => n,
            DebugValue::Histogram(values) => values.len() as u64,
            DebugValue::Gauge(_) => 0,
        };
        (name, figure)
    };
    recorder.snapshot().into_vec().into_iter().map(figure).collect()
}

/// Counts requests with a recorder for this test's thread only, so that other tests' requests are not counted.
#[tokio::test]
async fn counters() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = tenant(&testbed).with_retry_policy(RetryPolicy { attempts: Some(3), ..RetryPolicy::DEFAULT });
    list_shop(&tenant).await.unwrap();
    store.fail_next(1, Answer::new(503, "busy"));
    list_shop(&tenant).await.unwrap();
    assert!(tenant.list_namespaced_pods("other", &ListOptions::ALL).await.is_err());
    store.accept_token("another");
    testbed.volume.set("token", b"another");
    testbed.volume.set("ca.crt", Ca::new("another").pem().as_bytes());
    list_shop(&tenant).await.unwrap();
    testbed.server.stop().await;
    assert!(list_shop(&tenant).await.is_err());
    drop(tenant);

    let figures = figures(&snapshotter);
    let is = |name: &str, expected: u64| assert_eq!(figures.get(name), Some(&expected), "{name} in {figures:#?}");
    is("incluster_requests_total test success", 3);
    is("incluster_requests_total test server_error", 1);
    is("incluster_requests_total test forbidden", 1);
    is("incluster_retries_total test", 4);
    is("incluster_token_changes_total test", 1);
    is("incluster_ca_reloads_total changed", 1);
    is("incluster_first_byte_seconds test success", 3);
    is("incluster_request_seconds test complete", 6);
    assert!(figures["incluster_response_bytes_total test"] > 3 * 50_000, "{figures:#?}");
    assert!(figures.keys().any(|name| name == "incluster_requests_total test refused"), "{figures:#?}");
}

/// Exceeding the request rate counts as a limit, not as a denial.
#[tokio::test]
async fn a_rate_is_a_limit() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let testbed = Testbed::start().await;
    let limits = TenantLimits { requests_per_second: 1, request_burst: 1, ..TenantLimits::default() };
    let tenant = tenant(&testbed).with_limits(limits).unwrap();
    list_shop(&tenant).await.unwrap();
    while list_shop(&tenant).await.is_ok() {}
    assert!(list_shop(&tenant.with_policy(Policy::deny_all())).await.is_err());

    let figures = figures(&snapshotter);
    assert!(figures["incluster_limits_exceeded_total test requests_per_second"] >= 1, "{figures:#?}");
    assert!(figures["incluster_requests_total test limit"] >= 1, "{figures:#?}");
    assert!(!figures.contains_key("incluster_denied_total test requests_per_second"), "{figures:#?}");
}

/// A late head counts as a timeout and not as a dropped request: the guest has the same limit, but waits a little longer than the door.
#[tokio::test]
async fn a_late_head_is_a_timeout() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let testbed = Testbed::serving_async(|_| std::future::pending()).await;
    let second = Duration::from_secs(1);
    let limits = RequestLimits { first_byte: second / 20, connect: second, handshake: second, ..RequestLimits::default() };
    assert!(list_shop(&tenant(&testbed).with_limits(limits).unwrap()).await.is_err());

    let figures = figures(&snapshotter);
    let of = ["incluster_requests_total", "incluster_first_byte_seconds", "incluster_request_seconds"];
    let timeouts = of.map(|name| figures.get(&format!("{name} test timeout")));
    assert_eq!(timeouts, [Some(&1); 3], "{figures:#?}");
}

#[tokio::test]
async fn a_span_for_each_request_without_query_and_token() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false).with_writer(log.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let store = PodStore::recorded();
    let answers = store.handler();
    let testbed = Testbed::serving(move |request| answers(request).header("warning", "299 - \"v1 Pod is old\"")).await;
    store.fail_next(1, Answer::new(429, "busy"));
    let options = ListOptions { label_selector: Some("confidential=yes".into()), ..ListOptions::ALL };
    let patient = tenant(&testbed).with_retry_policy(RetryPolicy::DEFAULT);
    patient.list_namespaced_pods("shop", &options).await.unwrap();

    let log = log.text();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("kubernetes_request{")).collect();
    let path = "kubernetes_request{tenant=\"test\" method=\"GET\" path=\"/api/v1/namespaces/shop/pods\" attempt=";
    for part in [
        format!("{path}1 verb=list status=429}}"),
        format!("{path}2 verb=list status=200}}"),
        format!("{path}2 verb=list status=200 bytes="),
        "done seconds=0.".into(),
        "outcome=\"complete\"".into(),
        "the API server warns warning=\"v1 Pod is old\" suppressed=0".into(),
    ] {
        assert!(lines.iter().any(|line| line.contains(&part)), "{part} in {lines:#?}");
    }
    let ours = lines.iter().filter(|line| line.contains("incluster"));
    for line in ours {
        assert!(!line.contains("confidential") && !line.contains(TOKEN), "{line}");
    }
}
