//! A route's extension, in its sandboxes.

use crate::pods::Snapshot;
use bindings::example::gateway::ready_pods;
pub use bindings::exports::example::gateway::upstream::{Choice, Refusal, Request};
use incluster::{Ctx, Error, Extension, Lines, Sandboxes, Tenant, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

mod bindings {
    #![allow(missing_docs, reason = "wit/gateway.wit has them")]
    wasmtime::component::bindgen!({ path: "wit", world: "picker", exports: { default: async } });
}

/// What an extension may import, beyond what every extension may.
pub const ALLOWED: [&str; 2] = ["example:gateway/ready-pods", "wasi:config/store"];

/// The data of a sandbox's store.
struct State {
    ctx: Ctx,
    pods: Arc<Snapshot>,
    settings: Arc<WasiConfigVariables>,
}

impl View for State {
    fn incluster(&mut self) -> &mut Ctx {
        &mut self.ctx
    }
}

impl ready_pods::Host for State {
    fn generation(&mut self) -> u64 {
        self.pods.generation
    }

    fn list(&mut self) -> Vec<ready_pods::Pod> {
        let pod = |pod: &crate::pods::Pod| ready_pods::Pod {
            name: pod.name.clone(),
            ip: pod.ip.to_string(),
            node_name: pod.node_name.clone(),
        };
        self.pods.pods.iter().map(pod).collect()
    }
}

/// An extension that picks pods for a tenant.
pub struct Picker(Sandboxes<State, bindings::Picker>);

impl Picker {
    /// Links an extension, which reads these settings. An error names an import that nothing provides, or an export that is missing.
    pub fn new(tenant: &Tenant, extension: &Extension, settings: &BTreeMap<String, String>) -> Result<Picker, Error> {
        let mut linker = Linker::new(tenant.runtime().engine());
        incluster::add_to_linker(&mut linker).map_err(Error::Runtime)?;
        ready_pods::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state).map_err(Error::Runtime)?;
        wasmtime_wasi_config::add_to_linker(&mut linker, |state: &mut State| WasiConfig::new(&state.settings))
            .map_err(Error::Runtime)?;
        let pre = linker.instantiate_pre(extension.component()).map_err(|e| Error::not_linked(&e))?;
        let lines = Lines::to_tracing(tenant.name(), extension.name());
        let settings: Arc<WasiConfigVariables> = Arc::new(settings.iter().map(|(key, value)| (&**key, &**value)).collect());
        let state = move |ctx: incluster::CtxBuilder| State {
            ctx: ctx.stdout(lines.clone()).stderr(lines.clone()).build(),
            pods: Arc::default(),
            settings: settings.clone(),
        };
        let sandboxes =
            Sandboxes::new(tenant, extension.name(), pre, state, bindings::PickerIndices::new, |indices, store, instance| {
                indices.load(store, instance)
            })?;
        Ok(Picker(sandboxes))
    }

    /// Returns where a request goes, or why it is refused.
    pub async fn pick(&self, request: &Request, pods: &Arc<Snapshot>) -> Result<Result<Choice, Refusal>, Error> {
        let call = async |picker: &bindings::Picker, mut store: &mut Store<State>| {
            store.data_mut().pods = pods.clone();
            picker.example_gateway_upstream().call_pick(&mut store, request).await
        };
        self.0.call(call).await
    }
}
