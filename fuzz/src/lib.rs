//! What incluster reads from elsewhere, given anything: one function a fuzz target.
//!
//! Each takes any bytes, must not panic, and asserts what holds for every input. `fuzz_targets/` gives them to libFuzzer;
//! `tests/corpus.rs` runs the files of `corpus/` through them, which needs neither a nightly compiler nor libFuzzer.

mod answers;
mod config;
mod decoding;
mod pem;
mod request;
#[expect(dead_code, reason = "what it tells is for the host")]
#[path = "../../guest/client/src/transport/trust.rs"]
mod trust;

// Where that module looks for them.
use incluster_client::{files, types};

pub use answers::{retry_after, status};
pub use config::{namespace_and_server, token};
pub use decoding::{json_list, protobuf_list, watch_json, watch_protobuf};
pub use pem::pem;
pub use request::request;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, by their names, which are those of the folders in `corpus/`, too.
pub const TARGETS: [(&str, Target); 10] = [
    ("json_list", json_list),
    ("namespace_and_server", namespace_and_server),
    ("pem", pem),
    ("protobuf_list", protobuf_list),
    ("request", request),
    ("retry_after", retry_after),
    ("status", status),
    ("token", token),
    ("watch_json", watch_json),
    ("watch_protobuf", watch_protobuf),
];

/// An input of several texts, with NUL between them. What is missing is empty; the last one may have NULs.
fn texts<const N: usize>(data: &[u8]) -> [String; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    [(); N].map(|()| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
