//! Serves COUNT pods in the namespace `shop` until its input ends: `serve COUNT`. Prints the URL and the folder of a service
//! account.
#![expect(clippy::expect_used, reason = "a server that cannot start has failed")]

use std::io::Read as _;
use std::process::ExitCode;
use testbed::{PodStore, Testbed};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(count) = std::env::args().nth(1).and_then(|count| count.parse().ok()) else {
        eprintln!("Usage: serve COUNT\n\nServes COUNT pods in the namespace `shop`, until its input ends.");
        return ExitCode::from(2);
    };
    let store = PodStore::with_pods(count);
    let testbed = Testbed::serving(move |request| store.answer(request)).await;
    println!("{}\n{}", testbed.server.url(), testbed.volume.path().display());
    // The server runs on other threads, so that blocking here is fine.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the input");
    ExitCode::SUCCESS
}
