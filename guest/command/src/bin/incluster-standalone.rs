//! `incluster-standalone.wasm`: with TLS of its own, that trusts ca.crt alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    incluster_command::run::<incluster_transport_sockets::Sockets>()
}
