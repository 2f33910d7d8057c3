//! Tests of `incluster run`, `check`, `compose` and `wit`.

use crate::command::{command_in, in_testbed};
use extensions::hostile;
use std::collections::BTreeMap;
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
        (
            vec!["run", "--cpu-time", "100ms", &at("program.wasm"), "spin"],
            1,
            "computed for longer than its limit of 100ms (call.cpuTime); --cpu-time sets",
        ),
        (vec!["run", "--refuse", "wasi:sockets", &at("sockets.wasm")], 1, "wasi:sockets/"),
        (vec!["run", &at("policy.yaml")], 1, "this is not a WebAssembly component"),
        (vec!["run", &at("none.wasm")], 1, "failed to read"),
        // These options apply when an extension is compiled.
        (vec!["run", "--precompiled", "--refuse", "wasi:http", &at("program.wasm")], 2, "--precompiled excludes"),
        (vec!["run", "--debug", "--precompiled", &at("program.wasm")], 2, "--precompiled excludes"),
        (vec!["run", "--policy", &at("bad.yaml"), &at("program.wasm")], 2, "rules[0] names no verb"),
        (vec!["run", "--policy", &at("unknown.yaml"), &at("program.wasm")], 2, "unknown field `rulez`"),
        (vec!["run", "--memory", "0", &at("program.wasm")], 2, "--memory takes a number of MiB"),
        (vec!["run", "--open-streams", "0", &at("program.wasm")], 2, "--open-streams takes a number, 1 or more"),
        (vec!["run", "--wall-time", "0s", &at("program.wasm")], 2, "--wall-time takes a time above zero"),
        (vec!["compose", &at("program.wasm")], 2, "compose takes -o OUT.wasm"),
        (vec!["compose", &at("program.wasm"), "-o", &at("program.wasm")], 1, "is the extension itself"),
        (vec!["run"], 2, "name the file of an extension, for example extension.wasm"),
    ] {
        let ran = in_testbed(&testbed, &args).await;
        assert!(ran.status == status && ran.stderr.contains(says), "{args:?}: {} {}", ran.status, ran.stderr);
    }
    let composed = in_testbed(&testbed, &["compose", &at("program.wasm"), "-o", &at("out.wasm")]).await;
    assert_eq!((composed.status, &*composed.stderr), (0, ""));
    // The composition contains the client, which sends requests itself, under the same policy.
    let (refuse, policy, out) = ("wasi:http/outgoing-handler", at("policy.yaml"), at("out.wasm"));
    let refused = in_testbed(&testbed, &["run", "--refuse", refuse, &out, "list", "shop"]).await;
    assert!(refused.status == 1 && refused.stderr.contains("wasi:http/outgoing-handler"), "{}", refused.stderr);
    let denied = in_testbed(&testbed, &["run", &out, "list", "shop"]).await;
    assert!(denied.status == 1 && denied.stderr.contains("Denied"), "{}", denied.stderr);
    let ran = in_testbed(&testbed, &["run", "--policy", &policy, &out, "list", "shop"]).await;
    assert_eq!((ran.status, ran.stdout.lines().count(), &*ran.stderr), (0, 7, ""));
}

#[tokio::test]
async fn the_first_program_of_the_extension_librarys_readme_lists_pods() {
    let readme = include_str!("../../guest/extension/README.md");
    let program = include_str!("../extensions/guest/src/bin/pods.rs").split_once("\n\n").unwrap().1;
    assert!(readme.contains(&format!("```rust,no_run\n{program}```\n")), "the README of incluster-extension has another program");
    assert!(include_str!("../../README.md").contains(&format!("```rust,ignore\n{program}```\n")), "the main README differs");
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("pods.wasm"), extensions::PODS).unwrap();
    std::fs::write(at("policy.yaml"), POLICY).unwrap();
    let ran = in_testbed(&testbed, &["run", "--policy", &at("policy.yaml"), &at("pods.wasm")]).await;
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    assert!(ran.stdout.lines().count() == 7 && ran.stdout.contains("catalog-46f22f2a56-9e90c4 Running\n"), "{}", ran.stdout);
    let request = testbed.server.requests().remove(0);
    assert_eq!(request.query("labelSelector").as_deref(), Some("tier=edge"));
    // A `main` that fails prints what was attempted, why it failed and what to check.
    let denied = in_testbed(&testbed, &["run", &at("pods.wasm")]).await;
    let text = "Error: failed to list pods in namespace shop: denied: ";
    assert!(denied.status == 1 && denied.stderr.starts_with(text), "{}", denied.stderr);
    assert!(
        denied.stderr.contains("check the policy of this component's tenant (incluster run: --policy FILE)"),
        "{}",
        denied.stderr
    );
}

#[tokio::test]
async fn check_describes_a_component_without_running_it() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let files: [(&str, &[u8]); 9] = [
        ("program.wasm", extensions::PROGRAM),
        ("sockets.wasm", extensions::SOCKETS),
        ("bomb.wasm", &hostile::nested_types(700)),
        ("names.wasm", &wat::parse_str(r#"(component (import "a:b/c" (instance)) (export "e" (instance 0)))"#).unwrap()),
        ("cut.wasm", &extensions::PROGRAM[..5000]),
        ("core.wasm", b"\0asm\x01\0\0\0"),
        ("empty.wasm", b""),
        ("limits.yaml", b"functions: 3"),
        ("small.yaml", b"bytes: 4999"),
    ];
    for (name, bytes) in files {
        std::fs::write(at(name), bytes).unwrap();
    }
    let good = in_testbed(&testbed, &["check", &at("program.wasm")]).await;
    assert_eq!((good.status, &*good.stderr), (0, ""));
    for says in [
        "import    permitted incluster:kubernetes/client@0.1.0\n",
        "export    wasi:cli/run@0.2.",
        "producer  processed-by wit-component ",
        " of 30000\n",
        "run       `incluster run` can run it\n",
    ] {
        assert!(good.stdout.contains(says), "{says}: {}", good.stdout);
    }
    assert!(good.stdout.starts_with("result    it can be loaded\n"), "{}", good.stdout);
    let closed = in_testbed(&testbed, &["check", &at("sockets.wasm")]).await;
    assert!(closed.status == 0 && closed.stdout.contains("import    closed    wasi:sockets/tcp@0.2."), "{}", closed.stdout);
    let refused = in_testbed(&testbed, &["check", "--refuse", "wasi:sockets/tcp", &at("sockets.wasm")]).await;
    let says = "it is refused: the component imports what an extension may not use: wasi:sockets/tcp@0.2.";
    assert!(refused.status == 1 && refused.stdout.contains(says), "{}", refused.stdout);
    assert!(refused.stdout.contains("import    refused   wasi:sockets/tcp@0.2."), "{}", refused.stdout);
    for (file, says) in [
        ("bomb.wasm", "it is refused: the component exceeds the limit nesting: it may have 16, and has 101 or more"),
        ("names.wasm", "import    refused   a:b/c\n"),
        ("cut.wasm", "it is refused: the component is malformed: unexpected end"),
        ("core.wasm", "it is refused: this is a core module, not a component"),
        ("empty.wasm", "it is refused: this is not a WebAssembly component: it does not begin with `\\0asm`"),
        ("limits.yaml", "it is refused: this is not a WebAssembly component"),
    ] {
        let refused = in_testbed(&testbed, &["check", &at(file)]).await;
        assert!(refused.status == 1 && refused.stdout.contains(says) && refused.stderr.is_empty(), "{}", refused.stdout);
    }
    for (limits, file, says) in [
        ("limits.yaml", "program.wasm", "exceeds the limit functions: it may have 3, and has "),
        ("small.yaml", "cut.wasm", "exceeds the limit bytes: it may have 4999, and has 5000 or more"),
    ] {
        let refused = in_testbed(&testbed, &["check", "--load-limits", &at(limits), &at(file)]).await;
        let has_zeros = refused.stdout.contains(" 0 of ");
        assert!(refused.status == 1 && refused.stdout.contains(says) && !has_zeros, "{}", refused.stdout);
        let refused = in_testbed(&testbed, &["run", "--load-limits", &at(limits), &at(file)]).await;
        assert!(refused.status == 1 && refused.stderr.contains(says), "{}", refused.stderr);
    }
    let absent = in_testbed(&testbed, &["check", &at("absent.wasm")]).await;
    assert!(absent.status == 2 && absent.stderr.contains("failed to read"), "{} {}", absent.status, absent.stderr);
    for command in ["run", "check", "compose"] {
        let help = in_testbed(&testbed, &[command, "--help"]).await;
        assert!(help.status == 0 && help.stdout.contains("--load-limits FILE"), "{}", help.stdout);
    }
    let text = in_testbed(&testbed, &["check", "--allow", "a:b/c", "--allow", "a:b/d", &at("names.wasm")]).await;
    assert!(text.status == 0 && text.stdout.contains("\nrun       not by `incluster run`: "), "{}", text.stdout);
    assert_eq!(text.stderr, "incluster: note: --allow a:b/d: the extension imports nothing of this name\n");
    let allowed = in_testbed(&testbed, &["check", "--allow", "a:b/c", "-o", "json", &at("names.wasm")]).await;
    let json: serde_json::Value = serde_json::from_str(&allowed.stdout).unwrap();
    assert_eq!(allowed.status, 0, "{json}");
    assert_eq!(json["imports"], serde_json::json!([{"name": "a:b/c", "access": "permitted"}]));
    assert_eq!((&json["exports"], &json["problem"]), (&serde_json::json!(["e"]), &serde_json::Value::Null));
    assert!(
        json["message"].is_null() && json["notRunnable"].as_str().is_some_and(|reason| reason.contains("wasi:cli/run")),
        "{json}"
    );
    let bytes = serde_json::json!({"limit": "bytes", "value": 64 << 20, "found": files[3].1.len()});
    assert_eq!(json["counts"][0], bytes);
    assert!(json["compiledBytes"].as_u64().is_some_and(|bytes| bytes > 1000));
    let refused = in_testbed(&testbed, &["check", "-o", "json", &at("bomb.wasm")]).await;
    let json: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((refused.status, &json["problem"]["OverLimit"]["limit"]), (1, &serde_json::json!("nesting")));
    assert!(json["message"].as_str().is_some_and(|text| text.contains("exceeds the limit nesting")), "{json}");
}

/// A compile child whose `main` does not call `compile_child` reports that, and starts no further compile child.
#[tokio::test]
async fn a_compile_child_starts_no_other() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program.wasm");
    std::fs::write(&program, extensions::PROGRAM).unwrap();
    let mut check = command_in(&testbed, &["check", program.to_str().unwrap()]);
    let checked = check.env("INCLUSTER_COMPILE_CHILD", "1").output().await.unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.code() == Some(2) && said.contains("its main must call incluster::compile_child()"), "{said}");
}

#[tokio::test]
async fn the_wall_time_ends_a_program_whose_output_nobody_reads() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program.wasm");
    std::fs::write(&program, extensions::PROGRAM).unwrap();
    let mut command = command_in(&testbed, &["run", "--wall-time", "1s", program.to_str().unwrap(), "print"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let _unread = running.stdout.take();
    let ended = timeout(Duration::from_secs(60), running.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.code() == Some(1) && said.contains("took longer than its limit of 1s (call.wallTime); --wall-time sets"),
        "{said}"
    );
}

/// Text from an untrusted file is escaped before it is printed.
#[tokio::test]
async fn a_terminal_gets_no_escape_sequences() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let name = "\\1b[2J\\0a\\e2\\80\\ae".repeat(100);
    let malformed = format!(r#"(component (core module (import "{name}" "{name}" (func (param i32))) (func (call 0))))"#);
    std::fs::write(at("names.wasm"), wat::parse_str(malformed).unwrap()).unwrap();
    std::fs::write(at("policy.yaml"), format!("{}: 1\n", "\"\\e[2J\\u202e\"")).unwrap();
    std::fs::write(at("deep.yaml"), "[".repeat(200_000)).unwrap();
    std::fs::write(at("program.wasm"), extensions::PROGRAM).unwrap();
    for args in [
        vec!["check", &*at("names.wasm")],
        vec!["run", &at("names.wasm")],
        vec!["run", "--policy", &at("policy.yaml"), &at("program.wasm")],
        vec!["run", "--policy", &at("deep.yaml"), &at("program.wasm")],
        vec!["run", "--policy", "\x1b[2J", &at("program.wasm")],
        vec!["run", "--policy", "/dev/zero", &at("program.wasm")],
        vec!["run", "\x1b[2J\u{202e}.wasm"],
        vec!["\x1b[2J"],
    ] {
        let ran = in_testbed(&testbed, &args).await;
        assert!(ran.status != 0 && !(ran.stdout + &ran.stderr).contains(['\x1b', '\u{202e}']), "{args:?}");
        assert!(ran.stderr.len() < 5_000, "{args:?}: {} bytes", ran.stderr.len());
    }
}

#[tokio::test]
async fn prometheus_can_scrape_the_counters() {
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

#[tokio::test]
async fn wit_writes_the_contract() {
    let testbed = Testbed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new/wit");
    let written = in_testbed(&testbed, &["wit", new.to_str().unwrap()]).await;
    assert_eq!((written.status, &*written.stderr), (0, ""));
    let files = |dir: &std::path::Path| {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let text = |entry: std::fs::DirEntry| (entry.file_name(), std::fs::read_to_string(entry.path()).unwrap());
        entries.filter(|entry| entry.path().extension().is_some_and(|is| is == "wit")).map(text).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(files(&new), files(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (args, status, says) in [
        (&["wit"][..], 2, "wit takes the folder"),
        (&["wit", "a", "b"], 2, "unexpected argument"),
        (&["wit", file.to_str().unwrap()], 1, "failed to write"),
    ] {
        let refused = in_testbed(&testbed, args).await;
        assert!(refused.status == status && refused.stderr.contains(says), "{args:?}: {}", refused.stderr);
    }
}
