//! Rows of the fault matrix that are this host's alone: HTTP/2, and a watch whose pauses may be shorter than what its client
//! takes for a good connection's life.

use crate::faults::{Call, half_a_list, lost, passes, passes_for, timeout};
use testbed::Fault;

#[tokio::test]
async fn http_2_goaway() {
    passes(Fault::GoAway, lost).await;
}

#[tokio::test]
async fn http_2_refused_stream() {
    passes(Fault::RefusedStream, lost).await;
}

#[tokio::test]
async fn http_2_stream_reset_in_the_body() {
    // For watches, `watching.rs` cuts the stream everywhere.
    passes_for(&[Call::List, Call::Page], Fault::StreamReset, lost).await;
}

#[tokio::test]
async fn half_a_watch_then_nothing() {
    passes_for(&[Call::Watch], half_a_list(), timeout).await;
}
