//! Measures the cost of the sandbox's boundary: a call, pods that are handed over, a request through the door. `./justw bench-micro`
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(missing_docs, reason = "criterion's macros")]

mod decoder;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decoder::Decoder;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use incluster::bindings::{Plugin, PluginPre};
use incluster::policy::Policy;
use incluster::{Reuse, Runtime, Server, Tenant, TenantLimits};
use incluster_client::decode::Encoding;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::time::Duration;
use testbed::{Answer, Request, Testbed};
use wasmtime::Store;
use wasmtime::component::Linker;

fn tenant(runtime: &Runtime, testbed: &Testbed) -> Tenant {
    let server = Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(runtime, "bench").server(server).service_account_dir(testbed.volume.path());
    tenant.policy(Policy::allow_all()).build().unwrap()
}

/// Measures a call that does nothing, in an existing sandbox.
fn call(c: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let testbed = tokio.block_on(Testbed::start());
    let runtime = Runtime::new().unwrap();
    let tenant = tenant(&runtime, &testbed);
    let mut linker = Linker::new(runtime.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let plugin = PluginPre::new(linker.instantiate_pre(&runtime.plugin().unwrap()).unwrap()).unwrap();
    let mut store = Store::new(runtime.engine(), tenant.ctx().unwrap().build());
    incluster::limit(&mut store);
    let plugin: Plugin = tokio.block_on(plugin.instantiate_async(&mut store)).unwrap();
    let client = plugin.incluster_kubernetes_client();
    let config = tokio.block_on(client.call_load_incluster_config(&mut store)).unwrap().unwrap();
    c.bench_function("call", |b| {
        b.iter(|| tokio.block_on(client.config().call_server(&mut store, config)).unwrap());
    });
}

/// Measures pods that the guest decodes and hands over to the host, compared with only decoding them.
fn hand_over(c: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = Runtime::new().unwrap();
    for pods in [1, 100, 5_000] {
        let body = decoder::body(Encoding::Protobuf, pods);
        let mut decoder = tokio.block_on(Decoder::new(&runtime, Encoding::Protobuf, &body)).unwrap();
        let mut group = c.benchmark_group(format!("{pods} pods"));
        group.throughput(Throughput::Elements(pods as u64));
        group.bench_function("decoded", |b| b.iter(|| tokio.block_on(decoder.decode(1)).unwrap()));
        group.bench_function("decoded and handed over", |b| {
            b.iter(|| assert_eq!(tokio.block_on(decoder.hand_over()).unwrap().len(), pods));
        });
    }
}

/// Measures a small request in an existing sandbox, compared with a client without a sandbox.
fn request(c: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let answer = |_: &Request| Answer::new(200, "{}").header("content-type", "application/json");
    let testbed = tokio.block_on(Testbed::serving(answer));
    let runtime = Runtime::new().unwrap();
    let reuse = Reuse { kept: 1, calls: u32::MAX, idle_time: Duration::from_secs(60), ..Reuse::default() };
    let limits = TenantLimits { requests_per_second: u32::MAX, ..TenantLimits::default() };
    let tenant = tenant(&runtime, &testbed).with_reuse(reuse).with_limits(limits).unwrap();
    let mut group = c.benchmark_group("small request");
    group.bench_function("sandbox", |b| b.iter(|| tokio.block_on(tenant.get_json("/api/v1/nodes")).unwrap()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(testbed.ca.pem().as_bytes()).unwrap()).unwrap();
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2().build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build(https);
    let authorization = format!("Bearer {}", testbed::TOKEN);
    let get = async || {
        let request = http::Request::get(format!("{}/api/v1/nodes", testbed.server.url()));
        let request = request.header("authorization", &authorization).header("accept", "application/json");
        let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    group.bench_function("hyper alone", |b| b.iter(|| tokio.block_on(get())));
}

criterion_group!(benches, call, hand_over, request);
criterion_main!(benches);
