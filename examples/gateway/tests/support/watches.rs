//! Tests with an API server whose watches misbehave, or that is gone.

use crate::support::Cluster;
use crate::{start, until};
use testbed::{Answer, Testbed};

/// All watches are of one tenant, and each is a new client.
#[tokio::test]
async fn an_api_server_that_ends_watches_as_it_should_not() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    cluster.store.end_initial_events(false);
    let (_gateway, browser, url) = start(&cluster.write("odd", &cluster.route("odd", "host: 127.0.0.1"))).await;
    until(&browser, &url, |_, body| body.starts_with("a ")).await;
    cluster.store.fail_next_watches(3, Answer::new(410, "gone"));
    cluster.store.drop_watches();
    cluster.store.delete("a");
    cluster.add("b").await;
    until(&browser, &url, |_, body| body.starts_with("b ")).await;
}

#[tokio::test]
async fn what_was_known_serves_while_the_api_server_is_gone() {
    let mut cluster = Cluster::start().await;
    cluster.add("a").await;
    let (_gateway, browser, url) = start(&cluster.write("gone", &cluster.route("gone", "extension: sticky.wasm"))).await;
    assert_eq!(browser.get(&url).await.0, 200);
    let other = Testbed::start().await;
    drop(std::mem::replace(&mut cluster.testbed.server, other.server));
    for _ in 0..5 {
        let (status, body) = browser.get(&url).await;
        assert!(status == 200 && body.starts_with("a "), "{body}");
    }
}
