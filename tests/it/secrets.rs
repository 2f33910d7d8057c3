//! The token is sent to the API server, and appears nowhere else.

use crate::{cluster, cluster_at};
use incluster::types::ListOptions;
use std::io::Write;
use std::sync::{Arc, Mutex};
use testbed::{Answer, TOKEN, Testbed};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

/// The parts of the token that would be of use to somebody.
fn has_secret(text: &str) -> bool {
    let signature = TOKEN.rsplit('.').next().unwrap();
    text.contains(signature) || text.contains(&TOKEN[..40]) || text.contains("Bearer ey")
}

/// Everything that can go right or wrong, with all of the process's logs at their loudest.
#[tokio::test]
async fn the_token_is_in_no_log_error_or_debug() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // The only test that sets one; others only add to what is searched.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let mut texts = Vec::new();
    let good = Testbed::start().await;
    let echo = Testbed::serving(|request| {
        let echo = request.header("authorization").unwrap_or_default().to_string();
        Answer::new(500, format!("you sent {}", echo.len()))
    })
    .await;
    for testbed in [&good, &echo] {
        for namespace in ["shop", "other", "../x"] {
            texts.push(format!("{:?}", cluster(testbed).list_namespaced_pods(namespace, &ListOptions::ALL).await.err()));
        }
        texts.push(format!("{:?}", cluster(testbed).get_json("/version").await));
        texts.push(format!("{:?}", cluster(testbed).get_json("/api/v1/nodes").await));
    }
    texts.push(format!("{:?}", cluster_at("https://127.0.0.1:1", &good).get_json("/api").await));
    good.volume.set("ca.crt", echo.ca.pem().as_bytes());
    texts.push(format!("{:?}", cluster(&good).get_json("/api").await));
    good.volume.set("token", format!("{TOKEN}\nsecond line").as_bytes());
    texts.push(format!("{:?}", cluster(&good).get_json("/api").await));
    good.volume.set("token", format!("{TOKEN}\u{0}").as_bytes());
    texts.push(format!("{:?}", cluster(&good).get_json("/api").await));

    for text in &texts {
        assert!(!has_secret(text), "{text}");
    }
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("hyper"), "the logs of the HTTP client are on");
    let line = log.lines().find(|line| has_secret(line));
    assert_eq!(line, None);
}
