//! What an error tells an embedder.

use crate::{RUNTIME, list_shop, tenant};
use futures_util::FutureExt;
use incluster::policy::Policy;
use incluster::types::{ConfigError, Error as Kubernetes, Failure, ListOptions};
use incluster::{CallLimits, Error, Pool, Runtime, Server, Tenant};
use std::error::Error as _;
use std::time::Duration;
use testbed::{Answer, PodStore, Testbed};

async fn failed(tenant: &Tenant) -> Error {
    tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.unwrap_err()
}

#[tokio::test]
async fn passing_errors_are_retryable_and_lasting_ones_are_not() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = tenant(&testbed);
    for (status, is_retryable) in [(503, true), (429, true), (403, false), (500, true), (409, false)] {
        store.fail_next(1, Answer::new(status, "failing on purpose"));
        let error = failed(&tenant).await;
        assert_eq!((error.http_status(), error.is_retryable()), (Some(status), is_retryable), "{error}");
    }
    let denied = failed(&tenant.with_policy(Policy::deny_all())).await;
    assert_eq!((denied.http_status(), denied.is_retryable()), (None, false), "{denied}");
    testbed.server.stop().await;
    let lost = failed(&tenant).await;
    assert_eq!((lost.http_status(), lost.is_retryable()), (None, true), "{lost}");
}

#[test]
fn an_error_has_its_source() {
    let error = Error::Runtime(wasmtime::Error::msg("why"));
    assert_eq!(error.source().unwrap().to_string(), "why");
    // The text says everything about this error.
    assert!(Error::from(Server::parse("http://10.96.0.1").unwrap_err()).source().is_none());
}

/// An error names a file by its path in this process, not by its path in the sandbox.
#[tokio::test]
async fn a_file_is_called_by_its_real_path() {
    let testbed = Testbed::start().await;
    let token = testbed.volume.path().join("token").display().to_string();
    for (content, says) in [(&b""[..], "is empty"), (b"a\0b", "character")] {
        testbed.volume.set("token", content);
        for tenant in [tenant(&testbed), crate::portable(&testbed)] {
            let error = failed(&tenant).await;
            let text = error.to_string();
            assert!(matches!(error, Error::Kubernetes(Failure { error: Kubernetes::Config(_), .. })), "{text}");
            assert!(text.contains(&token) && text.contains(says), "{text}");
        }
    }
    testbed.volume.remove("token");
    let list = list_shop(&tenant(&testbed)).await;
    assert!(matches!(&list, Err(Kubernetes::Config(ConfigError::FileMissing(path))) if *path == token), "{list:?}");
}

#[tokio::test]
async fn a_full_runtime_is_an_error_of_its_own() {
    let testbed = Testbed::start().await;
    let runtime = Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).build().unwrap();
    let server = Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(&runtime, "test").server(server).service_account_dir(testbed.volume.path());
    let limits = CallLimits { wall_time: Duration::from_millis(200), ..CallLimits::default() };
    let tenant = tenant.policy(Policy::allow_all()).limits(limits).build().unwrap();
    let held = tenant.store(|ctx| ctx.build()).await.unwrap();
    let full = failed(&tenant).await;
    assert!(matches!(full, Error::Full(1)) && full.is_retryable(), "{full}");
    drop(held);
    assert_eq!(runtime.places(), 1);
}

#[test]
fn a_call_outside_tokio_is_an_error_that_says_so() {
    let tenant = Tenant::builder(&RUNTIME, "test").server(Server::parse("https://10.96.0.1").unwrap()).build().unwrap();
    let ended = tenant.list_namespaced_pods("shop", &ListOptions::ALL).now_or_never().unwrap();
    assert!(matches!(&ended, Err(error @ Error::NoTokio) if error.to_string().contains("#[tokio::main]")), "{ended:?}");
    assert!(matches!(tenant.store(|ctx| ctx.build()).now_or_never(), Some(Err(Error::NoTokio))));
}
