//! The program whose instructions `check.py` counts: `count SCENARIO TIMES [URL SERVICE-ACCOUNT-DIR]` runs a scenario TIMES times.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod decoder;

use decoder::Decoder;
use incluster::bindings::{Plugin, PluginPre};
use incluster::policy::Policy;
use incluster::types::ListOptions;
use incluster::{Pool, Runtime, Server, Tenant};
use incluster_client::decode::{Encoding, ListDecoder};
use incluster_client::types::Pod;
use std::path::Path;
use wasmtime::Store;
use wasmtime::component::Linker;

/// How many sandboxes have room at the same time: one, because valgrind offers less address space.
const CAPACITY: u16 = 1;

/// How many pods are in a list to decode.
const PODS: usize = 50;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [scenario, times, server @ ..] = &args[..] else { panic!("usage: count SCENARIO TIMES [URL DIR]") };
    let times = times.parse().expect("how many times");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        match (&**scenario, server) {
            ("decode-protobuf-native", _) => decode_native(Encoding::Protobuf, times),
            ("decode-json-native", _) => decode_native(Encoding::Json, times),
            ("decode-protobuf-wasm", _) => decode_in_wasm(Encoding::Protobuf, times).await,
            ("decode-json-wasm", _) => decode_in_wasm(Encoding::Json, times).await,
            ("instantiate", [url, dir]) => instantiate(&tenant(url, Path::new(dir)), times, false).await,
            ("load-incluster-config", [url, dir]) => instantiate(&tenant(url, Path::new(dir)), times, true).await,
            ("list", [url, dir]) => list(&tenant(url, Path::new(dir)), times, 7).await,
            ("list-large", [url, dir]) => list(&tenant(url, Path::new(dir)), times, 500).await,
            _ => panic!("unknown scenario {scenario}, or wrong arguments for it"),
        }
    });
}

fn tenant(url: &str, dir: &Path) -> Tenant {
    let server = Server::parse(url).unwrap();
    let tenant =
        Tenant::builder(&Runtime::builder().pool(Pool { places: CAPACITY, ..Pool::default() }).build().unwrap(), "count")
            .server(server)
            .service_account_dir(dir);
    tenant.policy(Policy::allow_all()).build().unwrap()
}

fn decode_native(encoding: Encoding, times: u32) {
    let body = decoder::body(encoding, PODS);
    for _ in 0..times {
        let mut decoder = ListDecoder::<Pod>::new(encoding);
        decoder.push(&body).expect("a list");
        assert_eq!(decoder.finish().expect("a list").items.len(), PODS);
    }
}

async fn decode_in_wasm(encoding: Encoding, times: u32) {
    let runtime = Runtime::builder().pool(Pool { places: CAPACITY, ..Pool::default() }).build().unwrap();
    let mut decoder = Decoder::new(&runtime, encoding, &decoder::body(encoding, PODS)).await.unwrap();
    assert_eq!(decoder.decode(times).await.unwrap(), PODS as u32);
}

async fn instantiate(tenant: &Tenant, times: u32, load: bool) {
    let runtime = tenant.runtime();
    let mut linker = Linker::new(runtime.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let plugin = PluginPre::new(linker.instantiate_pre(&runtime.plugin().unwrap()).unwrap()).unwrap();
    for _ in 0..times {
        let mut store = Store::new(runtime.engine(), tenant.ctx().unwrap().build());
        incluster::limit(&mut store);
        let plugin: Plugin = plugin.instantiate_async(&mut store).await.unwrap();
        if load {
            plugin.incluster_kubernetes_client().call_load_incluster_config(&mut store).await.unwrap().expect("a config");
        }
    }
}

async fn list(tenant: &Tenant, times: u32, pods: usize) {
    for _ in 0..times {
        assert_eq!(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.expect("pods").items.len(), pods);
    }
}
