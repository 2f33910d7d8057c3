//! A real Envoy, the processor, and a cluster.

#[path = "../../../gateway/tests/support/mod.rs"]
pub mod support;

use incluster_envoy::EnvoyProcessor;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use support::{Browser, Cluster, METRICS, compiler};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long to wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The Envoy configuration that the README describes.
pub const CONFIG: &str = include_str!("../../envoy.yaml");

/// A running Envoy. It ends when this is dropped.
pub struct Envoy {
    pub url: String,
    pub admin: String,
    _files: TempDir,
    _process: Child,
}

impl Envoy {
    /// Starts an Envoy with this configuration, which connects to the processor at this socket.
    pub async fn start(socket: &Path, config: &str) -> Envoy {
        let files = TempDir::new().unwrap();
        let admin_file = files.path().join("admin");
        let config = config.replace("/run/incluster/processor.sock", &socket.display().to_string());
        let config =
            config.replace("0.0.0.0, port_value: 8080", "127.0.0.1, port_value: 0").replace("port_value: 9901", "port_value: 0");
        let file = files.path().join("envoy.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(std::env::var_os("ENVOY").expect("ENVOY: tools/envoy.sh prints it"));
        command.env_clear().args(["--disable-hot-restart", "--concurrency", "2", "-c"]).arg(&file);
        command.arg("--admin-address-path").arg(&admin_file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let started = async {
            let mut said = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("starting workers") {
                    return;
                }
                said += &(line + "\n");
            }
            panic!("Envoy has ended: {said}");
        };
        timeout(PATIENCE, started).await.expect("Envoy starts");
        // Envoy goes on writing, and a full pipe would block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let admin = format!("http://{}", std::fs::read_to_string(&admin_file).unwrap().trim());
        let (_, listeners) = Browser::new().get(&format!("{admin}/listeners")).await;
        let address = listeners.trim().split_once("::").expect("a listener").1;
        Envoy { url: format!("http://{address}"), admin, _files: files, _process: process }
    }
}

/// The part of the configuration that says where the processor is, as in the README.
const PROCESSORS: &str = "endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /run/incluster/processor.sock}}}}]}]";

/// Adds a second processor to a configuration, and health checks for both.
pub fn with_two_processors(envoy: &str, second: &Path) -> String {
    assert!(envoy.contains(PROCESSORS));
    let first = "{endpoint: {address: {pipe: {path: /run/incluster/processor.sock}}}}";
    let second = format!("{{endpoint: {{address: {{pipe: {{path: {}}}}}}}}}", second.display());
    let readme = include_str!("../../README.md");
    let checks = readme.lines().find(|line| line.starts_with("health_checks: ")).unwrap();
    envoy.replace(PROCESSORS, &format!("endpoints: [{{lb_endpoints: [{first}, {second}]}}]\n    {checks}"))
}

/// Changes a configuration so that Envoy itself never picks an endpoint, as the README describes.
pub fn strict(envoy: &str) -> String {
    const BEFORE: &str = "fallback_policy:\n              policies:\n";
    const AFTER: &str = "  - name: incluster\n";
    let (start, end) = (envoy.find(BEFORE).unwrap() + BEFORE.len(), envoy.find(AFTER).unwrap());
    let readme = include_str!("../../README.md");
    let policy = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let policy: String = policy.lines().map(|line| format!("              {line}\n")).collect();
    envoy[..start].to_owned() + &policy + &envoy[end..]
}

/// A running `incluster-envoy`. It ends when this is dropped.
pub struct Program {
    process: Child,
    _output: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Program {
    /// Starts the program, and waits until it is ready.
    pub async fn start(file: &Path) -> Program {
        let Some(program) = option_env!("CARGO_BIN_EXE_incluster-envoy") else { panic!("the demo has no program") };
        let mut command = Command::new(program);
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = output.next_line().await.unwrap().expect("it says where it serves");
        let status = line.rsplit(' ').next().unwrap();
        let browser = Browser::new();
        let ready = async { while browser.get(&format!("{status}/readyz")).await.0 != 200 {} };
        timeout(PATIENCE, ready).await.expect("it is ready");
        Program { process, _output: output }
    }

    /// Tells the program to end, and waits until it has ended without an error.
    pub async fn stop(&mut self) {
        let kill = format!("kill -TERM {}", self.process.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
        assert!(timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap().success());
    }
}

/// A cluster, the processor and an Envoy.
pub struct Scene {
    pub cluster: Cluster,
    pub processor: EnvoyProcessor,
    pub envoy: Envoy,
    pub browser: Browser,
    pub socket: PathBuf,
    pub file: PathBuf,
    _dir: TempDir,
}

/// A configuration: a tenant that may watch pods, and these routes.
pub fn config(cluster: &Cluster, socket: &Path, routes: &str) -> String {
    let (server, dir) = (cluster.testbed.server.url(), cluster.testbed.volume.path().display().to_string());
    format!(
        "listen: unix:{}\nstatus: 127.0.0.1:0\ntenants:\n  shop:\n    server: {server}\n    serviceAccountDir: {dir}\n    \
         policy: {{rules: [{{verbs: [list, watch], apiGroups: [\"\"], resources: [pods], namespaces: [shop]}}]}}\n    \
         limits: {{call: {{memory: 32Mi, cpuTime: 100ms}}}}\nroutes:\n{routes}",
        socket.display()
    )
}

impl Scene {
    pub async fn set(pods: &[&str], more: &str) -> Scene {
        Scene::set_with(CONFIG, pods, more).await
    }

    pub async fn set_with(envoy: &str, pods: &[&str], more: &str) -> Scene {
        let mut cluster = Cluster::start().await;
        for pod in pods {
            cluster.add(pod).await;
        }
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("processor.sock");
        let routes = cluster.route("shop", &format!("cluster: web{more}"));
        let file = cluster.write_text(&config(&cluster, &socket, &routes));
        let processor = EnvoyProcessor::start(&file, compiler(), METRICS.clone()).await.unwrap();
        processor.engine().until_ready().await;
        let envoy = Envoy::start(&socket, envoy).await;
        Scene { cluster, processor, envoy, browser: Browser::new(), socket, file, _dir: dir }
    }

    /// Sends a request. Returns the status, and the name of the pod that answered or the text.
    pub async fn get(&self, session: &str) -> (u16, String) {
        let (status, body) = self.browser.get_as(session, &format!("{}/cart", self.envoy.url)).await;
        (status, if status == 200 { body.split(' ').next().unwrap().into() } else { body })
    }

    /// Sends requests until the answer is as it should be.
    pub async fn until(&self, is_it: impl Fn(u16, &str) -> bool) {
        let asking = async {
            loop {
                let (status, body) = self.get("any").await;
                if is_it(status, &body) {
                    return;
                }
            }
        };
        timeout(PATIENCE, asking).await.expect("an answer as it should be");
    }

    /// The health of each endpoint as Envoy sees it, one per line.
    pub async fn endpoints(&self) -> String {
        let (_, text) = self.browser.get(&format!("{}/clusters", self.envoy.admin)).await;
        let lines = text.lines().filter(|line| line.starts_with("web::") && line.contains("::health_flags::"));
        lines.map(|line| line.rsplit("::").next().unwrap().to_owned() + "\n").collect()
    }
}
