//! A soak: many callers on one `Tenant` for minutes, while everything that can go wrong does. `just soak [SECONDS]`.
//!
//! No call may fail but for a reason that the contract gives, and neither memory nor file descriptors may grow. `SOAK_SEED`
//! repeats a run's faults.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod callers;
mod chaos;
mod figures;
mod gauge;
mod ledger;
mod memory;
mod paging;
mod swaps;
mod watching;

use callers::Callers;
use chaos::Chaos;
use figures::Figures;
use gauge::Gauge;
use incluster::policy::Policy;
use incluster::types::RetryPolicy;
use incluster::{CallLimits, Runtime, Server, Tenant};
use ledger::Ledger;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use testbed::{PodStore, Testbed};

/// How long the chaos lasts, when nobody says.
const SECONDS: u64 = 600;

/// How long a call may take: longer than the default, so that no call fails only because the machine is slow.
const DEADLINE: Duration = Duration::from_secs(300);

/// How often a call is tried: it gives up now and then, which is to be seen, too.
pub const ATTEMPTS: u32 = 6;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["memory"] => memory::compare().await,
        ["serve-pods", count, encoding] => memory::serve(count.parse().expect("a number"), encoding).await,
        ["list-pages", url, service_account_dir] => memory::list(url, service_account_dir).await,
        ["swaps"] => verdict(swaps::run().await),
        [] => soak(Duration::from_secs(SECONDS)).await,
        [seconds] => soak(Duration::from_secs(seconds.parse().expect("seconds"))).await,
        _ => panic!("usage: soak [SECONDS | swaps | memory]"),
    }
}

fn verdict(problems: Vec<String>) -> ExitCode {
    for problem in problems.iter().take(20) {
        println!("FAILED: {problem}");
    }
    match problems.len() {
        0 => println!("passed"),
        count => println!("{count} problems"),
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn soak(time: Duration) -> ExitCode {
    let mut problems = swaps::run().await;
    let seed =
        std::env::var("SOAK_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("SOAK_SEED: a number"));
    println!("chaos for {} s; SOAK_SEED={seed}", time.as_secs());

    let figures = Figures::install();
    let store = PodStore::with_pods(chaos::PODS);
    let testbed = Arc::new(Testbed::serving(store.handler()).await);
    let descriptors = gauge::descriptors();
    let tenant = tenant(&testbed);
    let ledger = Arc::new(Ledger::default());
    let callers = Callers::start(&tenant, &store, &ledger, seed);
    let gauge = Gauge::start(&testbed, figures);
    let chaos = Chaos::new(&testbed, &store, &ledger, seed).run(time).await;
    problems.extend(callers.stop(&store).await);
    let (gauge, figures) = gauge.stop().await;
    drop(tenant);
    problems.extend(gauge::all_closed(&testbed, descriptors).await);

    chaos.print();
    figures.print();
    ledger.print();
    gauge.print();
    problems.extend(gauge.growth());
    problems.extend(ledger.problems());
    verdict(problems)
}

/// The cluster that a testbed is, with a runtime of its own.
fn tenant(testbed: &Testbed) -> Tenant {
    let runtime = Runtime::new().expect("a runtime");
    let server = Server::parse(&testbed.server.url()).expect("a URL");
    let deadline = DEADLINE.as_millis().try_into().expect("a time");
    Tenant::builder(&runtime, "soak")
        .server(server)
        .service_account_dir(testbed.volume.path())
        .policy(Policy::allow_all())
        .build()
        .expect("a tenant")
        .with_limits(CallLimits { wall_time: DEADLINE, ..CallLimits::default() })
        .unwrap()
        .with_retry_policy(RetryPolicy { attempts: Some(ATTEMPTS), deadline })
}
