//! Rows of the fault matrix that are this host's alone: HTTP/2, and a watch whose pauses may be shorter than what its client
//! takes for a good connection's life.

use crate::caller::Caller;
use crate::faults::{Call, LISTS, half_a_list, lost, passes, passes_for, timeout};
use crate::http_2::frame;
use incluster::types::{Error, TransportError};
use testbed::{Fault, Testbed};

#[tokio::test]
async fn http_2_goaway() {
    passes(Fault::GoAway, lost).await;
}

#[tokio::test]
async fn http_2_refused_stream() {
    passes(Fault::StreamRefused(7), lost).await;
}

#[tokio::test]
async fn http_2_stream_reset_in_the_body() {
    // For watches, `watching.rs` cuts the stream everywhere.
    passes_for(&LISTS, Fault::StreamReset, lost).await;
}

/// An answer that is cut is not taken for one that has ended, however gently it is cut.
#[tokio::test]
async fn http_2_answers_that_end_before_their_end() {
    let head = frame(1, 4, 1, b"\x88\x0f\x10\x10application/json");
    let half = frame(0, 0, 1, br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":["#);
    let reset = frame(3, 0, 1, &[0, 0, 0, 0]);
    let goes_away = frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
    for end in [reset, goes_away] {
        passes_for(&LISTS, Fault::Frames([&head[..], &half, &end].concat(), Vec::new()), lost).await;
    }
}

/// A request does not wait for SETTINGS that do not come.
#[tokio::test]
async fn a_server_of_http_2_that_says_nothing() {
    passes(Fault::SilentHttp2, timeout).await;
}

#[tokio::test]
async fn half_a_watch_then_nothing() {
    passes_for(&[Call::Watch, Call::JsonWatch], half_a_list(), timeout).await;
}

/// What carries nothing costs nobody anything for long: PING, SETTINGS, WINDOW_UPDATE, empty DATA, and what nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_frames_that_carry_nothing_end_the_connection() {
    // `:status: 200` of the static table, and a type.
    let head = frame(1, 4, 1, b"\x88\x0f\x10\x10application/json");
    for (kind, payload) in [(6, 8), (4, 0), (8, 4), (0, 0), (0xbe, 0)] {
        let flood = frame(kind, 0, u8::from(kind == 0), &[0, 0, 0, 0, 0, 0, 0, 1][8 - payload..]);
        // No DATA comes before a head.
        for first in [head.clone(), Vec::new()].into_iter().take(if kind == 0 { 1 } else { 2 }) {
            let testbed = Testbed::faulty(Fault::Frames(first, flood.clone())).await;
            let error = Caller::at(&testbed.server.url(), &testbed).outcome(Call::List).await.unwrap_err();
            let Error::Transport(TransportError::HttpProtocol(why)) = &error else { panic!("{kind}: {error:?}") };
            // The library has a limit of its own for empty DATA.
            let says = if kind == 0 { "excessive load" } else { "more than 1000 HTTP/2 frames without content in a second" };
            assert!(why.contains(says), "{kind}: {why}");
        }
    }
}
