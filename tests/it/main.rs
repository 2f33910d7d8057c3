//! The real components in the real host, against the testbed.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod api_errors;
mod cancellation;
mod command;
mod command_streams;
mod components;
mod configuration;
mod embedding;
mod faults;
mod limits;
mod listing;
mod log;
mod observability;
mod paging;
mod rotation;
mod secrets;
mod tidy;
mod trust;
mod watching;

use incluster::types::{Error as Kubernetes, ListOptions, PodList, RetryPolicy};
use incluster::{Cluster, Error, Runtime, Server};
use std::sync::LazyLock;
use testbed::Testbed;

/// One engine for all tests, as in a process of an embedder's.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// The cluster that a testbed is.
fn cluster(testbed: &Testbed) -> Cluster {
    cluster_at(&testbed.server.url(), testbed)
}

/// The same, by another address. Each request is sent once: `retries.rs` and `faults.rs` show what becomes of it otherwise.
fn cluster_at(url: &str, testbed: &Testbed) -> Cluster {
    let server = Server::parse(url).expect("a URL");
    let cluster = Cluster::new(&RUNTIME, server, testbed.volume.path().into()).expect("a cluster");
    cluster.with_retry_policy(RetryPolicy::NEVER)
}

async fn list_shop(cluster: &Cluster) -> Result<PodList, Kubernetes> {
    kubernetes(cluster.list_namespaced_pods("shop", &ListOptions::ALL).await)
}

/// The component's own answer.
fn kubernetes<T>(result: Result<T, Error>) -> Result<T, Kubernetes> {
    match result {
        Ok(value) => Ok(value),
        Err(Error::Kubernetes(error)) => Err(error),
        Err(other) => panic!("the host failed: {other}"),
    }
}
