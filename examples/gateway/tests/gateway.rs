//! Tests of requests through the gateway, to pods that come and go.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "support/serving.rs"]
mod serving;
mod support;
#[path = "support/watches.rs"]
mod watches;

use bytes::Bytes;
use gateway::Gateway;
use http::Request;
use http_body_util::Full;
use incluster::Compiler;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Browser, Cluster, METRICS, compiler, started};
use testbed::{Fault, TOKEN, Testbed};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

async fn start(file: &Path) -> (Gateway, Browser, String) {
    let gateway = started(file).await;
    let url = format!("http://{}", gateway.address);
    (gateway, Browser::new(), url)
}

/// Sends requests until the answer is as it should be.
async fn until(browser: &Browser, url: &str, is_it: impl Fn(u16, &str) -> bool) -> String {
    let asking = async {
        loop {
            let (status, body) = browser.get(url).await;
            if is_it(status, &body) {
                return body;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), asking).await.expect("an answer as it should be")
}

fn pod_of(body: &str) -> String {
    body.split(' ').next().unwrap_or_default().into()
}

#[tokio::test]
async fn requests_go_to_the_ready_pods_in_turn() {
    let mut cluster = Cluster::start().await;
    for pod in ["a", "b", "c"] {
        cluster.add(pod).await;
    }
    let (gateway, browser, url) = start(&cluster.write("turns", &cluster.route("turns", "host: 127.0.0.1"))).await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        seen.insert(pod_of(&browser.get(&url).await.1));
    }
    assert_eq!(seen, ["a", "b", "c"].map(String::from).into());
    let request = Request::post(format!("{url}/cart?item=7")).body(Full::from(Bytes::from(vec![7; 1 << 20]))).unwrap();
    let (status, body) = browser.send(request).await;
    assert_eq!(status, 200);
    let expected = format!("/cart?item=7 {} 127.0.0.1 {}", gateway.address, 1 << 20);
    assert!(body.ends_with(&expected), "{body}");

    cluster.store.set_ready("a", false);
    cluster.store.delete("b");
    let alone =
        async { while (pod_of(&browser.get(&url).await.1), pod_of(&browser.get(&url).await.1)) != ("c".into(), "c".into()) {} };
    timeout(Duration::from_secs(20), alone).await.unwrap();
    cluster.store.delete("c");
    until(&browser, &url, |status, body| status == 503 && body == "no pod is ready\n").await;
    cluster.add("d").await;
    assert!(until(&browser, &url, |status, _| status == 200).await.starts_with("d "));
    gateway.stop().await;
}

#[tokio::test]
async fn an_extension_keeps_sessions_on_their_pods() {
    let mut cluster = Cluster::start().await;
    for pod in ["a", "b", "c", "d"] {
        cluster.add(pod).await;
    }
    let (_gateway, browser, url) = start(&cluster.write("sessions", &cluster.route("sessions", "extension: sticky.wasm"))).await;
    let sessions: Vec<String> = (0..40).map(|number| format!("session-{number}")).collect();
    let pods = async || {
        let mut pods = BTreeMap::new();
        for session in &sessions {
            let (status, body) = browser.get_as(session, &url).await;
            assert_eq!(status, 200, "{body}");
            pods.insert(session.clone(), pod_of(&body));
        }
        pods
    };
    let before = pods().await;
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(pods().await, before);
    cluster.store.delete("b");
    let moved = async {
        loop {
            let after = pods().await;
            if after.values().all(|pod| pod != "b") {
                return after;
            }
        }
    };
    let after = timeout(Duration::from_secs(20), moved).await.unwrap();
    for (session, pod) in &before {
        assert!(pod == "b" || after[session] == *pod, "{session} moved, although its pod is there");
    }
}

#[tokio::test]
async fn an_extension_that_misbehaves_fails_its_own_requests_alone() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let routes = cluster
        .route("unruly", "pathPrefix: /unruly, extension: unruly.wasm, setHeaders: [X-Tier], settings: {tier: gold}")
        + &cluster.route("unruly", "host: 127.0.0.1");
    let (gateway, browser, url) = start(&cluster.write("unruly", &routes)).await;
    assert_eq!(browser.get(&url).await.0, 200);
    for (path, status, says) in [
        ("spin", 502, "the route's extension failed"),
        ("trap", 502, "the route's extension failed"),
        ("allocate", 502, "the route's extension failed"),
        ("elsewhere", 502, "the route's extension failed"),
        ("nowhere", 502, "the route's extension failed"),
        ("unpermitted", 502, "the route's extension failed"),
        ("malformed", 502, "the route's extension failed"),
        ("many", 502, "the route's extension failed"),
        ("permitted", 200, " 0first+second"),
        ("headers", 418, "host x-tier\n"),
        ("settings", 418, "Ok(Some(\"gold\")) Ok(None)"),
        ("teapot", 418, "short and stout"),
        ("nonsense", 500, "not an error"),
        ("secrets", 403, "the policy does not permit `list secrets` in namespace `kube-system`"),
        ("", 200, "a /unruly/"),
    ] {
        let unruly = format!("{url}/unruly/{path}");
        // For another host: the route with a host comes first. The client's header is never the pod's.
        let request = Request::get(unruly)
            .header("host", "any.example")
            .header("x-tier", "mine")
            .header("cookie", "a=b")
            .header("authorization", "mine");
        let request = request.body(Full::default()).unwrap();
        let (hostile, good) = tokio::join!(browser.send(request), browser.get(&url));
        assert!(hostile.0 == status && hostile.1.contains(says) && !hostile.1.contains("mine"), "{path}: {hostile:?}");
        assert_eq!(good.0, 200, "beside {path}");
    }
    let (_, page) = browser.get(&format!("http://{}", gateway.status_address)).await;
    assert!(page.contains("<td>unruly</td><td>policy</td><td class=\"n\">1</td>"), "{page}");
    assert_eq!(cluster.testbed.server.requests().iter().filter(|r| r.path_and_query.contains("secrets")).count(), 0);
}

#[tokio::test]
async fn a_pod_that_cannot_be_reached_is_passed_over() {
    let mut cluster = Cluster::start().await;
    for pod in ["a", "b"] {
        cluster.add(pod).await;
    }
    let (_gateway, browser, url) = start(&cluster.write("crash", &cluster.route("crash", "extension: unruly.wasm"))).await;
    assert!(browser.get(&url).await.1.starts_with("a "));
    cluster.crash("a").await;
    // The connection to it may be found closed when it is used, which is not known to be safe to repeat.
    let body = until(&browser, &url, |status, _| status == 200).await;
    assert!(body.starts_with("b "), "{body}");
    let request = Request::post(&url).body(Full::from("body")).unwrap();
    assert_eq!(browser.send(request).await, (502, "the pod did not answer\n".into()));
}

#[tokio::test]
async fn the_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let old = cluster.route("reload", "pathPrefix: /old");
    let file = cluster.write("reload", &old);
    let (gateway, browser, url) = start(&file).await;
    let (old_url, new_url) = (format!("{url}/old"), format!("{url}/new"));
    assert_eq!((browser.get(&old_url).await.0, browser.get(&new_url).await.0), (200, 404));

    // The gateway notices the change by itself.
    cluster.write("reload", &(old.clone() + &cluster.route("reload", "pathPrefix: /new, extension: sticky.wasm")));
    until(&browser, &new_url, |status, _| status == 200).await;
    let watches = |cluster: &Cluster| cluster.testbed.server.requests().len();
    assert_eq!(watches(&cluster), 1, "both routes share what is known, and it has stayed");

    let status_page = format!("http://{}", gateway.status_address);
    for (routes, says) in [
        (cluster.route("stranger", ""), "there is no tenant `stranger`"),
        (cluster.route("reload", "extension: absent.wasm"), "absent.wasm: No such file or directory"),
        (cluster.route("reload", "extension: gateway.yaml"), "this is not a WebAssembly component"),
        ("  - [".into(), "gateway.yaml: "),
    ] {
        cluster.write("reload", &routes);
        let error = gateway.reload().await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!((browser.get(&old_url).await.0, browser.get(&new_url).await.0), (200, 200));
        let page = browser.get(&status_page).await.1;
        assert!(page.contains("what was read before still runs"), "{page}");
    }
    // What was missing comes, and nobody touches the configuration.
    let late_url = format!("{url}/late");
    cluster.write("reload", &(old.clone() + &cluster.route("reload", "pathPrefix: /late, extension: late.wasm")));
    assert!(gateway.reload().await.unwrap_err().to_string().contains("late.wasm"));
    std::fs::write(file.with_file_name("late.wasm"), extensions::STICKY).unwrap();
    until(&browser, &late_url, |status, _| status == 200).await;
    cluster.write("reload", &old);
    gateway.reload().await.unwrap();
    assert_eq!((browser.get(&old_url).await.0, browser.get(&new_url).await.0), (200, 404));
    assert!(!browser.get(&status_page).await.1.contains("still runs"));
    assert_eq!(watches(&cluster), 1);
}

/// One hostile file among a gateway's extensions, at the start and later.
#[tokio::test]
async fn a_hostile_extension_is_a_problem_of_its_route_alone() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let good = cluster.route("files", "pathPrefix: /good, extension: sticky.wasm");
    let hostile = cluster.route("files", "pathPrefix: /hostile, extension: hostile.wasm");
    let changing = cluster.route("files", "pathPrefix: /changing, extension: changing.wasm");
    let file = cluster.write("files", &(good + &hostile + &changing));
    let bomb = extensions::hostile::nested_types(700);
    std::fs::write(file.with_file_name("hostile.wasm"), &bomb).unwrap();
    std::fs::write(file.with_file_name("changing.wasm"), extensions::STICKY).unwrap();
    let (gateway, browser, url) = start(&file).await;
    let statuses = async || {
        let [good, hostile, changing] = ["good", "hostile", "changing"].map(|route| format!("{url}/{route}"));
        [browser.get(&good).await.0, browser.get(&hostile).await.0, browser.get(&changing).await.0]
    };
    let page = async || browser.get(&format!("http://{}", gateway.status_address)).await.1;
    let says = "hostile.wasm: failed to load the extension: the component exceeds the limit nesting";
    // The route does not count as one without an extension.
    assert_eq!(statuses().await, [200, 503, 200]);
    let text = page().await;
    assert!(text.contains("the extension cannot be used: ") && text.contains(says) && !text.contains("changing.wasm:"), "{text}");

    std::fs::write(file.with_file_name("changing.wasm"), &bomb).unwrap();
    gateway.reload().await.unwrap();
    assert_eq!(statuses().await, [200, 503, 200]);
    let text = page().await;
    assert!(text.contains("changing.wasm: failed to load the extension: the component exceeds"), "{text}");
    assert!(text.contains("the version before stays in use"), "{text}");

    std::fs::write(file.with_file_name("hostile.wasm"), extensions::STICKY).unwrap();
    std::fs::write(file.with_file_name("changing.wasm"), extensions::STICKY).unwrap();
    gateway.reload().await.unwrap();
    assert_eq!(statuses().await, [200, 200, 200]);
    assert!(!page().await.contains("cannot be used"));
}

/// No route waits for the file that takes longest to load.
#[tokio::test]
async fn a_route_does_not_wait_for_the_others_extensions() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let slow = cluster.route("first", "pathPrefix: /slow, extension: slow.wasm");
    let good = cluster.route("second", "pathPrefix: /good, extension: sticky.wasm");
    let file = cluster.write_for(&["first", "second"], &(slow + &good + "loadLimits: {compileCpuTime: 2s}\n"));
    // The limit on CPU time ends the compilation of this file.
    std::fs::write(file.with_file_name("slow.wasm"), extensions::hostile::branches(45_000)).unwrap();
    let gateway = Gateway::start(&file, compiler(), METRICS.clone()).await.unwrap();
    let (browser, url) = (Browser::new(), format!("http://{}", gateway.address));
    let page = format!("http://{}", gateway.status_address);
    until(&browser, &format!("{url}/good"), |status, _| status == 200).await;
    assert_eq!(browser.get(&format!("{page}/readyz")).await.0, 503);
    assert!(browser.get(&page).await.1.contains("the extension is being loaded"));
    until(&browser, &format!("{page}/readyz"), |status, _| status == 200).await;
    assert!(browser.get(&page).await.1.contains("slow.wasm: failed to load the extension: compiling the component takes longer"));
    assert_eq!((browser.get(&format!("{url}/good")).await.0, browser.get(&format!("{url}/slow")).await.0), (200, 503));
}

/// An extension that could not be loaded because of this machine is loaded again from the same file.
#[tokio::test]
async fn an_extension_is_loaded_when_the_compiler_is_there_again() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let file = cluster.write("again", &cluster.route("again", "extension: sticky.wasm"));
    let program = file.with_file_name("compile");
    let gateway = Gateway::start(&file, Compiler::child(&program).arg("compile-child"), METRICS.clone()).await.unwrap();
    let (browser, url) = (Browser::new(), format!("http://{}", gateway.address));
    let page = format!("http://{}", gateway.status_address);
    until(&browser, &page, |_, page| page.contains("cannot be used to compile components: it cannot be started")).await;
    assert_eq!(browser.get(&url).await.0, 503);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gateway"), &program).unwrap();
    gateway.reload().await.unwrap();
    assert_eq!(browser.get(&url).await.0, 200);
}

#[tokio::test]
async fn the_status_page_cannot_be_made_to_run_anything() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let route = cluster.route("page", "pathPrefix: \"/<script>alert(1)</script>\", labelSelector: \"a in (<b>)\"");
    let (gateway, browser, _) = start(&cluster.write("page", &route)).await;
    let page = format!("http://{}", gateway.status_address);
    let body = until(&browser, &page, |_, body| body.contains("127.0.0.2")).await;
    assert!(body.contains("*/&lt;script&gt;alert(1)&lt;/script&gt;") && !body.contains("<script"), "{body}");
    assert_eq!(browser.get(&format!("{page}/healthz")).await, (200, "ok\n".into()));
    assert!(browser.get(&format!("{page}/metrics")).await.1.contains("incluster_"));
    assert_eq!(browser.get(&format!("{page}/other")).await.0, 404);
}

#[tokio::test]
async fn the_binary_checks_serves_and_stops() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let file = cluster.write("binary", &cluster.route("binary", "extension: sticky.wasm"));
    let gateway = || tokio::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
    let checked = gateway().arg("--check").arg(&file).output().await.unwrap();
    assert!(String::from_utf8_lossy(&checked.stdout).contains("well-formed, tenants: 1, routes: 1"), "{checked:?}");
    let input = std::fs::File::open(&file).unwrap();
    let checked = gateway().args(["--check", "-"]).stdin(input).output().await.unwrap();
    assert!(String::from_utf8_lossy(&checked.stdout).contains("there is no file sticky.wasm here"), "{checked:?}");
    assert_eq!(gateway().output().await.unwrap().status.code(), Some(2));
    let absent = gateway().arg("--check").arg("absent.yaml").output().await.unwrap();
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("absent.yaml: No such file"));

    // The program compiles in a process of its own, and reports what is wrong with a file.
    let hostile = cluster.route("binary", "pathPrefix: /hostile, extension: hostile.wasm");
    let file = cluster.write("binary", &(cluster.route("binary", "extension: sticky.wasm") + &hostile));
    std::fs::write(file.with_file_name("hostile.wasm"), extensions::hostile::nested_types(700)).unwrap();
    let log = std::fs::File::create(file.with_file_name("log")).unwrap();
    let mut running = gateway().arg(&file).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let url = line.split([' ', ',']).nth(2).unwrap();
    let browser = Browser::new();
    until(&browser, url, |status, _| status == 200).await;
    let body = until(&browser, &format!("{url}/hostile"), |_, body| !body.contains("being loaded")).await;
    assert!(body.contains("cannot be used"), "{body}");
    let log = std::fs::read_to_string(file.with_file_name("log")).unwrap();
    assert!(log.contains("the extension cannot be used") && log.contains("exceeds the limit nesting"), "{log}");
    let kill = format!("kill -TERM {}", running.id().unwrap());
    assert!(tokio::process::Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    assert!(timeout(Duration::from_secs(15), running.wait()).await.unwrap().unwrap().success());
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The token reaches no client, status page, metric or log, whether it is echoed in an answer or in GOAWAY.
#[tokio::test]
async fn an_api_server_that_sends_back_what_it_was_sent_brings_the_token_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    // GOAWAY: no stream was processed, ENHANCE_YOUR_CALM, and why.
    let why = TOKEN.as_bytes();
    let [high, low] = u16::try_from(8 + why.len()).unwrap().to_be_bytes();
    let head = [0, high, low, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb];
    let says = format!("HTTP/1.1 403 {TOKEN}\r\nContent-Type: text/plain\r\nWarning: {TOKEN}\r\n\r\nyou sent Bearer {TOKEN}");
    let mut shown = Vec::new();
    for fault in [Fault::Raw(says.into_bytes()), Fault::Frames([&head[..], why].concat(), Vec::new())] {
        let mut cluster = Cluster::start().await;
        cluster.testbed = Testbed::faulty(fault).await;
        let (gateway, browser, url) = start(&cluster.write("echo", &cluster.route("echo", "host: 127.0.0.1"))).await;
        cluster.testbed.server.until_requests(2).await;
        let page = format!("http://{}", gateway.status_address);
        for url in [&url, &page, &format!("{page}/metrics")] {
            shown.push(browser.get(url).await.1);
        }
        gateway.stop().await;
    }
    shown.push(String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned());
    let signature = TOKEN.rsplit('.').next().unwrap();
    for text in &shown {
        // The testbed runs in this process and logs the token that it received.
        let lines = text.lines().filter(|line| !line.contains("testbed"));
        let leaks = |line: &&str| signature.as_bytes().windows(16).any(|part| line.contains(std::str::from_utf8(part).unwrap()));
        assert_eq!(lines.filter(leaks).collect::<Vec<_>>(), Vec::<&str>::new());
    }
    assert!(shown.last().unwrap().contains("failed"), "the log is on");
}
