//! Tests of when a gateway is ready, and of what a change of a tenant costs.

use crate::support::{Browser, Cluster, METRICS, compiler};
use crate::{start, until};
use gateway::Gateway;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn a_gateway_is_ready_when_its_pods_are_known_and_until_it_drains() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    cluster.testbed.server.leave();
    let file = cluster.write("ready", &cluster.route("ready", "host: 127.0.0.1"));
    let text = std::fs::read_to_string(&file).unwrap();
    cluster.write_text(&format!("drainTime: 0s\n{text}"));
    let gateway = Gateway::start(&file, compiler(), METRICS.clone()).await.unwrap();
    let (browser, url) = (Browser::new(), format!("http://{}", gateway.address));
    let ready = format!("http://{}/readyz", gateway.status_address);
    gateway.until_loaded().await;
    assert_eq!(browser.get(&ready).await, (503, "the pods of the routes are not known yet\n".into()));
    cluster.testbed.server.come_back();
    gateway.engine().until_ready().await;
    assert_eq!((browser.get(&ready).await.0, browser.get(&url).await.0), (200, 200));
    gateway.engine().drain().await;
    assert_eq!(browser.get(&ready).await, (503, "it is shutting down\n".into()));
    assert_eq!(browser.get(&url).await.0, 200, "whoever has not heard of it is served");
    gateway.stop().await;
}

/// A rollout of a configuration none of whose routes works stops at its first pod. What works only because of `failOpen` is counted.
#[tokio::test]
async fn a_gateway_none_of_whose_routes_works_is_not_ready() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let file = cluster.write("none", &cluster.route("none", "extension: absent.wasm"));
    let (gateway, browser, url) = start(&file).await;
    let ready = format!("http://{}/readyz", gateway.status_address);
    assert_eq!(browser.get(&ready).await, (503, "no route works: see the log\n".into()));
    assert_eq!(browser.get(&url).await, (503, "the route's extension cannot be used\n".into()));
    assert_eq!(gateway.engine().routes().unusable(), 1);
    gateway.stop().await;
    let (gateway, browser, url) =
        start(&cluster.write("none", &cluster.route("none", "extension: absent.wasm, failOpen: true"))).await;
    gateway.engine().until_ready().await;
    assert_eq!(browser.get(&url).await.0, 200);
    let metrics = METRICS.render();
    assert!(metrics.contains("gateway_failed_open_total{route=\"*/\",tenant=\"none\"} 1"), "{metrics}");
    assert!(metrics.contains("gateway_unusable_extensions ") && metrics.contains("gateway_info{version="), "{metrics}");
    gateway.stop().await;
}

#[tokio::test]
async fn requests_do_not_wait_for_a_tenant_whose_limits_change() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let file = cluster.write("change", &cluster.route("change", "host: 127.0.0.1"));
    let (gateway, browser, url) = start(&file).await;
    until(&browser, &url, |status, _| status == 200).await;
    // The pods cannot be listed again.
    cluster.testbed.server.leave();
    let text = std::fs::read_to_string(&file).unwrap();
    for memory in ["33Mi", "34Mi"] {
        cluster.write_text(&text.replace("32Mi", memory));
        gateway.reload().await.unwrap();
        assert_eq!(browser.get(&url).await.0, 200);
    }
    // Another account may see other pods.
    cluster.write_text(&text.replace("    server:", "    serviceAccount: {namespace: shop, name: other}\n    server:"));
    gateway.reload().await.unwrap();
    assert!(gateway.engine().routes().routes()[0].pods.latest().is_none());
    cluster.write_text(&text);
    gateway.reload().await.unwrap();
    cluster.testbed.server.come_back();
    until(&browser, &url, |status, body| status == 200 && body.starts_with("a ")).await;
    cluster.add("b").await;
    cluster.store.delete("a");
    until(&browser, &url, |status, body| status == 200 && body.starts_with("b ")).await;
    gateway.stop().await;
}

/// With a small address space, the gateway has fewer places for sandboxes, and says so.
#[tokio::test]
async fn a_small_address_space_has_fewer_places() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let file = cluster.write("small", &cluster.route("small", ""));
    let log = std::fs::File::create(file.with_file_name("log")).unwrap();
    // 200 GB.
    let mut gateway = tokio::process::Command::new("bash");
    gateway.args(["-c", "ulimit -v 200000000; exec \"$0\" \"$1\"", env!("CARGO_BIN_EXE_gateway")]).arg(&file);
    let mut running = gateway.stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    until(&Browser::new(), line.split([' ', ',']).nth(2).unwrap(), |status, _| status == 200).await;
    let log = std::fs::read_to_string(file.with_file_name("log")).unwrap();
    assert!(log.contains("trying fewer"), "{log}");
}
