//! Tests of the `incluster` binary.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use testbed::{Answer, Ca, PodApi, PodStore, Recording, Request, TOKEN, Testbed};
use tokio::process::Command;

pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Runs a command, and returns its output and exit status.
    pub async fn of(command: &mut Command) -> Output {
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Output { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs the binary with an empty environment.
async fn incluster(args: &[&str]) -> Output {
    Output::of(Command::new(env!("CARGO_BIN_EXE_incluster")).args(args).env_clear()).await
}

/// The binary with the options that lead to this testbed.
pub fn command_in(testbed: &Testbed, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
    command.env_clear().stdin(Stdio::null()).args(["--server", &testbed.server.url()]);
    command.arg("--service-account-dir").arg(testbed.volume.path()).args(args);
    command
}

pub async fn in_testbed(testbed: &Testbed, args: &[&str]) -> Output {
    let output = Output::of(&mut command_in(testbed, args)).await;
    let secret = TOKEN.rsplit('.').next().unwrap();
    assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret));
    output
}

#[tokio::test]
async fn pods_in_every_format() {
    let testbed = Testbed::start().await;
    let table = in_testbed(&testbed, &["pods"]).await;
    assert_eq!((table.status, &*table.stderr), (0, ""));
    assert!(
        table.stdout.starts_with("NAME                         READY   STATUS             RESTARTS   AGE\n"),
        "{}",
        table.stdout
    );
    assert_eq!(table.stdout.lines().count(), 8);
    let wide = in_testbed(&testbed, &["pods", "-n", "shop", "-o", "wide"]).await.stdout;
    assert!(
        wide.lines()
            .next()
            .unwrap()
            .ends_with("IP         NODE                                     NOMINATED NODE   READINESS GATES")
    );
    let names = in_testbed(&testbed, &["pods", "-o", "name"]).await.stdout;
    assert!(names.starts_with("pod/catalog-46f22f2a56-9e90c4\n"));

    let json: serde_json::Value = serde_json::from_str(&in_testbed(&testbed, &["pods", "-o", "json"]).await.stdout).unwrap();
    let recorded: serde_json::Value = serde_json::from_slice(&Recording::read("list-json").answer.body).unwrap();
    assert_eq!(json["items"][3]["spec"], recorded["items"][3]["spec"]);
    let yaml = in_testbed(&testbed, &["pods", "-o", "yaml"]).await.stdout;
    assert!(yaml.starts_with("apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n"));
}

#[tokio::test]
async fn options_reach_the_server() {
    let testbed = Testbed::start().await;
    in_testbed(&testbed, &["pods", "-l", "a=b", "--field-selector", "c=d", "--limit", "2"]).await;
    in_testbed(&testbed, &["pods", "-n", "empty", "-o", "json"]).await;
    let requests = testbed.server.requests();
    let query = "?labelSelector=a%3Db&fieldSelector=c%3Dd&limit=2&includeObject=None";
    assert_eq!(requests[0].path_and_query, format!("/api/v1/namespaces/shop/pods{query}"));
    assert_eq!(requests[1].path_and_query, "/api/v1/namespaces/empty/pods?limit=500");
}

#[tokio::test]
async fn the_namespace_defaults_to_the_pods_own_then_to_default() {
    let testbed = Testbed::start().await;
    in_testbed(&testbed, &["pods"]).await;
    testbed.volume.remove("namespace");
    in_testbed(&testbed, &["pods"]).await;
    let paths: Vec<_> = testbed.server.requests().iter().map(|r| r.path().to_string()).collect();
    assert_eq!(paths, ["/api/v1/namespaces/shop/pods", "/api/v1/namespaces/default/pods"]);
}

#[tokio::test]
async fn an_empty_namespace_and_a_limit_are_reported() {
    let empty = r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[],"rows":[]}"#;
    let testbed = Testbed::serving(move |_| Answer::new(200, empty).header("content-type", "application/json")).await;
    let output = in_testbed(&testbed, &["pods"]).await;
    assert_eq!((output.status, &*output.stdout, &*output.stderr), (0, "", "No resources found in shop namespace.\n"));
    let testbed = Testbed::serving(PodStore::with_pods(7).handler()).await;
    for args in [&["pods", "--limit", "5"][..], &["pods", "--limit", "5", "--chunk-size", "3"], &["pods", "--limit=5", "-ojson"]]
    {
        let output = in_testbed(&testbed, args).await;
        assert_eq!((output.status, &*output.stderr), (0, "incluster: there are 2 more pods than --limit allows\n"));
    }
}

#[tokio::test]
async fn config_shows_no_secret() {
    let testbed = Testbed::start().await;
    let output = in_testbed(&testbed, &["config"]).await;
    assert_eq!((output.status, &*output.stderr), (0, ""));
    for line in [
        &format!("Server:     {}\n", testbed.server.url()),
        "Namespace:  shop\n",
        "Token:      expires 2100-01-01T00:00:00Z, in ",
        "Subject:    system:serviceaccount:shop:lister\n",
        "Audience:   https://kubernetes.default.svc\n",
        "CA:         CN=kubernetes-ca, expires ",
    ] {
        assert!(output.stdout.contains(line), "{line} in {}", output.stdout);
    }
    assert_eq!(testbed.server.connections(), 0);
}

/// Checks that the command fails with one line, which says what failed, where, why, and what to check.
async fn fails(testbed: &Testbed, args: &[&str], says: &[&str]) {
    let output = in_testbed(testbed, args).await;
    assert_eq!((output.status, &*output.stdout), (1, ""), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    for part in says {
        assert!(output.stderr.contains(part), "{part} in {}", output.stderr);
    }
}

#[tokio::test]
async fn failures_are_one_line_that_a_person_can_act_on() {
    let testbed = Testbed::start().await;
    let url = format!("GET {}/api/v1/namespaces/other/pods: 403 Forbidden: pods is forbidden", testbed.server.url());
    let role = "bind a Role that allows verb \"list\" on \"pods\" in namespace \"other\" to system:serviceaccount:shop:lister";
    fails(&testbed, &["pods", "-n", "other"], &["incluster: failed to list pods in namespace \"other\": ", &url, role]).await;

    testbed.volume.set("token", b"stale");
    fails(&testbed, &["pods"], &["401 Unauthorized", "check that the service account's token is fresh"]).await;

    testbed.volume.set("ca.crt", Ca::new("another").pem().as_bytes());
    let certificate = format!("the certificate that {} presents was not issued by a CA in ca.crt", testbed.server.url());
    fails(&testbed, &["pods"], &[&certificate, "check that ca.crt is this cluster's"]).await;

    testbed.volume.remove("token");
    let missing = "there is no file /var/run/secrets/kubernetes.io/serviceaccount/token";
    fails(&testbed, &["config"], &["failed to load the in-cluster configuration", missing, "automountServiceAccountToken"]).await;

    let html = Testbed::serving(|_| Answer::new(403, "<html>\n<b>Forbidden</b>").header("content-type", "text/html")).await;
    fails(&html, &["pods"], &["403: <html> <b>Forbidden</b>"]).await;
}

#[tokio::test]
async fn wrong_usage_is_status_2_and_sends_nothing() {
    let testbed = Testbed::start().await;
    for (args, says) in [
        (&["pods", "--all"][..], "invalid option '--all'"),
        (&["pods", "-n", "../other"], "--namespace takes a DNS-1123 label"),
        (&["nodes"], "there is no command \"nodes\""),
        (&[], "no command given"),
    ] {
        let output = in_testbed(&testbed, args).await;
        assert_eq!((output.status, &*output.stdout), (2, ""), "{args:?}");
        assert!(output.stderr.contains(says) && output.stderr.ends_with("see incluster --help\n"), "{}", output.stderr);
    }
    assert_eq!(testbed.server.connections(), 0);
    let output = incluster(&["--service-account-dir", "/no/such/folder", "pods"]).await;
    assert_eq!((output.status, output.stderr.contains("no such folder")), (2, true));
}

#[tokio::test]
async fn outside_a_pod() {
    let help = incluster(&["--help"]).await;
    assert_eq!((help.status, &*help.stderr), (0, ""));
    for part in ["Usage: incluster pods", "--field-selector", "--service-account-dir", "Exit status"] {
        assert!(help.stdout.contains(part), "{part}");
    }
    let version = incluster(&["--version"]).await;
    assert_eq!((version.status, &*version.stdout), (0, "incluster 0.1.0\n"));
    let output = incluster(&["pods"]).await;
    assert_eq!(output.status, 1);
    assert_eq!(
        output.stderr,
        "incluster: not in a pod: the environment variable KUBERNETES_SERVICE_HOST is not set; elsewhere, give --server and --service-account-dir\n"
    );
    let output = incluster(&["--server", "http://127.0.0.1", "pods"]).await;
    assert_eq!((output.status, output.stderr.contains("is not the address of an API server")), (2, true));
}

/// In a pod, the binary reads the server's address from two environment variables. (The option replaces the usual folder.)
#[tokio::test]
async fn the_environment_names_the_server() {
    let testbed = Testbed::serving(PodApi::answer).await;
    let address = testbed.server.address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
    command
        .env_clear()
        .env("KUBERNETES_SERVICE_HOST", address.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", address.port().to_string());
    command.arg("--service-account-dir").arg(testbed.volume.path()).arg("pods");
    assert_eq!(Output::of(&mut command).await.status, 0);
    command.env("KUBERNETES_SERVICE_PORT", "tcp://10.0.0.1:443");
    assert_eq!(
        Output::of(&mut command).await.stderr,
        "incluster: cannot tell where the API server is: KUBERNETES_SERVICE_PORT is \"tcp://10.0.0.1:443\", which is not a port; check that this runs in a pod, and that the host passes KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT on\n"
    );
}

/// Warnings are printed as kubectl does: each once, whatever the answer is, and none about caches.
#[tokio::test]
async fn warnings_of_the_servers_are_printed_once() {
    let store = PodStore::with_pods(20);
    let answer = move |request: &Request| {
        let answer = store.answer(request).header("warning", r#"299 - "v1 \"Pod\" is old", 110 - "stale""#);
        answer.header("warning", r#"299 - "x""#)
    };
    let testbed = Testbed::serving(answer).await;
    for args in [&["pods", "-o", "name", "--chunk-size", "8"][..], &["pods", "-o", "json"]] {
        let output = in_testbed(&testbed, args).await;
        assert_eq!((output.status, &*output.stderr), (0, "Warning: v1 \"Pod\" is old\nWarning: x\n"));
    }
    let failing = Testbed::serving(|_| Answer::new(403, "no").header("warning", "299 - \"old\"")).await;
    let output = in_testbed(&failing, &["pods"]).await;
    assert!(output.status == 1 && output.stderr.starts_with("Warning: old\nincluster: failed to list"), "{}", output.stderr);
}

/// The volume's files may be readable only by root while the pod runs as another user.
#[tokio::test]
async fn an_unreadable_token() {
    let testbed = Testbed::start().await;
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set(testbed.volume.path(), 0o755);
    for (name, what) in [
        ("token", &["config"][..]),
        ("token", &["pods"]),
        ("namespace", &["pods"]),
        ("ca.crt", &["config"]),
        ("ca.crt", &["pods"]),
    ] {
        let file = testbed.volume.path().join(name);
        set(&file, 0);
        let mut command = command_in(&testbed, what);
        if rustix::process::geteuid().is_root() {
            command.uid(65_534);
        }
        let output = Output::of(&mut command).await;
        let says = format!("failed to read /var/run/secrets/kubernetes.io/serviceaccount/{name}: permission denied");
        assert!(output.status == 1 && output.stderr.contains(&says), "{what:?}: {}", output.stderr);
        set(&file, 0o644);
    }
    assert_eq!(testbed.server.requests().len(), 0);
}
