//! `just demo`: starts the testbed, and shows what the `incluster` binary does in a pod with its volume.
#![expect(clippy::expect_used, reason = "a demo that cannot go on has failed")]

use std::process::{Command, ExitCode};
use testbed::Testbed;

#[tokio::main]
async fn main() -> ExitCode {
    let binary = std::env::args().nth(1).expect("usage: demo PATH-OF-INCLUSTER");
    let testbed = Testbed::start().await;
    println!("started a throw-away API server at {} with a CA of its own", testbed.server.url());
    println!("laid out a service account as kubelet does: ..data, token, ca.crt, namespace");
    println!("(incluster is {binary} --server … --service-account-dir … here; in a pod, it needs neither)");
    for args in [&["config"][..], &["pods", "-n", "shop"]] {
        println!("\n$ incluster {}", args.join(" "));
        let status = Command::new(&binary)
            .arg("--server")
            .arg(testbed.server.url())
            .arg("--service-account-dir")
            .arg(testbed.volume.path())
            .args(args)
            .env_clear()
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    let requests = testbed.server.requests();
    println!("\nthe API server saw {} request, with the token and over TLS that trusts its CA alone:", requests.len());
    for request in &requests {
        println!("{} {}", request.method, request.path_and_query);
    }
    if requests.len() == 1 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
