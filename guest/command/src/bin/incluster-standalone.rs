//! `incluster-standalone.wasm`: with its own TLS, which trusts ca.crt alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    incluster_command::run::<incluster_transport_sockets::Sockets>()
}
