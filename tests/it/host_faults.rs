//! Rows of the fault matrix that only this host has: HTTP/2, and a watch whose allowed pause is shorter than the time after which
//! the client counts a connection as good.

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
    // For watches, `watching.rs` cuts the stream at many places.
    passes_for(&LISTS, Fault::StreamReset, lost).await;
}

/// A truncated answer is never taken for a complete one, even when the stream ends with NO_ERROR.
#[tokio::test]
async fn http_2_answers_that_end_early() {
    let head = frame(1, 4, 1, b"\x88\x0f\x10\x10application/json");
    let half = frame(0, 0, 1, br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":["#);
    let reset = frame(3, 0, 1, &[0, 0, 0, 0]);
    let goes_away = frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]);
    for end in [reset, goes_away] {
        passes_for(&LISTS, Fault::Frames([&head[..], &half, &end].concat(), Vec::new()), lost).await;
    }
}

/// A request does not wait forever for the server's SETTINGS.
#[tokio::test]
async fn a_silent_http_2_server() {
    passes(Fault::SilentHttp2, timeout).await;
}

#[tokio::test]
async fn half_a_watch_then_nothing() {
    passes_for(&[Call::Watch, Call::JsonWatch], half_a_list(), timeout).await;
}

/// A flood of frames without content ends the connection: PING, SETTINGS, WINDOW_UPDATE, empty DATA, and unknown frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_frames_that_carry_nothing_end_the_connection() {
    // `:status: 200` from the static table, and a content type.
    let head = frame(1, 4, 1, b"\x88\x0f\x10\x10application/json");
    for (kind, payload) in [(6, 8), (4, 0), (8, 4), (0, 0), (0xbe, 0)] {
        let flood = frame(kind, 0, u8::from(kind == 0), &[0, 0, 0, 0, 0, 0, 0, 1][8 - payload..]);
        // DATA must follow a head; the other frames may also come first.
        for first in [head.clone(), Vec::new()].into_iter().take(if kind == 0 { 1 } else { 2 }) {
            let testbed = Testbed::faulty(Fault::Frames(first, flood.clone())).await;
            let error = Caller::at(&testbed.server.url(), &testbed).outcome(Call::List).await.unwrap_err();
            let Error::Transport(TransportError::HttpProtocol(why)) = &error else { panic!("{kind}: {error:?}") };
            // The library has its own limit for empty DATA.
            let says = if kind == 0 { "excessive load" } else { "more than 1000 HTTP/2 frames without content in a second" };
            assert!(why.contains(says), "{kind}: {why}");
        }
    }
}
