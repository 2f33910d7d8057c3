//! Measures a call into an extension in a fresh and in a warm sandbox, and the memory of a warm one: `./justw bench-calls FILE…`, with pickers like
//! those in `examples/extensions`.

use bindings::example::gateway::ready_pods;
use bindings::exports::example::gateway::upstream::Request;
use incluster::policy::Policy;
use incluster::{Compiler, Ctx, Extension, Reuse, Runtime, Sandbox, Sandboxes, Server, Tenant, TenantLimits, View};
use std::fs;
use std::time::{Duration, Instant};
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};

mod bindings {
    #![allow(missing_docs, reason = "gateway.wit has them")]
    wasmtime::component::bindgen!({ path: "../../examples/gateway/wit", world: "picker", exports: { default: async } });
}

type Failure = Box<dyn std::error::Error>;

/// The number of calls to take the median of.
const CALLS: usize = 2000;

/// The number of warm sandboxes over which their memory is averaged.
const WARM: usize = 16;

/// How many pods there are to pick from. Without pods, a picker refuses, so that little is passed in the call.
const PODS: [usize; 2] = [0, 10];

struct State {
    ctx: Ctx,
    pods: usize,
}

impl View for State {
    fn incluster(&mut self) -> &mut Ctx {
        &mut self.ctx
    }
}

impl ready_pods::Host for State {
    fn generation(&mut self) -> u64 {
        1
    }

    fn list(&mut self) -> Vec<ready_pods::Pod> {
        let pod = |pod: usize| ready_pods::Pod { name: format!("web-{pod}"), ip: "10.0.0.7".into(), node_name: None };
        (0..self.pods).map(pod).collect()
    }
}

type Pickers = Sandboxes<State, bindings::Picker>;

fn pickers(runtime: &Runtime, extension: &Extension, pods: usize, reuse: Reuse) -> Result<Pickers, Failure> {
    let limits = TenantLimits { requests_per_second: u32::MAX, ..TenantLimits::default() };
    let tenant = Tenant::builder(runtime, "bench").server(Server::parse("https://127.0.0.1:6443")?);
    let tenant = tenant.policy(Policy::deny_all()).limits(limits).reuse(reuse).build()?;
    let mut linker = Linker::new(runtime.engine());
    incluster::add_to_linker(&mut linker)?;
    ready_pods::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(Sandboxes::new(
        &tenant,
        extension.name(),
        linker.instantiate_pre(extension.component())?,
        move |ctx| State { ctx: ctx.build(), pods },
        bindings::PickerIndices::new,
        |indices, store, instance| indices.load(store, instance),
    )?)
}

async fn pick(picker: &bindings::Picker, mut store: &mut Store<State>) -> wasmtime::Result<()> {
    let request = Request {
        method: "GET".into(),
        authority: "shop.example.com".into(),
        path_and_query: "/cart?page=2".into(),
        headers: vec![("user-agent".into(), b"curl/8.5.0".to_vec()), ("cookie".into(), b"session=7".to_vec())],
        client: "10.0.0.1".into(),
    };
    // The result is a pod or a refusal.
    picker.example_gateway_upstream().call_pick(&mut store, &request).await.map(drop)
}

/// Measures calls. Returns the median and the 99th percentile of their times.
async fn times(pickers: &Pickers) -> Result<(Duration, Duration), Failure> {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begun = Instant::now();
        pickers.call(pick).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok((times[CALLS / 2], times[CALLS * 99 / 100]))
}

/// The private resident memory of this process, in bytes.
fn private() -> Result<u64, Failure> {
    let smaps = fs::read_to_string("/proc/self/smaps_rollup")?;
    let fields = smaps.lines().filter_map(|line| line.strip_prefix("Private_"));
    let kilobytes = fields.filter_map(|field| field.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kilobytes.sum::<u64>() * 1024)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let compiler = Compiler::child(env!("CARGO_BIN_EXE_incluster")).arg("compile-child");
    let cache = tempfile::tempdir()?;
    let runtime = Runtime::builder().compiler(compiler).cache(cache.path()).build()?;
    let files: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if files.is_empty() {
        return Err("usage: calls FILE…".into());
    }
    for file in files {
        let extension = runtime.extension("bench", &fs::read(&file)?, &["example:gateway/ready-pods"]).await?;
        for pods in PODS {
            let (fresh, fresh_p99) = times(&pickers(&runtime, &extension, pods, Reuse::default())?).await?;
            let reuse = Reuse { kept: 1, calls: u32::MAX, ..Reuse::default() };
            let (warm, warm_p99) = times(&pickers(&runtime, &extension, pods, reuse)?).await?;
            println!("{file}, {pods} pods: fresh {fresh:.1?} (p99 {fresh_p99:.1?}), warm {warm:.1?} (p99 {warm_p99:.1?})");
        }
        let all = pickers(&runtime, &extension, PODS[1], Reuse::default())?;
        let before = private()?;
        let mut sandboxes: Vec<Sandbox<_, _>> = Vec::new();
        for _ in 0..WARM {
            let mut sandbox = all.open().await?;
            sandbox.run(pick).await?;
            sandboxes.push(sandbox);
        }
        let each = private()?.saturating_sub(before) / WARM as u64;
        drop(sandboxes);
        let left = private()?.saturating_sub(before);
        println!("{file}: a warm sandbox {:.2} MB, and {:.1} MB left after {WARM}", each as f64 / 1e6, left as f64 / 1e6);
    }
    Ok(())
}
