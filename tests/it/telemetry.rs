//! Compares `docs/telemetry.md` and the dashboard with the real metrics, spans and logs.

use crate::log::Log;
use crate::tidy::files;
use crate::{RUNTIME, compiler, load};
use incluster::policy::Policy;
use incluster::types::{ListOptions, PodEvent, RetryPolicy, WatchOptions};
use incluster::{
    Compiler, Ctx, Error, Extension, Identity, Reuse, Runtime, Sandboxes, Server, StoreOptions, Tenant, TenantLimits,
    describe_metrics,
};
use metrics::Unit;
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};
use testbed::{Answer, Ca, PodStore, Request, TOKEN, Testbed};
use tracing_subscriber::fmt::format::FmtSpan;
use wasmtime::Store;
use wasmtime_wasi::p2::bindings::{Command, CommandIndices};

/// The kind, unit and labels of each metric, by name.
type Metrics = BTreeMap<String, (String, String, BTreeSet<String>)>;

/// Lets the runtime work until the condition holds, checking it again after each turn.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// Reads the table of metrics in the document: name, kind, unit, labels.
fn documented() -> Metrics {
    let (_, text) = files("docs/telemetry.md").remove(0);
    let rows = text.lines().filter(|line| line.starts_with("| `incluster_"));
    let row = |line: &str| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels = cells[4].split(", ").filter(|label| !label.is_empty()).map(String::from).collect();
        (cells[1].clone(), (cells[2].clone(), cells[3].clone(), labels))
    };
    rows.map(row).collect()
}

/// Adds the recorded metrics to those seen before, and the names of those with a value to `moved`.
fn told(snapshotter: &Snapshotter, metrics: &mut Metrics, moved: &mut BTreeSet<String>) {
    for (key, unit, help, value) in snapshotter.snapshot().into_vec() {
        let kind = match key.kind() {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let has_moved = match value {
            DebugValue::Counter(count) => count > 0,
            DebugValue::Gauge(value) => value.0 != 0.0,
            DebugValue::Histogram(values) => !values.is_empty(),
        };
        let name = key.key().name().to_string();
        assert!(help.is_some_and(|help| !help.is_empty()), "{name} has no help");
        let unit = unit.as_ref().map_or("", Unit::as_canonical_label).to_string();
        let entry = metrics.entry(name).or_insert_with(|| (kind.into(), unit, BTreeSet::new()));
        if has_moved {
            moved.insert(key.key().name().into());
            entry.2.extend(key.key().labels().map(|label| label.key().to_string()));
        }
    }
}

async fn pods(tenant: &Tenant) -> Result<usize, Error> {
    tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.map(|list| list.items.len())
}

#[tokio::test]
async fn every_metric_is_as_documented() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (mut seen, mut moved) = (Metrics::new(), BTreeSet::new());

    // A new runtime, so that this recorder gets its number of places.
    let runtime = Runtime::builder().compiler(compiler()).build().unwrap();
    describe_metrics();
    let store = PodStore::recorded();
    let (issued, answers) = (store.clone(), store.clone());
    let testbed = Testbed::serving(move |request: &Request| {
        if request.method != "POST" {
            return answers.answer(request);
        }
        issued.accept_tokens(&[TOKEN, "issued"]);
        let expires = humantime::format_rfc3339(SystemTime::now() + Duration::from_secs(3600)).to_string();
        Answer::new(201, serde_json::json!({"status": {"token": "issued", "expirationTimestamp": expires}}).to_string())
    });
    let testbed = testbed.await;
    let server = Server::parse(&testbed.server.url()).unwrap();
    let builder = Tenant::builder(&runtime, "test").server(server).policy(Policy::allow_all());
    let tenant = builder.clone().service_account_dir(testbed.volume.path()).build().unwrap();
    let tenant = tenant.with_reuse(Reuse { kept: 1, ..Reuse::default() });
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    while !matches!(watch.next().await.unwrap(), Some(PodEvent::Synced(_))) {}
    assert_eq!(pods(&tenant).await.unwrap(), 7);
    let _store = tenant.pod_store("shop", &StoreOptions::default()).unwrap();
    told(&snapshotter, &mut seen, &mut moved);

    store.fail_next(1, Answer::new(503, "busy"));
    pods(&tenant).await.unwrap();
    assert!(pods(&tenant.with_policy(Policy::deny_all())).await.is_err());
    let once = tenant.with_limits(TenantLimits { requests_per_second: 1, request_burst: 1, ..TenantLimits::default() }).unwrap();
    while pods(&once.with_retry_policy(RetryPolicy::NEVER)).await.is_ok() {}
    // A warm sandbox makes way for a store.
    let one = tenant.with_limits(TenantLimits { instances: 1, ..TenantLimits::default() }).unwrap();
    pods(&one).await.unwrap();
    drop(one.store(|ctx| ctx.build()).await.unwrap());
    let account = Identity::token_request("shop", "gateway").asked_by(testbed.volume.path());
    pods(&builder.identity(account).build().unwrap()).await.unwrap();
    store.accept_token("another");
    testbed.volume.set("token", b"another");
    pods(&tenant).await.unwrap();
    testbed.volume.set("ca.crt", Ca::new("another").pem().as_bytes());
    testbed.server.hang_up();
    drop(watch);
    // Two attempts: the first may use the closed connection, and more would wait for ca.crt to change.
    let _ = pods(&tenant.with_retry_policy(RetryPolicy { attempts: Some(2), ..RetryPolicy::DEFAULT })).await;
    // The gauge of compiling children is set only while one runs.
    let loading = runtime.extension("test", extensions::PICKER, &[]);
    let compiling = async {
        until(|| {
            told(&snapshotter, &mut seen, &mut moved);
            moved.contains("incluster_compiling_children")
        })
        .await;
    };
    tokio::select! {
        () = compiling => {}
        loaded = loading => drop(loaded),
    }
    told(&snapshotter, &mut seen, &mut moved);
    assert_eq!(seen, documented());
    assert_eq!(moved, documented().into_keys().collect());
}

/// A call's span contains its requests' spans, and says how long each part took.
#[tokio::test]
async fn a_calls_span_is_around_its_requests() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = crate::tenant(&testbed);
    // tracing may miss a subscriber that is set while another thread's call is the first to reach a span.
    pods(&tenant).await.unwrap();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let subscriber = subscriber.with_span_events(FmtSpan::CLOSE).with_writer(log.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    pods(&tenant).await.unwrap();
    let mut watch = tenant.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    let _ = watch.next().await.unwrap();
    let log = log.text();
    let line = |verb: &str| {
        let found = log.lines().find(|line| line.contains(&format!("verb={verb}")) && line.contains("answered"));
        found.unwrap_or_else(|| panic!("{verb} in {log}")).to_string()
    };
    for verb in ["list", "watch"] {
        let line = line(verb);
        let (call, request) = line.split_once(":kubernetes_request{").unwrap_or_else(|| panic!("{line}"));
        assert!(call.contains("call{tenant=\"test\""), "{line}");
        assert!(request.contains("incluster: answered"), "{line}");
    }
    let closed = |line: &&str| line.contains(": incluster: close") && !line.contains(":kubernetes_request{");
    let call = log.lines().find(closed).unwrap_or_else(|| panic!("{log}"));
    for field in ["warm=false", "place_seconds=", "computed_seconds=", "outcome=\"success\""] {
        assert!(call.contains(field), "{field} in {call}");
    }
    assert_eq!(call.matches("memory_bytes=").count(), 1, "{call}");
}

/// What a call used is in the log even if it was cut short, and so is the limit that kept another one out.
#[tokio::test]
async fn calls_that_come_to_nothing_are_in_the_log() {
    let silent = Testbed::serving_async(|_| std::future::pending()).await;
    let extension = load(extensions::PROGRAM, &[]).await.named("program");
    let cut_short = async |requests: usize| {
        let limits = TenantLimits { concurrent_calls: 1, ..TenantLimits::default() };
        let tenant = crate::tenant(&silent).with_limits(limits).unwrap();
        let commands = commands(&tenant, &extension);
        let another = async {
            silent.server.until_requests(requests).await;
            assert!(matches!(commands.call(run).await, Err(Error::ConcurrentCalls(1))));
        };
        tokio::select! {
            listed = pods(&tenant) => panic!("{listed:?}"),
            () = another => {}
        }
    };
    // tracing may miss a subscriber that is set while another thread's call is the first to reach a span or an event.
    cut_short(1).await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_span_events(FmtSpan::CLOSE);
    let _logged = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    cut_short(2).await;
    // The request's own task has the span, too, until it notices.
    until(|| log.text().contains("outcome=\"dropped\"")).await;
    let log = log.text();
    let line = |part: &str| log.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part} in {log}"));
    let dropped = line("outcome=\"dropped\"");
    assert_eq!(dropped.matches("memory_bytes=").count(), 1, "{dropped}");
    let exceeded = line("a call exceeded a limit");
    for part in ["extension=\"program\"", "limit=\"concurrent_calls\"", "(tenant.concurrentCalls)"] {
        assert!(exceeded.contains(part), "{part} in {exceeded}");
    }
}

fn commands(tenant: &Tenant, extension: &Extension) -> Sandboxes<Ctx, Command> {
    Sandboxes::typed(tenant, extension, CommandIndices::new, |indices, store, instance| indices.load(store, instance)).unwrap()
}

async fn run(command: &Command, store: &mut Store<Ctx>) -> wasmtime::Result<Result<(), ()>> {
    command.wasi_cli_run().call_run(store).await
}

/// An extension's output is logged as data: escaped, truncated, and with the names of the tenant and the extension.
#[tokio::test]
async fn the_output_of_an_extension_is_logged_by_line() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let testbed = Testbed::start().await;
    let extension = load(extensions::PROGRAM, &[]).await.named("program");
    // Without arguments the program panics, and so writes to stderr.
    let _ = commands(&crate::tenant(&testbed), &extension).call(run).await;
    let log = log.text();
    assert!(
        log.contains("an extension wrote") && log.contains("tenant=\"test\"") && log.contains("extension=\"program\""),
        "{log}"
    );
}

/// At a shutdown, watches end at once; calls and compile children end when the grace period is over.
#[tokio::test]
async fn a_runtime_ends_in_order() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let silent = Testbed::serving_async(|_| std::future::pending()).await;
    let runtime = Runtime::builder().compiler(Compiler::child("/bin/sleep").arg("600")).build().unwrap();
    let tenant = |testbed: &Testbed| {
        let server = Server::parse(&testbed.server.url()).unwrap();
        let tenant = Tenant::builder(&runtime, "test").server(server).service_account_dir(testbed.volume.path());
        tenant.policy(Policy::allow_all()).reuse(Reuse { kept: 2, ..Reuse::default() }).build().unwrap()
    };
    let (good, never) = (tenant(&testbed), tenant(&silent));
    pods(&good).await.unwrap();
    let mut watch = good.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    while !matches!(watch.next().await.unwrap(), Some(PodEvent::Synced(_))) {}
    let watching = tokio::spawn(async move { watch.next().await });
    let calling = tokio::spawn(async move { pods(&never).await });
    silent.server.until_requests(1).await;
    let loading = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.extension("test", extensions::PICKER, &[]).await.map(drop) }
    });
    until(|| children().contains("sleep")).await;

    assert!(runtime.shutdown(Duration::from_millis(100)).await, "all sandboxes have ended");
    assert!(matches!(watching.await.unwrap(), Err(Error::ShuttingDown)));
    assert!(matches!(calling.await.unwrap(), Err(Error::ShuttingDown)));
    assert!(matches!(loading.await.unwrap(), Err(Error::ShuttingDown)));
    until(|| !children().contains("sleep")).await;
    assert!(matches!(pods(&good).await, Err(Error::ShuttingDown)));
    assert!(matches!(good.store(|ctx| ctx.build()).await, Err(Error::ShuttingDown)));
    assert!(matches!(runtime.compose("test", extensions::PICKER, &[]).await, Err(Error::ShuttingDown)));
    assert!(RUNTIME.places() > 0, "another runtime goes on");
}

/// Returns the `/proc` status lines of the running processes that this thread has started.
fn children() -> String {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let children = std::fs::read_to_string(Path::new("/proc").join(thread).join("children")).unwrap();
    let name = |id: &str| std::fs::read_to_string(format!("/proc/{id}/stat")).ok().filter(|stat| !stat.contains(") Z "));
    children.split_whitespace().filter_map(name).collect()
}

/// The dashboard shows every metric and no others, and uses only labels that the metric has.
#[test]
fn the_dashboard_shows_the_documented_metrics() {
    let (_, dashboard) = files("deploy/dashboard.json").remove(0);
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let words = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').map(String::from).collect::<Vec<_>>();
    let (metrics, mut shown) = (documented(), BTreeSet::new());
    for target in targets {
        let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
        let names: Vec<_> = words(expression).into_iter().filter(|word| word.starts_with("incluster_")).collect();
        assert_eq!(names.len(), 1, "{expression}");
        let (_, _, labels) = metrics.get(&names[0]).unwrap_or_else(|| panic!("{expression}"));
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(labels.contains(label) && words(expression).iter().any(|word| word == label), "{legend}: {expression}");
        }
        shown.extend(names);
    }
    assert_eq!(shown, metrics.into_keys().collect());
}
