//! The real components in the real host, against the testbed.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod api_errors;
mod architecture;
mod cache;
mod caller;
mod cancellation;
mod command;
mod command_extensions;
mod command_streams;
mod components;
mod configuration;
mod confined;
mod connections;
mod contract_docs;
mod controller;
#[path = "../transport/echoes.rs"]
mod echoes;
mod embedding;
mod errors;
mod extension_library;
mod extension_worlds;
mod extensions;
#[path = "../transport/faults.rs"]
mod faults;
mod host_faults;
mod hostile_files;
mod http_2;
mod identities;
mod interfaces;
mod limits;
mod listing;
mod log;
mod observability;
mod paging;
mod records;
mod rotation;
mod secrets;
mod stores;
mod telemetry;
mod tidy;
#[path = "../transport/trust.rs"]
mod trust;
mod trying_out;
#[path = "../transport/waiting.rs"]
mod waiting;
mod watching;

use incluster::policy::Policy;
use incluster::types::{Error as Kubernetes, Failure, ListOptions, PodList, RetryPolicy};
use incluster::{Compiler, Error, Extension, Runtime, Server, Tenant, TokenAccess};
use std::sync::LazyLock;
use testbed::Testbed;

/// One engine for all tests, as in a process of an embedder's.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::builder().compiler(compiler()).build().expect("a runtime"));

/// As in the binary, whose program it is.
fn compiler() -> Compiler {
    Compiler::child(env!("CARGO_BIN_EXE_incluster")).arg("compile-child")
}

/// An extension of a tenant's.
async fn load(component: &[u8], allowed: &[&str]) -> Extension {
    RUNTIME.extension("test", component, allowed).await.expect("an extension")
}

/// The cluster that a testbed is.
fn tenant(testbed: &Testbed) -> Tenant {
    tenant_at(&testbed.server.url(), testbed)
}

/// The same, by another address. Each request is sent once: `faults.rs` shows what becomes of it otherwise.
fn tenant_at(url: &str, testbed: &Testbed) -> Tenant {
    let server = Server::parse(url).expect("a URL");
    let tenant = Tenant::builder(&RUNTIME, "test").server(server).service_account_dir(testbed.volume.path());
    tenant.policy(Policy::allow_all()).retry_policy(RetryPolicy::NEVER).build().expect("a tenant")
}

/// The same, whose sandboxes have the token: what the guest itself does with it.
fn portable(testbed: &Testbed) -> Tenant {
    let server = Server::parse(&testbed.server.url()).expect("a URL");
    let tenant = Tenant::builder(&RUNTIME, "test").server(server).service_account_dir(testbed.volume.path());
    let tenant = tenant.policy(Policy::allow_all()).retry_policy(RetryPolicy::NEVER);
    tenant.token_access(TokenAccess::Portable).build().expect("a tenant")
}

async fn list_shop(tenant: &Tenant) -> Result<PodList, Kubernetes> {
    kubernetes(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await)
}

/// The component's own answer.
fn kubernetes<T>(result: Result<T, Error>) -> Result<T, Kubernetes> {
    answer(result).map_err(|failure| failure.error)
}

/// The same, with what was done about a failure.
fn answer<T>(result: Result<T, Error>) -> Result<T, Failure> {
    match result {
        Ok(value) => Ok(value),
        Err(Error::Kubernetes(failure)) => Err(failure),
        Err(other) => panic!("the host failed: {other}"),
    }
}
