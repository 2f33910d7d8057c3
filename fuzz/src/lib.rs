//! Fuzz targets for everything that incluster reads from elsewhere: one function for each target.
//!
//! Each function takes any bytes, must not panic, and asserts what is true for every input. `fuzz_targets/` passes them to libFuzzer;
//! `tests/corpus.rs` runs the files of `corpus/` through them, which needs neither a nightly compiler nor libFuzzer.

mod answers;
mod config;
mod decoding;
mod hostile_files;
mod peers;
mod pem;
mod permission;
mod request;

#[allow(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/extensions/src/hostile.rs"]
mod hostile;

// The host's modules that read input from others. The whole host, with its compiler, is too large to build for a fuzzer.
#[expect(dead_code, reason = "only the host reads files")]
#[path = "../../host/src/input.rs"]
mod input;
#[expect(dead_code, reason = "only the host reports what the flood was")]
#[path = "../../host/src/door/frames.rs"]
mod frames;
#[expect(dead_code, reason = "only the host checks headers")]
#[path = "../../host/src/door/guard.rs"]
mod guard;
#[expect(dead_code, reason = "only one function is used here, which parses durations")]
#[path = "../../host/src/limits.rs"]
mod limits;
#[allow(dead_code, reason = "the host uses all of it")]
#[path = "../../host/src/door/policy.rs"]
mod policy;
#[allow(dead_code, reason = "the host uses all of it")]
#[path = "../../host/src/extension_error.rs"]
mod extension_error;
#[allow(dead_code, reason = "the host uses all of it")]
#[path = "../../host/src/load_limits.rs"]
mod load_limits;
mod loader;

mod error {
    /// The host's errors that these modules return.
    #[derive(Debug)]
    #[expect(dead_code, reason = "nobody sets limits here")]
    pub(crate) enum Error {
        Limits { limit: &'static str, problem: String },
        LoadLimits { limit: &'static str, problem: String },
    }
}

pub use answers::{retry_after, status};
pub use config::{namespace_and_server, token};
pub use decoding::{json_list, protobuf_list, watch_json, watch_protobuf};
pub use hostile_files::loader;
pub use peers::{certificate, frames, guard};
pub use pem::pem;
pub use permission::{policy, request_info};
pub use request::request;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, with their names. The folders in `corpus/` have the same names.
pub const TARGETS: [(&str, Target); 16] = [
    ("certificate", certificate),
    ("frames", frames),
    ("guard", guard),
    ("json_list", json_list),
    ("loader", loader),
    ("namespace_and_server", namespace_and_server),
    ("pem", pem),
    ("policy", policy),
    ("protobuf_list", protobuf_list),
    ("request", request),
    ("request_info", request_info),
    ("retry_after", retry_after),
    ("status", status),
    ("token", token),
    ("watch_json", watch_json),
    ("watch_protobuf", watch_protobuf),
];

/// Splits an input at NULs into several texts. Missing texts are empty; the last text may contain NULs.
fn texts<const N: usize>(data: &[u8]) -> [String; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    [(); N].map(|()| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
