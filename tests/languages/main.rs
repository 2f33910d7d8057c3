//! Tests of the programs of `examples/extensions`, run by `incluster run` fresh and from the cache, and of the host of `examples/hosts`.
//! `run.sh` builds them.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use testbed::{Answer, PodStore, Request, TOKEN, Testbed};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

const POLICY: &str =
    "rules:\n- verbs: [get, list, watch]\n  apiGroups: ['']\n  resources: [pods, services]\n  namespaces: [shop]\n";

/// How long to wait for a program, which compiles at the first run.
const PATIENCE: Duration = Duration::from_secs(120);

fn program(language: &str) -> PathBuf {
    let folder = std::env::var_os("LANGUAGES").expect("LANGUAGES: run.sh sets it");
    PathBuf::from(folder).join(format!("{language}-lister.wasm"))
}

/// A handler that serves pods and one service.
fn answer(store: &PodStore) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let store = store.clone();
    let json = |body: &'static str| Answer::new(200, body).header("content-type", "application/json");
    move |request| match request.path() {
        "/api/v1/namespaces/shop/services/web" => json(r#"{"metadata":{"name":"web"},"spec":{"clusterIP":"10.0.0.7"}}"#),
        "/api/v1/namespaces/shop/services" => json(
            r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"web"}}]}"#,
        ),
        _ => store.answer(request),
    }
}

struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

async fn run(language: &str, testbed: &Testbed, options: &[&str], args: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
    command.env_clear().env("HOME", std::env::var_os("LANGUAGES").unwrap()).stdin(Stdio::null()).kill_on_drop(true);
    command.args(["--server", &testbed.server.url(), "--service-account-dir"]).arg(testbed.volume.path()).arg("run");
    if options.is_empty() {
        command.arg("--policy").arg(&policy);
    }
    command.args(options).arg(program(language)).args(args);
    Ran::of(&mut command).await
}

impl Ran {
    async fn of(command: &mut Command) -> Ran {
        let output = timeout(PATIENCE, command.output()).await.expect("the command ends").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
        let secret = TOKEN.rsplit('.').next().unwrap();
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret));
        ran
    }
}

async fn speaks(language: &str) {
    let store = PodStore::with_pods(7);
    let testbed = Testbed::serving(answer(&store)).await;
    // The second run takes the compiled program from the cache.
    for _ in 0..2 {
        let listed = run(language, &testbed, &[], &["list", "shop"]).await;
        assert_eq!((listed.status, &*listed.stderr), (0, ""), "{language}");
        let names: Vec<_> = listed.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(names.iter().eq(store.state().keys()), "{language}: {names:?}");
    }
    let pages = testbed.server.take_requests();
    assert_eq!(pages.iter().filter(|request| request.query("continue").is_some()).count(), 4, "{language}: pages of three");

    let services = run(language, &testbed, &[], &["services", "shop"]).await;
    assert_eq!((services.status, &*services.stdout), (0, "web\n"), "{language}: {}", services.stderr);
    let address = run(language, &testbed, &[], &["address", "shop"]).await;
    assert_eq!((address.status, &*address.stdout), (0, "10.0.0.7\n"), "{language}: {}", address.stderr);

    let (watched, ()) = tokio::join!(run(language, &testbed, &[], &["watch", "shop"]), async {
        store.until_open_watches(1).await;
        store.delete("web-00003");
        store.drop_watches();
        store.add("last");
    });
    assert_eq!(watched.status, 0, "{language}: {}", watched.stderr);
    assert!(watched.stdout.ends_with("deleted web-00003\nadded last\n"), "{language}: {}", watched.stdout);
    assert_eq!(watched.stdout.lines().count(), 9, "{language}");

    // Refusals. `imported` is an interface that the language's toolchain makes every program import.
    let imported = match language {
        "javascript" => "wasi:http",
        "python" => "wasi:sockets",
        "rust" => "wasi:cli",
        _ => "wasi:filesystem",
    };
    for (options, args, status, says) in [
        (&[][..], ["list", "other"], 1, "denied"),
        (&["--policy", "/dev/null"], ["list", "shop"], 2, "policy"),
        (&["--refuse", imported], ["list", "shop"], 1, imported),
        (&["--memory", "1"], ["list", "shop"], 1, "memory"),
    ] {
        let refused = run(language, &testbed, options, &args).await;
        assert!(refused.status == status, "{language} {options:?}: {} {}", refused.status, refused.stderr);
        assert!(refused.stderr.to_lowercase().contains(says), "{language} {options:?}: {}", refused.stderr);
    }
    let busy = Testbed::serving(|_| Answer::new(403, "closed today")).await;
    let failed = run(language, &busy, &[], &["list", "shop"]).await;
    assert_eq!(failed.status, 1);
    for says in ["403", "closed today", "trying again does not help"] {
        assert!(failed.stderr.contains(says), "{language}: {}", failed.stderr);
    }
}

/// Composes the program with the standalone client, and runs it in the wasmtime CLI.
async fn stands_alone(language: &str) {
    let store = PodStore::with_pods(7);
    let testbed = Testbed::serving(answer(&store)).await;
    let dir = tempfile::tempdir().unwrap();
    let composed = dir.path().join("composed.wasm");
    let languages = PathBuf::from(std::env::var_os("LANGUAGES").unwrap());
    let mut compose = Command::new(languages.join("incluster-standalone"));
    compose.env_clear().args(["compose", "--standalone"]).arg(program(language)).arg("-o").arg(&composed);
    let made = Ran::of(&mut compose).await;
    assert_eq!((made.status, &*made.stderr), (0, ""), "{language}");
    let mut run = Command::new(std::env::var_os("WASMTIME").expect("WASMTIME: run.sh sets it"));
    let address = testbed.server.address();
    run.env_clear().env("HOME", dir.path()).stdin(Stdio::null()).kill_on_drop(true);
    run.args(["run", "-S", "inherit-network", "-S", "http", "--env"]).arg(format!("KUBERNETES_SERVICE_HOST={}", address.ip()));
    run.arg("--env").arg(format!("KUBERNETES_SERVICE_PORT={}", address.port()));
    run.arg("--dir").arg(format!("{}::/var/run/secrets/kubernetes.io/serviceaccount", testbed.volume.path().display()));
    let listed = Ran::of(run.arg(&composed).args(["list", "shop"])).await;
    assert_eq!((listed.status, listed.stdout.lines().count(), &*listed.stderr), (0, 7, ""), "{language}");
}

#[tokio::test]
async fn rust() {
    speaks("rust").await;
}

#[tokio::test]
async fn standalone_compositions_run_in_the_wasmtime_cli() {
    for language in ["rust", "javascript", "python"] {
        stands_alone(language).await;
    }
}

#[tokio::test]
async fn javascript() {
    speaks("javascript").await;
}

#[tokio::test]
async fn python() {
    speaks("python").await;
}

#[tokio::test]
#[ignore = "its tools take minutes to build: `./justw test-languages-go`"]
async fn go() {
    speaks("go").await;
    stands_alone("go").await;
}

/// The plugin in a Node.js host: `examples/hosts/node`.
struct Node<'a> {
    testbed: &'a Testbed,
    /// The CAs that the host trusts.
    ca: PathBuf,
}

impl Node<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let address = self.testbed.server.address();
        let mut node = Command::new("node");
        node.current_dir(PathBuf::from(std::env::var_os("LANGUAGES").unwrap()).join("sources/hosts/node"));
        node.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null()).kill_on_drop(true);
        node.env("KUBERNETES_SERVICE_HOST", address.ip().to_string()).env("KUBERNETES_SERVICE_PORT", address.port().to_string());
        // The options that its README shows.
        node.env("SSL_CERT_FILE", &self.ca).env("SSL_CERT_DIR", "/nowhere").args(["--use-openssl-ca", "main.js"]).args(args);
        node.arg("shop").arg(self.testbed.volume.path());
        node
    }

    async fn prints(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args)).await
    }
}

#[tokio::test]
async fn a_host_in_node_lists_pages_and_watches() {
    let store = PodStore::with_pods(7);
    let testbed = Testbed::serving(answer(&store)).await;
    let node = Node { testbed: &testbed, ca: testbed.volume.path().join("ca.crt") };
    let listed = node.prints(&["list"]).await;
    assert_eq!((listed.status, &*listed.stderr, listed.stdout.lines().count()), (0, "", 7));
    testbed.server.take_requests();
    let pages = node.prints(&["pages"]).await;
    let sizes: Vec<_> = pages.stdout.lines().map(|page| page.split(' ').count()).collect();
    assert_eq!((sizes, testbed.server.requests().len()), (vec![3, 3, 1], 3), "{}", pages.stderr);
    // The host reads the token again after the kubelet has changed it.
    let mut watching = node.command(&["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut line = async || timeout(PATIENCE, lines.next_line()).await.expect("a line").unwrap().expect("a line");
    for _ in 0..7 {
        assert!(line().await.starts_with("added web-"));
    }
    assert!(line().await.starts_with("that is all"));
    store.accept_token("another-token");
    testbed.volume.set("token", b"another-token");
    store.drop_watches();
    store.add("last");
    assert_eq!(line().await, "added last");
    assert!(watching.wait().await.unwrap().success());

    // Another CA, and a folder without a token.
    let strangers = Testbed::start().await;
    let untrusted = Node { testbed: &testbed, ca: strangers.volume.path().join("ca.crt") }.prints(&["list"]).await;
    assert!(untrusted.status == 1 && untrusted.stderr.contains("certificate"), "{}", untrusted.stderr);
    testbed.volume.remove("token");
    let missing = node.prints(&["list"]).await;
    assert!(missing.status == 1 && missing.stderr.contains("file-missing"), "{}", missing.stderr);
}
