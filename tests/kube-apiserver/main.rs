//! The same component against a real API server, and beside kubectl. `run.sh` sets it up and says where it is.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use incluster::types::{Error as Kubernetes, ListOptions, PodList, ResourceVersionMatch, Status};
use incluster::{Cluster, Error, Runtime, Server};
use serde_json::Value;
use std::fs;
use std::process::{Command, Output};
use testbed::Volume;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `./justw test-real`"))
}

fn namespace() -> String {
    variable("REAL_NAMESPACE")
}

fn volume(token: &str) -> Volume {
    Volume::new(token, &fs::read_to_string(variable("REAL_CA")).unwrap(), &namespace())
}

fn cluster(volume: &Volume) -> Cluster {
    let server = Server::parse(&variable("REAL_SERVER")).unwrap();
    Cluster::new(&Runtime::new().unwrap(), server, volume.path().into()).unwrap()
}

async fn list(options: ListOptions) -> Result<PodList, Kubernetes> {
    list_as(&variable("REAL_TOKEN"), &namespace(), options).await
}

async fn list_as(token: &str, namespace: &str, options: ListOptions) -> Result<PodList, Kubernetes> {
    let volume = volume(token);
    match cluster(&volume).list_namespaced_pods(namespace, &options).await {
        Ok(list) => Ok(list),
        Err(Error::Kubernetes(error)) => Err(error),
        Err(other) => panic!("the host failed: {other}"),
    }
}

fn status(answer: Result<PodList, Kubernetes>) -> Status {
    match answer {
        Err(Kubernetes::Api(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn incluster(args: &[&str]) -> String {
    let volume = volume(&variable("REAL_TOKEN"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
    command.args(["--server", &variable("REAL_SERVER")]).arg("--service-account-dir").arg(volume.path());
    succeeded(command.args(args).output().unwrap())
}

fn kubectl(args: &[&str]) -> String {
    succeeded(Command::new(variable("KUBECTL")).args(args).output().unwrap())
}

/// The ages in a table may move on between two commands: then both are asked again.
fn same_as_kubectl(ours: &[&str], theirs: &[&str]) {
    let namespace = namespace();
    let last = (0..20).map(|_| (incluster(ours), kubectl(&[theirs, &["-n", &namespace]].concat()))).find(|(a, b)| a == b);
    assert!(last.is_some(), "{}\nis not\n{}", incluster(ours), kubectl(&[theirs, &["-n", &namespace]].concat()));
}

#[test]
fn output_equals_kubectls() {
    same_as_kubectl(&["pods"], &["get", "pods"]);
    same_as_kubectl(&["pods", "-o", "wide"], &["get", "pods", "-o", "wide"]);
    same_as_kubectl(&["pods", "-o", "name"], &["get", "pods", "-o", "name"]);
    same_as_kubectl(
        &["pods", "-l", "tier=edge", "--field-selector", "status.phase=Running"],
        &["get", "pods", "-l", "tier=edge", "--field-selector", "status.phase=Running"],
    );
}

#[test]
fn documents_hold_what_kubectls_hold() {
    let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let ours = parse(incluster(&["pods", "-o", "json"]));
    let theirs = parse(kubectl(&["get", "pods", "-o", "json", "-n", &namespace()]));
    assert_eq!(ours["items"].as_array().unwrap().len(), 60);
    assert_eq!(ours["items"], theirs["items"]);
}

/// The records come in protobuf here; the same fields from the JSON of `get-json`.
#[tokio::test]
async fn both_encodings_say_the_same() {
    let volume = volume(&variable("REAL_TOKEN"));
    let cluster = cluster(&volume);
    let list = cluster.list_namespaced_pods(&namespace(), &ListOptions::ALL).await.unwrap();
    let json = cluster.get_json(&format!("/api/v1/namespaces/{}/pods", namespace())).await.unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), list.items.len());
    for (item, pod) in json["items"].as_array().unwrap().iter().zip(&list.items) {
        assert_eq!(item["metadata"]["name"], *pod.metadata.name);
        assert_eq!(item["metadata"]["uid"], *pod.metadata.uid);
        assert_eq!(item["metadata"]["resourceVersion"], *pod.metadata.resource_version);
        assert_eq!(item["metadata"]["labels"].as_object().unwrap().len(), pod.metadata.labels.len());
        assert_eq!(item["spec"]["nodeName"].as_str(), pod.spec.node_name.as_deref());
        assert_eq!(item["spec"]["containers"][0]["image"].as_str(), pod.spec.containers[0].image.as_deref());
        assert_eq!(item["status"]["podIPs"][0]["ip"], *pod.status.pod_ips[0]);
        assert_eq!(item["status"]["containerStatuses"][0]["restartCount"], pod.status.container_statuses[0].restart_count);
        assert_eq!(item["status"]["conditions"].as_array().unwrap().len(), pod.status.conditions.len());
    }
}

#[tokio::test]
async fn list_options() {
    let all = list(ListOptions::ALL).await.unwrap();
    assert_eq!(all.items.len(), 60);
    let edge = list(ListOptions { label_selector: Some("tier in (edge)".into()), ..ListOptions::ALL }).await.unwrap();
    assert_eq!(edge.items.len(), 20);
    let none = list(ListOptions { field_selector: Some("status.phase=Failed".into()), ..ListOptions::ALL }).await.unwrap();
    assert!(none.items.is_empty());
    let any =
        list(ListOptions { resource_version: Some("0".into()), timeout_seconds: Some(30), ..ListOptions::ALL }).await.unwrap();
    assert_eq!(any.items.len(), 60);
    let same = ListOptions {
        resource_version: Some(all.resource_version.clone()),
        resource_version_match: Some(ResourceVersionMatch::Exact),
        ..ListOptions::ALL
    };
    assert_eq!(list(same).await.unwrap(), all);
}

#[tokio::test]
async fn pages_add_up() {
    let mut names = Vec::new();
    let mut options = ListOptions { limit: Some(25), ..ListOptions::ALL };
    let mut left = Vec::new();
    loop {
        let page = list(options.clone()).await.unwrap();
        names.extend(page.items.into_iter().map(|pod| pod.metadata.name));
        left.push(page.remaining_item_count);
        match page.continue_token {
            Some(token) => options.continue_token = Some(token),
            None => break,
        }
    }
    assert_eq!(left, [Some(35), Some(10), None]);
    let all = list(ListOptions::ALL).await.unwrap();
    assert_eq!(names, all.items.into_iter().map(|pod| pod.metadata.name).collect::<Vec<_>>());
}

#[tokio::test]
async fn refusals() {
    let forbidden = status(list_as(&variable("REAL_TOKEN"), "kube-system", ListOptions::ALL).await);
    assert_eq!((forbidden.code, forbidden.reason.as_deref()), (403, Some("Forbidden")));
    let unauthorized = status(list_as("not-a-token", &namespace(), ListOptions::ALL).await);
    assert_eq!((unauthorized.code, unauthorized.reason.as_deref()), (401, Some("Unauthorized")));
    let bad = status(list(ListOptions { label_selector: Some("a in (".into()), ..ListOptions::ALL }).await);
    assert_eq!((bad.code, bad.reason.as_deref()), (400, Some("BadRequest")));
    let token = status(list(ListOptions { continue_token: Some("nonsense".into()), ..ListOptions::ALL }).await);
    assert_eq!(token.code, 400);
    let lone = ListOptions { resource_version_match: Some(ResourceVersionMatch::Exact), ..ListOptions::ALL };
    assert_eq!(status(list(lone).await).code, 422);
}

/// As the README says: the component runs in the stock wasmtime CLI, which trusts the public web's CAs and no others.
#[test]
fn the_wasmtime_cli_runs_the_command() {
    let volume = volume(&variable("REAL_TOKEN"));
    let component = volume.path().join("incluster.wasm");
    fs::write(&component, incluster::COMMAND).unwrap();
    let url = variable("REAL_SERVER");
    let (host, port) = url.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
    let run = |command: &str| {
        Command::new(variable("WASMTIME"))
            .args(["run", "-S", "http", "--env", "KUBERNETES_SERVICE_HOST", "--env", "KUBERNETES_SERVICE_PORT", "--dir"])
            .arg(format!("{}::{}", volume.path().display(), incluster::SERVICE_ACCOUNT_DIR))
            .arg(&component)
            .arg(command)
            .env("KUBERNETES_SERVICE_HOST", host)
            .env("KUBERNETES_SERVICE_PORT", port)
            .output()
            .unwrap()
    };
    assert_eq!(succeeded(run("config")), incluster(&["config"]));
    let untrusted = run("pods");
    assert_eq!(untrusted.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&untrusted.stderr).contains("the TLS handshake failed"));
}

/// The budget for listing 5,000 large pods in one answer: 250 MB for the whole process.
const BUDGET_KB: u64 = 250_000;

fn peak_kb(stderr: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stderr);
    text.split_whitespace().rev().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn memory_of_5000_pods() {
    let volume = volume(&variable("REAL_TOKEN"));
    let example = std::path::Path::new(env!("CARGO_BIN_EXE_incluster")).with_file_name("examples").join("list");
    let mut command = Command::new(example);
    let output = command.arg(format!("{}-load", namespace())).arg(variable("REAL_SERVER")).arg(volume.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("5000 pods"), "{}", String::from_utf8_lossy(&output.stderr));
    let peak = peak_kb(&output.stderr);
    println!("listing 5,000 pods as records: peak memory {} MB", peak / 1000);
    assert!(peak < BUDGET_KB, "{peak} kB");
}

#[test]
fn a_table_of_5000_pods_equals_kubectls_names() {
    let namespace = format!("{}-load", namespace());
    assert_eq!(incluster(&["pods", "-n", &namespace, "-o", "name"]), kubectl(&["get", "pods", "-n", &namespace, "-o", "name"]));
}
