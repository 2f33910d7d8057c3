//! Tests of the real components in the real host, against the testbed.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod api_errors;
mod architecture;
mod cache;
mod caller;
mod cancellation;
mod command;
mod command_extensions;
mod command_kubectl;
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
mod error_docs;
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
mod limit_docs;
mod limits;
mod listing;
mod log;
mod observability;
mod paging;
mod readme;
mod records;
mod reuse;
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

/// One runtime for all tests, as in an embedder's process.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::builder().compiler(compiler()).build().expect("a runtime"));

/// Compiles in a child process of the `incluster` binary.
fn compiler() -> Compiler {
    Compiler::child(env!("CARGO_BIN_EXE_incluster")).arg("compile-child")
}

/// Loads an extension.
async fn load(component: &[u8], allowed: &[&str]) -> Extension {
    RUNTIME.extension("test", component, allowed).await.expect("an extension")
}

/// A tenant for the testbed, whose sandboxes do not have the token.
fn tenant(testbed: &Testbed) -> Tenant {
    tenant_at(&testbed.server.url(), testbed)
}

/// A tenant for the testbed by another URL. Each request is sent once; `faults.rs` tests retries.
fn tenant_at(url: &str, testbed: &Testbed) -> Tenant {
    let server = Server::parse(url).expect("a URL");
    let tenant = Tenant::builder(&RUNTIME, "test").server(server).service_account_dir(testbed.volume.path());
    tenant.policy(Policy::allow_all()).retry_policy(RetryPolicy::NEVER).build().expect("a tenant")
}

/// A tenant whose sandboxes have the token, to test how the guest itself handles it.
fn portable(testbed: &Testbed) -> Tenant {
    let server = Server::parse(&testbed.server.url()).expect("a URL");
    let tenant = Tenant::builder(&RUNTIME, "test").server(server).service_account_dir(testbed.volume.path());
    let tenant = tenant.policy(Policy::allow_all()).retry_policy(RetryPolicy::NEVER);
    tenant.token_access(TokenAccess::Portable).build().expect("a tenant")
}

async fn list_shop(tenant: &Tenant) -> Result<PodList, Kubernetes> {
    kubernetes(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await)
}

/// Unwraps the component's own answer.
fn kubernetes<T>(result: Result<T, Error>) -> Result<T, Kubernetes> {
    answer(result).map_err(|failure| failure.error)
}

/// Unwraps the component's own answer; a failure includes the number of attempts.
fn answer<T>(result: Result<T, Error>) -> Result<T, Failure> {
    match result {
        Ok(value) => Ok(value),
        Err(Error::Kubernetes(failure)) => Err(failure),
        Err(other) => panic!("the host failed: {other}"),
    }
}
