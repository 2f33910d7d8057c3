//! In-cluster Kubernetes access for WebAssembly plugins.
//!
//! This crate is the host: it runs the client component in a sandbox that has one folder to read, the service account's, and
//! one door to the network, which leads to the API server over TLS that trusts the cluster's CA and no other.
//!
//! ```text
//!  your program          │ sandbox                         │ this crate                    │ network
//!  Tenant ──► call  ─────┼─► client component (wasm) ──────┼─► egress: policy, TLS, pool ──┼─► API server
//!                        │   token, requests, decoding     │   ca.crt, deadlines, limits   │
//! ```
//!
//! # One call
//!
//! ```no_run
//! # async fn list() -> Result<(), incluster::Error> {
//! use incluster::Tenant;
//! use incluster::types::ListOptions;
//!
//! let tenant = Tenant::in_cluster()?;
//! let options = ListOptions { label_selector: Some("app=web".into()), ..ListOptions::ALL };
//! for pod in tenant.list_namespaced_pods("default", &options).await?.items {
//!     println!("{} {:?}", pod.metadata.name, pod.status.pod_ips);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A linker and a store of your own
//!
//! ```no_run
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! use incluster::policy::Policy;
//! use incluster::{Ctx, Runtime, Server, Tenant, View, bindings};
//! use wasmtime::{Store, component::Linker};
//!
//! struct State {
//!     incluster: Ctx,
//!     // and whatever else your host functions need
//! }
//!
//! impl View for State {
//!     fn incluster(&mut self) -> &mut Ctx {
//!         &mut self.incluster
//!     }
//! }
//!
//! let runtime = Runtime::new()?;
//! let server = Server::parse("https://10.96.0.1")?;
//! let policy: Policy = serde_json::from_str(
//!     r#"{"rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["shop"]}]}"#,
//! )?;
//! let tenant = Tenant::builder(&runtime, "shop").server(server).policy(policy).build()?;
//!
//! let mut linker = Linker::<State>::new(runtime.engine());
//! incluster::add_to_linker(&mut linker)?;
//!
//! // Room in the pool, for as long as the store exists.
//! let _permit = runtime.admit().await;
//! let mut store = Store::new(runtime.engine(), State { incluster: Ctx::builder(&tenant).build()? });
//! incluster::limit(&mut store);
//! let plugin = bindings::Plugin::instantiate_async(&mut store, &runtime.plugin()?, &linker).await?;
//! let client = plugin.incluster_kubernetes_client();
//! let config = tenant.run(client.call_load_incluster_config(&mut store)).await??;
//! # Ok(())
//! # }
//! ```

pub mod bindings;
mod command;
mod compile;
mod ctx;
mod egress;
mod error;
mod files;
mod identity;
pub mod input;
mod limits;
mod linker;
#[cfg(feature = "extensions")]
mod loader;
mod output;
pub mod policy;
mod runtime;
mod sandboxes;
mod session;
mod tenant;
mod turns;
mod volume;

/// What Kubernetes objects, options and failures look like: the interface `types` of `wit/`.
pub use bindings::exports::incluster::kubernetes::types;
pub use ctx::{Ctx, CtxBuilder, View, limit};
pub use error::{Error, Trap};
pub use incluster_core::files::SERVICE_ACCOUNT_DIR;
pub use incluster_core::server::NotAServer;
pub use incluster_core::{ConfigError, Server};
pub use limits::Limits;
pub use linker::add_to_linker;
#[cfg(feature = "extensions")]
pub use loader::{Access, Compiler, Count, Extension, ExtensionError, Import, Inspection, LoadLimit, LoadLimits, compile_child};
pub use runtime::{COMMAND, PLUGIN, Permit, Runtime, RuntimeBuilder};
pub use sandboxes::{Instantiating, Reuse, Sandbox, Sandboxes};
pub use session::{PodPages, PodWatch};
pub use tenant::{Credentials, Tenant, TenantBuilder};

pub use wasmtime;

/// The README's examples are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

incluster_core::records!();

/// What time it is.
fn now() -> incluster_core::credentials::Now {
    incluster_core::credentials::Now { instant: std::time::Instant::now(), wall: std::time::SystemTime::now() }
}
