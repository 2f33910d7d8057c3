//! Tests of what an extension's author can use without a cluster: `incluster new`, `run --pods` and `run --debug`.

use crate::command::Output;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use testbed::Recording;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const POLICY: &str =
    r#"{"rules": [{"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}]}"#;

/// A folder with an extension, a policy and pods.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(extension: &[u8]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("extension.wasm", extension);
        folder.write("policy.json", POLICY);
        folder.write("pods.json", &Recording::read("list-json").answer.body);
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
        command.current_dir(self.0.path()).env_clear().stdin(Stdio::null()).args(args);
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        Output::of(&mut self.command(args)).await
    }
}

#[tokio::test]
async fn pods_of_a_file_stand_in_for_a_cluster() {
    let folder = Folder::new(extensions::PODS);
    let ran = folder.run(&["run", "--pods", "pods.json", "--policy", "policy.json", "extension.wasm"]).await;
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let recorded: Value = serde_json::from_slice(&Recording::read("list-json").answer.body).unwrap();
    let edge = recorded["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["labels"]["tier"] == "edge");
    let names: Vec<_> = edge.map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect();
    let printed: Vec<_> = ran.stdout.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(!names.is_empty() && names.len() < 7 && printed == names, "{printed:?}, not {names:?}");

    folder.write("pods.yaml", "kind: Service\nmetadata: {name: web}\n");
    for (args, status, says) in [
        // The policy applies here too.
        (&["run", "--pods", "pods.json", "extension.wasm"][..], 1, "denied: the policy, which has no rules, does not permit"),
        (&["run", "--pods", "none.json", "extension.wasm"], 1, "--pods: none.json: No such file"),
        (&["run", "--pods", "pods.yaml", "extension.wasm"], 1, "--pods: pods.yaml: web is not a pod, but a \"Service\""),
        (
            &["--server", "https://10.0.0.1", "run", "--pods", "pods.json", "extension.wasm"],
            2,
            "--pods takes the place of --server and --service-account-dir",
        ),
    ] {
        let ran = folder.run(args).await;
        assert!(ran.status == status && ran.stderr.contains(says), "{args:?}: {} {}", ran.status, ran.stderr);
    }
}

#[tokio::test]
async fn a_file_of_pods_that_changes_is_watched() {
    let folder = Folder::new(extensions::CONTROLLER);
    let pods = |phases: &[(&str, &str)]| {
        let pod =
            |(name, phase): &(&str, &str)| json!({"metadata": {"name": name, "namespace": "shop"}, "status": {"phase": phase}});
        json!({"items": phases.iter().map(pod).collect::<Vec<_>>()}).to_string()
    };
    folder.write("pods.json", pods(&[("a", "Pending"), ("b", "Running")]));
    let args = ["run", "--pods", "pods.json", "--policy", "policy.json", "extension.wasm", "shop", "front"];
    let mut child = folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || lines.next_line().await.unwrap().expect("a line");
    let state = "not ready, no address";
    assert_eq!(line().await, format!("+ pod shop/a: Pending, {state}"));
    assert_eq!(line().await, format!("+ pod shop/b: Running, {state}"));
    folder.write("pods.json", pods(&[("a", "Running")]));
    assert_eq!(line().await, format!("~ pod shop/a: Pending, {state} -> Running, {state}"));
    assert_eq!(line().await, "- pod shop/b");
}

#[tokio::test]
async fn debug_shows_each_request_and_what_a_call_cost() {
    let folder = Folder::new(extensions::PODS);
    let ran = folder.run(&["run", "--debug", "--pods", "pods.json", "--policy", "policy.json", "extension.wasm"]).await;
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let request =
        ran.stderr.lines().find(|line| line.contains("kubernetes_request") && line.contains(" close ")).expect("a request");
    for part in ["GET", "path=\"/api/v1/namespaces/shop/pods\"", "verb=list", "attempt=1", "status=200", "bytes="] {
        assert!(request.contains(part), "{part} in {request}");
    }
    let call = ran.stderr.lines().rfind(|line| line.contains("call{")).expect("a call");
    for part in ["extension=\"extension\"", "computed_seconds=0.", "memory_bytes=", "outcome=\"success\""] {
        assert!(call.contains(part), "{part} in {call}");
    }
    let denied = folder.run(&["run", "--debug", "--pods", "pods.json", "extension.wasm"]).await;
    let request = denied.stderr.lines().rfind(|line| line.contains("kubernetes_request")).expect("a request");
    assert!(request.contains("denied=\"policy\"") && !request.contains("status="), "{request}");
    assert!(!ran.stderr.contains("Bearer"));
}

/// The commands that `incluster new` prints work, and the README shows the same ones.
#[tokio::test]
async fn a_new_project_builds_runs_and_says_where_it_trapped() {
    let dir = tempfile::tempdir().unwrap();
    let new = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
        command.current_dir(dir.path()).env_clear().args(["new"]).args(args);
        async move { Output::of(&mut command).await }
    };
    let made = new(&["hello", "--language", "rust"]).await;
    assert_eq!((made.status, &*made.stderr), (0, ""));
    let commands: Vec<_> = made.stdout.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(commands[..2] == ["cd hello", "cargo build --release"] && commands.len() == 3, "{commands:?}");
    let four = format!("$ incluster new hello\n$ {}\n", commands.join("\n$ "));
    assert!(include_str!("../../README.md").contains(&four), "the README has other commands than {four}");
    for (args, status, says) in [
        (&["hello"][..], 1, "hello is not empty"),
        (&["3d"], 1, "with a letter first"),
        (&["other", "--language", "cobol"], 2, "--language takes rust, javascript, python or go"),
        (&[], 2, "new takes the folder"),
    ] {
        let refused = new(args).await;
        assert!(refused.status == status && refused.stderr.contains(says), "{args:?}: {} {}", refused.status, refused.stderr);
    }

    // `tests/languages` builds these.
    for (language, command, program) in [
        ("javascript", "npm install && npm run build", "lister.js"),
        ("python", ".venv/bin/componentize-py -d wit -w lister componentize lister -o lister.wasm", "lister.py"),
        ("go", "ADAPTER=PATH/wasi_snapshot_preview1.reactor.wasm bash build.sh", "lister/export_wasi_cli_run/lister.go"),
    ] {
        let made = new(&[language, "--language", language]).await;
        assert_eq!((made.status, &*made.stderr), (0, ""));
        assert!(made.stdout.contains(&format!("  {command}\n")), "{}", made.stdout);
        let project = dir.path().join(language);
        let text = |name: &str| std::fs::read_to_string(project.join(name)).unwrap();
        assert!(text("README.md").starts_with(&format!("# {language}\n")) && text(program).contains("[NAMESPACE]"));
        for (name, text) in incluster::WIT {
            assert_eq!(std::fs::read_to_string(project.join("wit/deps/incluster-kubernetes").join(name)).unwrap(), *text);
        }
    }

    let project = dir.path().join("hello");
    // With this repository's versions, nothing is downloaded.
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::copy(repository.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
    std::fs::copy(repository.join("rust-toolchain.toml"), project.join("rust-toolchain.toml")).unwrap();
    build(&project).await;
    let args: Vec<_> = commands[2].split(' ').skip(1).collect();
    let mut run = Command::new(env!("CARGO_BIN_EXE_incluster"));
    let ran = Output::of(run.current_dir(&project).env_clear().args(&args)).await;
    assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (0, "web-1 Running 10.0.0.1\nweb-2 Pending no address\n", ""));

    // The project's own test runs natively, as its README says.
    let host = Output::of(Command::new("rustc").args(["--print", "host-tuple"])).await;
    cargo(&project, &["test", "--target", host.stdout.trim()]).await;

    let main = project.join("src/main.rs");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(
        &main,
        text.replace(
            "fn line(pod: &Pod) -> String {\n",
            "#[inline(never)]\nfn line(pod: &Pod) -> String {\n    if pod.metadata.labels.len() == 1 { panic!(\"one label\") }\n",
        ),
    )
    .unwrap();
    build(&project).await;
    let mut run = Command::new(env!("CARGO_BIN_EXE_incluster"));
    let trapped = Output::of(run.current_dir(&project).env_clear().args(["run", "--debug"]).args(&args[1..])).await;
    let trap = trapped.stderr.lines().last().unwrap();
    assert!(trapped.status == 1 && trap.contains("hello::line (hello/src/main.rs:16) < hello::main ("), "{trap}");
}

async fn build(project: &Path) {
    let target = cargo(project, &["build", "--release"]).await;
    let wasm = "wasm32-wasip2/release/hello.wasm";
    let there = project.join("target").join(wasm);
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::copy(target.join(wasm), there).unwrap();
}

/// Runs cargo in the project as a user's shell would, without this test's cargo variables. Returns the target folder, which all runs of this
/// test share.
async fn cargo(project: &Path, args: &[&str]) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    let is_ours = |name: &str| name.starts_with("CARGO_") && name != "CARGO_HOME" || name.contains("RUSTFLAGS");
    for (name, _) in std::env::vars().filter(|(name, _)| is_ours(name)) {
        cargo.env_remove(name);
    }
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("new-project");
    let built =
        Output::of(cargo.current_dir(project).args(args).args(["--offline", "--quiet", "--target-dir"]).arg(&target)).await;
    assert_eq!(built.status, 0, "{}", built.stderr);
    target
}
