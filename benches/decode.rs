//! Measures the cost of decoding a list, per pod: the same code native and in the sandbox. `./justw bench-micro`
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(missing_docs, reason = "criterion's macros")]

mod decoder;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use decoder::Decoder;
use incluster::Runtime;
use incluster_client::decode::{Encoding, ListDecoder};
use incluster_client::types::Pod;
use std::time::{Duration, Instant};

const PODS: usize = 500;

fn decode(c: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = Runtime::new().unwrap();
    for (name, encoding) in [("protobuf", Encoding::Protobuf), ("json", Encoding::Json)] {
        let body = decoder::body(encoding, PODS);
        let mut group = c.benchmark_group(format!("decode {name}, {} bytes a pod", body.len() / PODS));
        group.throughput(Throughput::Elements(PODS as u64));
        group.bench_function("native", |b| {
            b.iter(|| {
                let mut decoder = ListDecoder::<Pod>::new(encoding);
                decoder.push(&body).expect("a list");
                assert_eq!(decoder.finish().expect("a list").items.len(), PODS);
            });
        });

        let mut decoder = tokio.block_on(Decoder::new(&runtime, encoding, &body)).unwrap();
        group.bench_function("wasm", |b| {
            b.iter_custom(|times| {
                let mut in_sandbox = |times: u32| -> Duration {
                    let begun = Instant::now();
                    let pods = tokio.block_on(decoder.decode(times)).unwrap();
                    assert!(times == 0 || pods == PODS as u32);
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
