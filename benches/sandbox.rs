//! Measures the cost of a sandbox, and of a small list in one: `./justw bench-micro`.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, criterion_group, criterion_main};
use incluster::bindings::PluginPre;
use incluster::policy::Policy;
use incluster::types::ListOptions;
use incluster::{Runtime, Server, Tenant, TenantLimits};
use testbed::Testbed;
use wasmtime::Store;
use wasmtime::component::Linker;

fn sandbox(c: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let testbed = tokio.block_on(Testbed::start());
    let runtime = Runtime::new().unwrap();
    let server = Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(&runtime, "bench").server(server).service_account_dir(testbed.volume.path());
    let limits = TenantLimits { requests_per_second: u32::MAX, ..TenantLimits::default() };
    let tenant = tenant.policy(Policy::allow_all()).limits(limits).build().unwrap();
    let mut linker = Linker::new(runtime.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let plugin = PluginPre::new(linker.instantiate_pre(&runtime.plugin().unwrap()).unwrap()).unwrap();

    let instantiate = async || {
        let mut store = Store::new(runtime.engine(), tenant.ctx().unwrap().build());
        incluster::limit(&mut store);
        let plugin = plugin.instantiate_async(&mut store).await.unwrap();
        (plugin, store)
    };
    c.bench_function("store + instance", |b| b.iter(|| tokio.block_on(instantiate())));
    c.bench_function("store + instance + load-incluster-config", |b| {
        b.iter(|| {
            tokio.block_on(async {
                let (plugin, mut store) = instantiate().await;
                plugin.incluster_kubernetes_client().call_load_incluster_config(&mut store).await.unwrap().expect("a config")
            })
        });
    });
    c.bench_function("list of 7 pods, in a sandbox of its own", |b| {
        b.iter(|| tokio.block_on(tenant.list_namespaced_pods("shop", &ListOptions::ALL)).expect("pods"));
    });
    c.bench_function("runtime + cluster", |b| {
        b.iter(|| {
            let runtime = Runtime::new().unwrap();
            Tenant::builder(&runtime, "bench").server(tenant.server().clone()).build().unwrap()
        });
    });
}

criterion_group!(benches, sandbox);
criterion_main!(benches);
