//! Tests of the pickers of `examples/extensions`, which `tests/languages/run.sh` builds: fresh, warm, and in a restarted gateway.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use support::{Browser, Cluster, started};

async fn picks(language: &str) {
    let folder = PathBuf::from(std::env::var_os("LANGUAGES").expect("LANGUAGES: run.sh sets it"));
    let mut cluster = Cluster::start().await;
    cluster.put("picker.wasm", &std::fs::read(folder.join(format!("{language}-picker.wasm"))).unwrap());
    for pod in ["a", "b"] {
        cluster.add(pod).await;
    }
    let (server, dir) = (cluster.testbed.server.url(), cluster.testbed.volume.path().display().to_string());
    let tenant = |name: &str, reuse: &str| {
        format!(
            "  {name}:\n    server: {server}\n    serviceAccountDir: {dir}\n    {reuse}\n    policy: {{rules: [{{verbs: [watch], apiGroups: [\"\"], \
             resources: [pods], namespaces: [shop]}}]}}\n    limits: {{call: {{memory: 64Mi}}}}\n"
        )
    };
    let route = |tenant: &str, path: &str| cluster.route(tenant, &format!("pathPrefix: {path}, extension: picker.wasm"));
    let file = cluster.write_text(&format!(
        "listen: 127.0.0.1:0\nstatus: 127.0.0.1:0\ncache: {}\ntenants:\n{}{}routes:\n{}{}",
        folder.join("gateway-cache").display(),
        tenant("fresh", ""),
        tenant("warm", "reuse: {kept: 2}"),
        route("fresh", "/fresh"),
        route("warm", "/warm"),
    ));
    // The second gateway finds the extension compiled.
    for _ in 0..2 {
        let gateway = started(&file).await;
        let (browser, url) = (Browser::new(), format!("http://{}", gateway.address));
        let pod = async |path: &str| {
            let (status, body) = browser.get(&format!("{url}{path}")).await;
            assert_eq!(status, 200, "{language}: {body}");
            body.split(' ').next().unwrap().to_string()
        };
        // A fresh sandbox begins with the first pod each time.
        assert_eq!((pod("/fresh").await, pod("/fresh").await), ("a".into(), "a".into()), "{language}");
        let warm: BTreeSet<String> = [pod("/warm").await, pod("/warm").await].into();
        assert_eq!(warm, ["a", "b"].map(String::from).into(), "{language}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn rust() {
    picks("rust").await;
}

#[tokio::test]
async fn javascript() {
    picks("javascript").await;
}

#[tokio::test]
async fn python() {
    picks("python").await;
}

#[tokio::test]
#[ignore = "its tools take minutes to build: `./justw test-languages-go`"]
async fn go() {
    picks("go").await;
}
