//! The cluster's administrator, for the soak.

use crate::callers::State;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// How long to wait for anything in the cluster.
const PATIENCE: Duration = Duration::from_secs(180);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// How long to wait for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// The specification of a pod that no scheduler assigns to a node.
const SPEC: &str = r#"{"schedulerName":"nobody","containers":[{"name":"main","image":"none"}]}"#;

/// A client of the API server by way of `kubectl proxy`: a process for each change would use more CPU time than the callers.
pub struct Admin {
    folder: TempDir,
    _proxy: Child,
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `just soak-cluster`"))
}

/// Runs a program. Returns its output if it succeeds, else its error output.
pub async fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output().await.expect("a program that runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// Runs kubectl until it succeeds: the API server may be away.
async fn eventually(args: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        match output("kubectl", args).await {
            Ok(printed) => return printed,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "kubectl {args:?}: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Admin {
    pub async fn new() -> Admin {
        let folder = TempDir::new().expect("a folder");
        let socket = format!("--unix-socket={}", folder.path().join("proxy").display());
        let mut proxy = Command::new("kubectl");
        let proxy = proxy.args(["proxy", &socket]).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let admin = Admin { folder, _proxy: proxy.expect("kubectl") };
        admin.until_ready().await;
        admin
    }

    /// Sends a request to the API server. Returns the body if the status is 2xx, else the whole answer.
    pub async fn ask(&self, method: &str, path: &str, content_type: &str, body: &str) -> Result<String, String> {
        let asked = async {
            let mut stream = UnixStream::connect(self.folder.path().join("proxy")).await?;
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}");
            stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(ANSWER, asked).await.map_err(|late| late.to_string())?;
        let answer = answer.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let is_good = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        if is_good { Ok(body.into()) } else { Err(answer) }
    }

    /// Waits until the API server is ready.
    pub async fn until_ready(&self) {
        let begun = Instant::now();
        while let Err(error) = self.ask("GET", "/readyz", "", "").await {
            assert!(begun.elapsed() < PATIENCE, "the API server is not ready: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the API server's URL.
    pub async fn server(&self) -> String {
        eventually(&["config", "view", "--raw", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]).await
    }

    /// Creates a namespace with a service account that may list and watch pods.
    pub async fn make_namespace(&self, name: &str) {
        let account = format!("--serviceaccount={name}:lister");
        for args in [
            &["create", "namespace", name][..],
            &["create", "serviceaccount", "lister", "--namespace", name],
            &["create", "role", "lister", "--namespace", name, "--verb=list,watch", "--resource=pods"],
            &["create", "rolebinding", "lister", "--namespace", name, "--role=lister", &account],
        ] {
            output("kubectl", args).await.unwrap_or_else(|error| panic!("{args:?}: {error}"));
        }
        // The authorizer learns of the role a moment later.
        let may = format!("--as=system:serviceaccount:{name}:lister");
        eventually(&["auth", "can-i", "list", "pods", "--namespace", name, &may]).await;
    }

    pub async fn remove_namespace(&self, name: &str) {
        eventually(&["delete", "namespace", name, "--wait=false", "--ignore-not-found"]).await;
    }

    /// Creates a new token of the service account.
    pub async fn token(&self, namespace: &str) -> String {
        eventually(&["create", "token", "lister", "--namespace", namespace, "--duration=10m"]).await
    }

    /// Creates a pod that no node runs.
    pub async fn make_pod(&self, namespace: &str, name: &str) {
        let begun = Instant::now();
        while let Err(error) = self.try_pod(namespace, name).await {
            assert!(begun.elapsed() < PATIENCE, "no pod {name}: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub async fn try_pod(&self, namespace: &str, name: &str) -> Result<(), String> {
        let spec: Value = serde_json::from_str(SPEC).expect("JSON");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        match self.ask("POST", &path, "application/json", &pod.to_string()).await {
            // `AlreadyExists`: an earlier answer was lost.
            Err(error) if !error.contains("AlreadyExists") => Err(error),
            _ => Ok(()),
        }
    }

    /// Lists the pods with kubectl.
    pub async fn pods(&self, namespace: &str) -> State {
        let columns = "--output=custom-columns=:metadata.name,:metadata.resourceVersion";
        let printed = eventually(&["get", "pods", "--namespace", namespace, "--no-headers", columns]).await;
        let pods = printed.lines().filter_map(|line| line.trim().split_once(' '));
        pods.map(|(name, version)| (name.into(), version.trim().into())).collect()
    }

    /// Creates a deployment: pods that the node runs and a controller replaces.
    pub async fn make_deployment(&self, namespace: &str, replicas: usize) {
        let metadata = json!({"name": "web", "namespace": namespace});
        let labels = json!({"app": "web"});
        let pod = json!({"metadata": {"labels": labels}, "spec": {
            "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "cluster.invalid/pause:1", "imagePullPolicy": "IfNotPresent"}]}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}});
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        self.ask("POST", &path, "application/json", &object.to_string()).await.unwrap_or_else(|error| panic!("{error}"));
        eventually(&["rollout", "status", "deployment/web", "--namespace", namespace, "--timeout=120s"]).await;
    }

    /// Removes the deployment, and waits until its pods are gone.
    pub async fn remove_deployment(&self, namespace: &str) {
        eventually(&["delete", "deployment/web", "--namespace", namespace, "--ignore-not-found"]).await;
        let begun = Instant::now();
        while !eventually(&["get", "pods", "--namespace", namespace, "--selector=app=web", "--output=name"]).await.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "the deployment's pods are still there");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
