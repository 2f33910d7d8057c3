//! Measures many tenants in one process: their memory, the cost of a denial, and good tenants beside hostile ones. `./justw bench-tenants`
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use incluster::policy::{Policy, Rule, Verb};
use incluster::types::{ListOptions, RetryPolicy};
use incluster::{
    CallLimits, Compiler, Ctx, Identity, Pool, Reuse, Runtime, Sandboxes, Server, Tenant, TenantBuilder, TenantLimits,
};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use testbed::{Answer, PodApi, TOKEN, Testbed};
use tokio::task::JoinSet;
use wasmtime::Store;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::{Command, CommandIndices};

const HOSTILE: [&str; 11] =
    ["spin", "allocate", "flood", "hold", "leak", "configurations", "strings", "recurse", "trap", "print", "read"];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo bench` passes `--bench`. Run as a test, this would take a minute and test nothing.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    // On a tokio worker, as in a server.
    tokio::spawn(denial()).await.unwrap();
    if args.iter().any(|arg| arg == "denial") {
        return;
    }
    let seconds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(60);
    policy();
    memory().await;
    identities().await;
    hostile(Duration::from_secs(seconds)).await;
}

fn builder(runtime: &Runtime, testbed: &Testbed, name: &str) -> TenantBuilder {
    let server = Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(runtime, name).server(server).service_account_dir(testbed.volume.path());
    tenant.policy(Policy::allow_all()).retry_policy(RetryPolicy::DEFAULT)
}

/// Measures a policy of 100 rules, of which the last permits the request.
fn policy() {
    let rule = |number: usize| Rule {
        verbs: vec![Verb::List, Verb::Watch],
        api_groups: vec!["".into()],
        resources: vec!["pods".into(), "services".into()],
        namespaces: vec![format!("namespace-{number}")],
        non_resource_urls: vec![],
    };
    let policy = Policy::new((0..100).map(rule).collect()).unwrap();
    for (what, path) in
        [("permits", "/api/v1/namespaces/namespace-99/pods?limit=500"), ("denies", "/api/v1/namespaces/other/pods?limit=500")]
    {
        const TIMES: u32 = 200_000;
        let begun = Instant::now();
        for _ in 0..TIMES {
            drop(black_box(policy.check(black_box(path))));
        }
        println!("a policy of 100 rules {what} in {:?}", begun.elapsed() / TIMES);
    }
}

/// Measures a denied call in a warm sandbox, compared with a call that does not reach the door.
async fn denial() {
    let (runtime, testbed) = (Runtime::new().unwrap(), Testbed::start().await);
    let tenant = builder(&runtime, &testbed, "denied").policy(Policy::deny_all());
    let limits = TenantLimits { requests_per_second: u32::MAX, request_burst: u32::MAX, ..TenantLimits::default() };
    let tenant = tenant
        .limits(limits)
        .reuse(Reuse { kept: 1, calls: u32::MAX, idle_time: Duration::from_secs(600), ..Reuse::default() })
        .build()
        .unwrap();
    const TIMES: usize = 20_000;
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..TIMES {
        let begun = Instant::now();
        tenant.namespace().await.unwrap();
        times[0].push(begun.elapsed());
        let begun = Instant::now();
        assert!(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.is_err());
        times[1].push(begun.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[TIMES / 2]
    };
    let [nothing, denied] = &mut times;
    println!("a denied list {:.1?} at the median, of which the call into the sandbox is {:.1?}", median(denied), median(nothing));
    assert_eq!(testbed.server.connections(), 0);
}

async fn memory() {
    let (runtime, testbed) =
        (Runtime::builder().pool(Pool { places: 1024, ..Pool::default() }).build().unwrap(), Testbed::start().await);
    let before = resident();
    let mut tenants = Vec::new();
    for number in 0..1000 {
        let tenant = builder(&runtime, &testbed, &format!("tenant-{number}"));
        let tenant = tenant
            .reuse(Reuse { kept: 1, calls: u32::MAX, idle_time: Duration::from_secs(600), ..Reuse::default() })
            .build()
            .unwrap();
        tenant.namespace().await.unwrap();
        tenants.push(tenant);
    }
    let warm = resident();
    for tenant in &tenants {
        tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.unwrap();
    }
    println!(
        "resident: {before} MB at first, {warm} MB with 1,000 tenants and a warm sandbox each, {} MB after each listed 7 pods, with \
         both ends of 1,000 TLS connections",
        resident()
    );
}

/// Measures the memory of tenants whose tokens are requested for service accounts of their own.
async fn identities() {
    let expires = humantime::format_rfc3339(SystemTime::now() + Duration::from_secs(3600));
    let issued = format!(r#"{{"status": {{"token": "{TOKEN}", "expirationTimestamp": "{expires}"}}}}"#);
    let testbed = Testbed::serving(move |request| match request.method.as_str() {
        "POST" => Answer::new(201, issued.clone()),
        _ => PodApi::answer(request),
    });
    let (runtime, testbed) = (Runtime::new().unwrap(), testbed.await);
    let before = resident();
    let account = |number: usize| {
        let identity = Identity::token_request("shop", &format!("account-{number}")).asked_by(testbed.volume.path());
        builder(&runtime, &testbed, &format!("tenant-{number}")).identity(identity).build().unwrap()
    };
    let tenants: Vec<_> = (0..1000).map(account).collect();
    let built = resident();
    for tenant in &tenants {
        tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.unwrap();
    }
    println!(
        "resident: {before} MB at first, {built} MB with 1,000 tenants by TokenRequest, {} MB after each has a token and listed 7 pods, with both \
         ends of 1,000 TLS connections",
        resident()
    );
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// Measures the lists of 20 good tenants: alone, then beside a hostile extension of each kind, then beside 20 of them.
async fn hostile(time: Duration) {
    let runtime = Runtime::builder().compiler(Compiler::in_process()).build().unwrap();
    let testbed = Testbed::start().await;
    let good: Vec<_> = (0..20).map(|number| builder(&runtime, &testbed, &format!("good-{number}")).build().unwrap()).collect();
    // Warm up: make connections and run the code once.
    lists(&good, time / 10).await;
    println!("20 good tenants alone: {}", lists(&good, time / 4).await);
    for mode in HOSTILE {
        let (lists, _) = beside(&runtime, &testbed, &good, &[mode], time / 10).await;
        println!("beside a hostile one ({mode}): {lists}");
    }
    let twenty: Vec<_> = HOSTILE.into_iter().cycle().take(20).collect();
    let (lists, ended) = beside(&runtime, &testbed, &good, &twenty, time).await;
    println!("beside 20 hostile ones for {time:?}: {lists}; {ended} hostile calls ended");
}

/// Measures the lists of good tenants beside hostile ones. Returns the results, and how many hostile calls ended.
async fn beside(
    runtime: &Runtime,
    testbed: &Testbed,
    good: &[Tenant],
    modes: &[&'static str],
    time: Duration,
) -> (String, usize) {
    let program = runtime.extension("tenants", extensions::PROGRAM, &[]).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicUsize::new(0));
    let mut hostile = JoinSet::new();
    for (number, mode) in modes.iter().enumerate() {
        let limits = CallLimits {
            memory: 32 << 20,
            cpu_time: Duration::from_millis(500),
            wall_time: Duration::from_secs(5),
            ..CallLimits::default()
        };
        let tenant = builder(runtime, testbed, &format!("hostile-{number}")).limits(limits).build().unwrap();
        let mut linker = Linker::<Ctx>::new(runtime.engine());
        incluster::add_to_linker(&mut linker).unwrap();
        let pre = linker.instantiate_pre(program.component()).unwrap();
        let args = ["extension", mode];
        let sandboxes = Sandboxes::new(
            &tenant,
            mode,
            pre,
            move |ctx| ctx.args(&args).build(),
            CommandIndices::new,
            |indices, store, instance| indices.load(store, instance),
        )
        .unwrap();
        let (over, ended) = (over.clone(), ended.clone());
        hostile.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let call = async |command: &Command, store: &mut Store<Ctx>| command.wasi_cli_run().call_run(store).await;
                drop(black_box(sandboxes.call(call).await));
                ended.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    let lists = lists(good, time).await;
    over.store(true, Ordering::Relaxed);
    hostile.shutdown().await;
    (lists, ended.load(Ordering::Relaxed))
}

async fn lists(tenants: &[Tenant], time: Duration) -> String {
    let until = Instant::now() + time;
    let mut callers = JoinSet::new();
    for tenant in tenants {
        let tenant = tenant.clone();
        callers.spawn(async move {
            let (mut times, mut failures) = (Vec::new(), Vec::new());
            while Instant::now() < until {
                let begun = Instant::now();
                match tenant.list_namespaced_pods("shop", &ListOptions::ALL).await {
                    Ok(list) => assert_eq!(list.items.len(), 7),
                    Err(error) => failures.push(error.to_string()),
                }
                times.push(begun.elapsed());
                // At a pace like that of a gateway's callers, not as fast as possible.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (times, failures)
        });
    }
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    while let Some(done) = callers.join_next().await {
        let (more, failed) = done.expect("no panic");
        times.extend(more);
        failures.extend(failed);
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100];
    let first = failures.first().cloned().unwrap_or_default();
    format!(
        "{} lists, {} failed {first}, median {:.1?}, p99 {:.1?}, max {:.1?}",
        times.len(),
        failures.len(),
        at(50),
        at(99),
        times[times.len() - 1]
    )
}
