//! What decoding a list costs a pod: the same code native and in the sandbox. `./justw bench`
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use incluster::policy::Policy;
use incluster::{Ctx, Runtime, Server, Tenant};
use incluster_client::decode::{Encoding, PodListDecoder};
use std::time::{Duration, Instant};
use testbed::{PodStore, Request};
use wasmtime::Store;
use wasmtime::component::Linker;

const PODS: usize = 500;

fn decode(c: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = PodStore::with_pods(PODS);
    let runtime = Runtime::new().unwrap();
    let extension = runtime.extension(extensions::DECODE, &["wasi:http/outgoing-handler"]).expect("a component");
    let mut linker = Linker::new(runtime.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let server = Server::parse("https://127.0.0.1").unwrap();
    let tenant = Tenant::builder(&runtime, "bench").server(server).policy(Policy::deny_all()).build().unwrap();

    for (name, encoding, accept) in
        [("protobuf", Encoding::Protobuf, "application/vnd.kubernetes.protobuf"), ("json", Encoding::Json, "application/json")]
    {
        let request = Request::get("/api/v1/namespaces/shop/pods").with("accept", accept);
        let request = request.with("authorization", &format!("Bearer {}", testbed::TOKEN));
        let body = store.answer(&request).body;
        let mut group = c.benchmark_group(format!("decode {name}, {} bytes a pod", body.len() / PODS));
        group.throughput(Throughput::Elements(PODS as u64));
        group.bench_function("native", |b| {
            b.iter(|| {
                let mut decoder = PodListDecoder::new(encoding);
                decoder.push(&body).expect("a list");
                assert_eq!(decoder.finish().expect("a list").items.len(), PODS);
            });
        });

        let mut sandbox = Store::new(runtime.engine(), Ctx::builder(&tenant).build().unwrap());
        incluster::limit(&mut sandbox);
        let instance = tokio.block_on(linker.instantiate_async(&mut sandbox, extension.component())).unwrap();
        let hold = instance.get_typed_func::<(bool, &[u8]), ()>(&mut sandbox, "hold").unwrap();
        let decode = instance.get_typed_func::<(u32,), (u32,)>(&mut sandbox, "decode").unwrap();
        tokio.block_on(hold.call_async(&mut sandbox, (encoding == Encoding::Protobuf, &body))).unwrap();
        group.bench_function("wasm", |b| {
            b.iter_custom(|times| {
                let mut in_sandbox = |times: u32| -> Duration {
                    let begun = Instant::now();
                    let pods = tokio.block_on(decode.call_async(&mut sandbox, (times,))).unwrap();
                    assert!(times == 0 || pods == (PODS as u32,));
                    begun.elapsed()
                };
                in_sandbox(u32::try_from(times).unwrap()).saturating_sub(in_sandbox(0))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
