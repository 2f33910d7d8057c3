//! The programs of `examples/extensions`, each as `incluster run` runs it: fresh and from the cache. `run.sh` builds them.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use testbed::{Answer, PodStore, Request, TOKEN, Testbed};
use tokio::process::Command;
use tokio::time::timeout;

const POLICY: &str =
    "rules:\n- verbs: [get, list, watch]\n  apiGroups: ['']\n  resources: [pods, services]\n  namespaces: [shop]\n";

/// No program takes longer, the first time.
const PATIENCE: Duration = Duration::from_secs(120);

fn program(language: &str) -> PathBuf {
    let folder = std::env::var_os("LANGUAGES").expect("LANGUAGES: run.sh sets it");
    PathBuf::from(folder).join(format!("{language}-lister.wasm"))
}

/// A server of pods, and of a service.
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
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
    let secret = TOKEN.rsplit('.').next().unwrap();
    assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret));
    ran
}

async fn speaks(language: &str) {
    let store = PodStore::with_pods(7);
    let testbed = Testbed::serving(answer(&store)).await;
    // Twice: the second time from the cache.
    for _ in 0..2 {
        let listed = run(language, &testbed, &[], &["list", "shop"]).await;
        assert_eq!((listed.status, &*listed.stderr), (0, ""), "{language}");
        let names: Vec<_> = listed.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(names.iter().eq(store.state().keys()), "{language}: {names:?}");
    }
    let pages = testbed.server.take_requests();
    assert_eq!(pages.iter().filter(|request| request.query("continue").is_some()).count(), 4, "{language}: by three");

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

    // What is refused, and by whom.
    for (options, args, status, says) in [
        (&[][..], ["list", "other"], 1, "denied"),
        (&["--policy", "/dev/null"], ["list", "shop"], 2, "policy"),
        (&["--refuse", "wasi:sockets"], ["list", "shop"], 1, "wasi:sockets/"),
        (&["--memory", "1"], ["list", "shop"], 1, "memory"),
    ] {
        let refused = run(language, &testbed, options, &args).await;
        // A toolchain that imports no sockets has nothing that is refused for them.
        let has_none = options.first() == Some(&"--refuse") && refused.stderr.to_lowercase().contains("denied");
        assert!(refused.status == status, "{language} {options:?}: {} {}", refused.status, refused.stderr);
        assert!(has_none || refused.stderr.to_lowercase().contains(says), "{language} {options:?}: {}", refused.stderr);
    }
    let busy = Testbed::serving(|_| Answer::new(403, "no")).await;
    let failed = run(language, &busy, &[], &["list", "shop"]).await;
    assert!(failed.status == 1 && failed.stderr.contains("403: no; trying again does not help"), "{language}: {}", failed.stderr);
}

#[tokio::test]
async fn javascript() {
    speaks("javascript").await;
}

#[tokio::test]
async fn python() {
    speaks("python").await;
}
