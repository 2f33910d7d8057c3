//! `incluster run` and `incluster compose`.

use crate::command::{command_in, in_testbed};
use std::process::Stdio;
use std::time::Duration;
use testbed::{PodStore, Testbed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const POLICY: &str = "
rules:
- verbs: [list]
  apiGroups: ['']
  resources: [pods]
  namespaces: [shop]
";

#[tokio::test]
async fn an_extension_runs_with_a_policy_and_not_without() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("program.wasm"), extensions::PROGRAM).unwrap();
    std::fs::write(at("sockets.wasm"), extensions::SOCKETS).unwrap();
    std::fs::write(at("policy.yaml"), POLICY).unwrap();
    std::fs::write(at("bad.yaml"), "rules:\n- verbs: []\n").unwrap();
    std::fs::write(at("unknown.yaml"), "rules: []\nrulez: []\n").unwrap();

    let ran = in_testbed(&testbed, &["run", "--policy", &at("policy.yaml"), &at("program.wasm"), "list", "shop"]).await;
    assert_eq!((ran.status, ran.stdout.lines().count(), &*ran.stderr), (0, 7, ""));
    let denied = in_testbed(&testbed, &["run", &at("program.wasm"), "list", "shop"]).await;
    assert!(denied.status == 1 && denied.stderr.contains("Denied"), "{}", denied.stderr);
    for (args, status, says) in [
        (vec!["run", "--cpu-time", "100ms", &at("program.wasm"), "spin"], 1, "computed for longer than its limit of 100ms"),
        (vec!["run", &at("sockets.wasm")], 1, "wasi:sockets/"),
        (vec!["run", &at("policy.yaml")], 1, "this is not a WebAssembly component"),
        (vec!["run", &at("none.wasm")], 1, "failed to read"),
        (vec!["run", "--policy", &at("bad.yaml"), &at("program.wasm")], 2, "rules[0] names no verb"),
        (vec!["run", "--policy", &at("unknown.yaml"), &at("program.wasm")], 2, "unknown field `rulez`"),
        (vec!["run", "--memory", "0", &at("program.wasm")], 2, "--memory takes a number of MiB"),
        (vec!["compose", &at("program.wasm")], 2, "compose takes -o OUT.wasm"),
    ] {
        let ran = in_testbed(&testbed, &args).await;
        assert!(ran.status == status && ran.stderr.contains(says), "{args:?}: {} {}", ran.status, ran.stderr);
    }
    let composed = in_testbed(&testbed, &["compose", &at("program.wasm"), "-o", &at("out.wasm")]).await;
    assert_eq!((composed.status, &*composed.stderr), (0, ""));
    // The composition has the client in it, which sends requests itself.
    let refused = in_testbed(&testbed, &["run", &at("out.wasm"), "list", "shop"]).await;
    assert!(refused.status == 1 && refused.stderr.contains("wasi:http/outgoing-handler"), "{}", refused.stderr);
    let (allow, policy, out) = ("wasi:http/outgoing-handler", at("policy.yaml"), at("out.wasm"));
    let ran = in_testbed(&testbed, &["run", "--allow", allow, "--policy", &policy, &out, "list", "shop"]).await;
    assert_eq!((ran.status, ran.stdout.lines().count(), &*ran.stderr), (0, 7, ""));
}

#[tokio::test]
async fn prometheus_reads_what_is_counted() {
    let testbed = Testbed::serving(PodStore::recorded().handler()).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let mut watching = command_in(&testbed, &["--metrics", &free, "pods", "-n", "shop", "--watch"]);
    let _watching = watching.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let ask = async || {
        let mut stream = TcpStream::connect(&free).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map(|_| text)
    };
    let counted = async {
        loop {
            match ask().await {
                Ok(text) if text.contains("incluster_requests_total{") => return text,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let text = timeout(Duration::from_secs(20), counted).await.unwrap();
    assert!(text.contains("tenant=\"command\"") && text.contains("outcome=\"success\""), "{text}");
    assert!(!text.contains(testbed::TOKEN), "{text}");
}
