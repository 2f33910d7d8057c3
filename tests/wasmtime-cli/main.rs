//! Tests of the components in a stock wasmtime CLI. `run.sh` gets the CLI and passes its path.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod against_testbed;
mod controller;
mod real;

use incluster::SERVICE_ACCOUNT_DIR;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;
use std::process::Stdio;
use std::sync::LazyLock;
use tempfile::TempDir;
use testbed::TOKEN;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `./justw test-wasmtime-cli`"))
}

/// The components, as files.
struct Files {
    dir: TempDir,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("incluster.wasm"), incluster::COMMAND).unwrap();
    std::fs::write(dir.path().join("incluster-standalone.wasm"), incluster_standalone::COMMAND).unwrap();
    // Compiled once, and not for each test.
    for name in ["incluster", "incluster-standalone"] {
        let wasm = dir.path().join(name).with_extension("wasm");
        let mut compile = Blocking::new(variable("WASMTIME"));
        compile.arg("compile").arg(&wasm).arg("-o").arg(wasm.with_extension("cwasm"));
        assert!(compile.status().unwrap().success());
    }
    Files { dir }
});

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

struct Output {
    status: i32,
    stdout: String,
    stderr: String,
}

/// Runs a command, and checks that it does not print the token.
async fn output(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let output = Output { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
    let secret = TOKEN.rsplit('.').next().unwrap();
    assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret));
    output
}

/// `wasmtime run` with these options, in the environment of a pod with this volume and this API server.
fn wasmtime(options: &[&str], host: &str, port: u16, volume: &Path, component: &str, args: &[&str]) -> Command {
    let mut command = Command::new(variable("WASMTIME"));
    command.env_clear().env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port.to_string());
    command.args(["run", "--allow-precompiled", "-S", "inherit-env"]).args(options);
    command.arg("--dir").arg(format!("{}::{SERVICE_ACCOUNT_DIR}", volume.display()));
    command.arg(FILES.path(component)).args(args);
    command
}

/// The standalone component, as the README runs it.
fn standalone(host: &str, port: u16, volume: &Path, args: &[&str]) -> Command {
    wasmtime(&["-S", "inherit-network"], host, port, volume, "incluster-standalone.cwasm", args)
}

/// The lines that a running command prints.
struct Lines {
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    /// The process, killed when it is dropped.
    _running: Child,
}

impl Lines {
    fn of(command: &mut Command) -> Lines {
        let mut running = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        Lines { lines: BufReader::new(running.stdout.take().unwrap()).lines(), _running: running }
    }

    async fn next(&mut self) -> String {
        self.lines.next_line().await.unwrap().unwrap()
    }
}

/// The binary, in the environment of a pod with this volume and this API server.
fn incluster(host: &str, port: u16, volume: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(variable("INCLUSTER"));
    command.env_clear().env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port.to_string());
    command.arg("--service-account-dir").arg(volume).args(args);
    command
}
