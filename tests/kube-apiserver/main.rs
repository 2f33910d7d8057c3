//! Tests the host against a real API server, and compares it with kubectl. `run.sh` sets the server up and passes its address.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod changes;
mod command;
mod identity;
mod lists;
mod memory;
mod objects;
mod paging;
mod paths;
mod watching;

use incluster::policy::Policy;
use incluster::types::{Error as Kubernetes, ListOptions, PodList, Status};
use incluster::{Error, Runtime, Server, Tenant};
use std::fmt::Debug;
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

fn tenant(volume: &Volume) -> Tenant {
    let server = Server::parse(&variable("REAL_SERVER")).unwrap();
    let tenant = Tenant::builder(&Runtime::new().unwrap(), "real").server(server).service_account_dir(volume.path());
    tenant.policy(Policy::allow_all()).build().unwrap()
}

async fn list(options: ListOptions) -> Result<PodList, Kubernetes> {
    list_as(&variable("REAL_TOKEN"), &namespace(), options).await
}

async fn list_as(token: &str, namespace: &str, options: ListOptions) -> Result<PodList, Kubernetes> {
    let volume = volume(token);
    kubernetes(tenant(&volume).list_namespaced_pods(namespace, &options).await)
}

/// Unwraps the component's own answer.
fn kubernetes<T>(answer: Result<T, Error>) -> Result<T, Kubernetes> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Error::Kubernetes(failure)) => Err(failure.error),
        Err(other) => panic!("the host failed: {other}"),
    }
}

/// Unwraps the status that the API server answered with.
fn status<T: Debug>(answer: Result<T, Kubernetes>) -> Status {
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
    succeeded(incluster_in(&volume).args(args).output().unwrap())
}

/// The binary, with this volume and the API server's address.
fn incluster_in(volume: &Volume) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incluster"));
    command.args(["--server", &variable("REAL_SERVER")]).arg("--service-account-dir").arg(volume.path());
    command
}

fn kubectl(args: &[&str]) -> String {
    succeeded(Command::new(variable("KUBECTL")).args(args).output().unwrap())
}
