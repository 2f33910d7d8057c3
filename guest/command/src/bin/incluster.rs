//! `incluster.wasm`: the host makes the connections, and trusts ca.crt.

use std::process::ExitCode;

fn main() -> ExitCode {
    incluster_command::run::<incluster_transport_http::Http>()
}
