//! Runs `examples/controller` as an extension without the token.

#[path = "../controller/scenario.rs"]
mod scenario;

use crate::command::command_in;
use scenario::{ARGS, Scene};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

const POLICY: &str = r#"{"rules": [
    {"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["shop", "front"]},
    {"verbs": ["list", "watch"], "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "namespaces": ["shop", "front"]}
]}"#;

#[tokio::test]
async fn it_rides_out_rotation_restarts_and_expiry() {
    let scene = Scene::set().await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("controller.wasm"), extensions::CONTROLLER).unwrap();
    std::fs::write(at("policy.json"), POLICY).unwrap();
    let (policy, extension) = (at("policy.json"), at("controller.wasm"));
    let args = ["run", "--policy", &policy, "--wall-time", "none", "--cpu-time", "none", &extension];
    let mut command = command_in(&scene.testbed, &args);
    let mut child = command.args(ARGS).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    scene.play(async || lines.next_line().await.unwrap().expect("a line")).await;
}
