//! The decoding guest in a sandbox.

use incluster::policy::Policy;
use incluster::types::Pod;
use incluster::{Ctx, Runtime, Server, Tenant};
use incluster_client::decode::Encoding;
use testbed::{PodStore, Request};
use wasmtime::Store;
use wasmtime::component::{Component, Linker, TypedFunc};

/// A list of this many pods, as the API server would send it.
pub fn body(encoding: Encoding, pods: usize) -> Vec<u8> {
    let accept = match encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        Encoding::Json => "application/json",
    };
    let request = Request::get("/api/v1/namespaces/shop/pods").with("accept", accept);
    let request = request.with("authorization", &format!("Bearer {}", testbed::TOKEN));
    PodStore::with_pods(pods).answer(&request).body.to_vec()
}

pub struct Decoder {
    store: Store<Ctx>,
    decode: TypedFunc<(u32,), (u32,)>,
    hand_over: TypedFunc<(), (Vec<Pod>,)>,
}

impl Decoder {
    /// Creates a decoder with a body to decode.
    pub async fn new(runtime: &Runtime, encoding: Encoding, body: &[u8]) -> wasmtime::Result<Decoder> {
        let component = Component::new(runtime.engine(), extensions::DECODE)?;
        let mut linker = Linker::new(runtime.engine());
        incluster::add_to_linker(&mut linker)?;
        // The guest imports the interface only for its types.
        linker.instance("incluster:kubernetes/types@0.1.0")?;
        let tenant = Tenant::builder(runtime, "bench").server(Server::parse("https://127.0.0.1")?);
        let tenant = tenant.policy(Policy::deny_all()).build()?;
        let mut store = Store::new(runtime.engine(), tenant.ctx()?.build());
        incluster::limit(&mut store);
        // Room for thousands of pods, which is more than extensions may hand over.
        store.set_hostcall_fuel(1 << 30);
        let instance = linker.instantiate_async(&mut store, &component).await?;
        let hold = instance.get_typed_func::<(bool, &[u8]), ()>(&mut store, "hold")?;
        hold.call_async(&mut store, (encoding == Encoding::Protobuf, body)).await?;
        let decode = instance.get_typed_func(&mut store, "decode")?;
        let hand_over = instance.get_typed_func(&mut store, "hand-over")?;
        Ok(Decoder { store, decode, hand_over })
    }

    /// Decodes the body `times` times. Returns the number of its pods.
    pub async fn decode(&mut self, times: u32) -> wasmtime::Result<u32> {
        Ok(self.decode.call_async(&mut self.store, (times,)).await?.0)
    }

    /// Decodes the body, and hands over the pods.
    #[allow(dead_code, reason = "only one benchmark uses it")]
    pub async fn hand_over(&mut self) -> wasmtime::Result<Vec<Pod>> {
        Ok(self.hand_over.call_async(&mut self.store, ()).await?.0)
    }
}
