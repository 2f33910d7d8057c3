//! Tests the status page in a browser: `./justw gateway-page CHROMIUM`. The screenshot is target/gateway-page.png.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use support::{Browser, Cluster};
use tokio::process::Command;

#[tokio::main]
async fn main() {
    let chromium = std::env::var("CHROMIUM").expect("the path of a chromium in the variable CHROMIUM");
    let mut cluster = Cluster::start().await;
    for pod in ["web-1", "web-2", "web-3"] {
        cluster.add(pod).await;
    }
    let shop = cluster.route("shop", "host: shop.example, labelSelector: app=web, extension: sticky.wasm");
    let routes = shop + &cluster.route("shop", "pathPrefix: /unruly, extension: unruly.wasm");
    let file = cluster.write("shop", &routes);
    let gateway = support::started(&file).await;
    let browser = Browser::new();
    for path in ["", "trap", "secrets", "secrets", "teapot"] {
        browser.get(&format!("http://{}/unruly/{path}", gateway.address)).await;
    }
    cluster.write("shop", "  - {tenant: nobody}");
    assert!(gateway.reload().await.is_err());

    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/gateway-page.png");
    let page = format!("http://{}/", gateway.status_address);
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(chromium);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1000"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg("--enable-logging=stderr");
    command.arg(format!("--screenshot={}", picture.display())).arg("--dump-dom").arg(page);
    let output = command.output().await.unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    // The document that the browser made of the page, and the browser's log.
    for says in [
        "<td>shop.example/</td>",
        "<td>shop</td><td>policy</td><td class=\"n\">2</td>",
        "what was read before still runs",
        "<td>web-3</td>",
        "refused 3",
        "extension_failed 1",
    ] {
        assert!(dom.contains(says), "{says} is not in {dom}");
    }
    assert!(!log.contains("CONSOLE") && !log.contains("Content Security Policy"), "{log}");
    assert!(std::fs::metadata(&picture).unwrap().len() > 10_000);
    println!("the page is as it should be; see target/gateway-page.png");
}
