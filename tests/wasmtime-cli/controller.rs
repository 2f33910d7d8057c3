//! Runs `examples/controller` composed with the standalone client: a program that needs no incluster host.

#[path = "../controller/scenario.rs"]
mod scenario;

use crate::{FILES, Lines, variable, wasmtime};
use scenario::{ARGS, Scene};
use std::process::Command;

#[tokio::test]
async fn against_testbed_it_rides_out_rotation_restarts_and_expiry() {
    let [extension, composed] = ["controller.wasm", "controller-standalone.wasm"].map(|name| FILES.path(name));
    std::fs::write(&extension, extensions::CONTROLLER).unwrap();
    let mut compose = Command::new(variable("INCLUSTER"));
    assert!(compose.args(["compose", "--standalone"]).arg(&extension).arg("-o").arg(&composed).status().unwrap().success());
    let scene = Scene::set().await;
    let (host, port) = (scene.testbed.server.address().ip().to_string(), scene.testbed.server.address().port());
    let options = ["-S", "inherit-network", "-S", "http"];
    let mut lines =
        Lines::of(&mut wasmtime(&options, &host, port, scene.testbed.volume.path(), "controller-standalone.wasm", &ARGS));
    scene.play(async || lines.next().await).await;
}
