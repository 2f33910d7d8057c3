//! A soak: many callers on one `Tenant` for minutes, while everything that can go wrong goes wrong. `just soak [SECONDS]`.
//!
//! It runs on a testbed with every fault that the testbed can produce, or on a real cluster whose components are restarted
//! (`just soak-cluster [SECONDS]`). A call may fail only for a reason that the contract gives, and neither memory nor file descriptors may
//! grow. `SOAK_SEED` repeats a run's faults.
#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod callers;
mod chaos;
mod cluster;
mod faults;
mod figures;
mod gauge;
mod ledger;
mod memory;
mod paging;
mod swaps;
mod watching;

use callers::{Bed, Callers, LAST_POD, number};
use chaos::Chaos;
use figures::Figures;
use gauge::{Gauge, Samples};
use incluster::policy::Policy;
use incluster::types::RetryPolicy;
use incluster::{CallLimits, Limits, RequestLimits, Runtime, Server, Tenant};
use ledger::Ledger;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use testbed::{Faults, PodStore, Testbed};

/// The default length of the chaos, in seconds.
const SECONDS: u64 = 600;

/// How long a call may take: longer than the default, so that no call fails only because the machine is slow.
const DEADLINE: Duration = Duration::from_secs(300);

/// Short limits for the parts of a request, so that a stalled one is soon given up.
const REQUEST: RequestLimits = RequestLimits {
    connect: Duration::from_millis(500),
    handshake: Duration::from_secs(1),
    first_byte: Duration::from_millis(500),
    between_bytes: Duration::from_millis(1500),
    watch_pause: Duration::from_millis(1500),
    ..RequestLimits::DEFAULT
};

/// How many times a call is tried: few enough that some calls give up, which must be tested as well.
const ATTEMPTS: u32 = 7;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["memory"] => memory::compare().await,
        ["serve-pods", count, encoding] => memory::serve(count.parse().expect("a number"), encoding).await,
        ["list-pages", url, service_account_dir] => memory::list(url, service_account_dir).await,
        ["cluster", seconds] => cluster::soak(Duration::from_secs(seconds.parse().expect("seconds"))).await,
        ["swaps"] => verdict(swaps::run().await),
        [] => soak(Duration::from_secs(SECONDS)).await,
        [seconds] => soak(Duration::from_secs(seconds.parse().expect("seconds"))).await,
        _ => panic!("usage: soak [SECONDS | cluster SECONDS | swaps | memory]"),
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
    let seed = seed();
    println!("chaos for {} s; SOAK_SEED={seed}", time.as_secs());

    let figures = Figures::install();
    let store = PodStore::with_pods(chaos::PODS);
    let faults = Faults::default();
    let testbed = Arc::new(Testbed::disturbed(&faults, store.handler()).await);
    let descriptors = gauge::descriptors();
    let tenant = tenant(&testbed);
    let ledger = Arc::new(Ledger::new(Some(ATTEMPTS)));
    let counting = store.clone();
    let bed = Bed {
        namespace: "shop",
        fewest: 100,
        pages_of: 10..80,
        version: Arc::new(move || Some(number(&counting.resource_version()))),
        lists: 6,
        pages: 5,
        watches: 6,
        gets: 3,
    };
    let callers = Callers::start(&tenant, &bed, &ledger, seed);
    let gauge = Gauge::start(Some(testbed.clone()), figures);
    let chaos = Chaos::new(&testbed, &store, &faults, &ledger, seed).run(time).await;
    store.add(LAST_POD);
    problems.extend(callers.stop(store.state()).await);
    let (gauge, figures) = gauge.stop().await;
    drop(tenant);
    problems.extend(gauge::all_closed(descriptors).await);

    chaos.print();
    problems.extend(chaos.missing(time));
    if time >= chaos::ALL && !figures.has_timeouts() {
        problems.push("no request timed out, although some answers stalled".into());
    }
    problems.extend(told(&figures, &ledger, &gauge));
    verdict(problems)
}

/// The seed of all random numbers: `SOAK_SEED`, or a random one.
fn seed() -> u64 {
    std::env::var("SOAK_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("SOAK_SEED: a number"))
}

/// Prints the results, and returns the problems in them.
fn told(figures: &Figures, ledger: &Ledger, gauge: &Samples) -> Vec<String> {
    figures.print();
    ledger.print();
    gauge.print();
    [gauge.growth(), ledger.problems()].concat()
}

/// A tenant for the testbed, with a runtime of its own.
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
        .with_limits(Limits {
            call: CallLimits { wall_time: DEADLINE, ..CallLimits::default() },
            request: REQUEST,
            ..Limits::default()
        })
        .unwrap()
        .with_retry_policy(RetryPolicy { attempts: Some(ATTEMPTS), deadline })
}
