//! In-cluster Kubernetes access for WebAssembly plugins.
//!
//! This crate is the host: it runs the client component in a sandbox. The sandbox can read one folder, the service account's,
//! and has one door to the network: to the API server, over TLS that trusts only the cluster's CA.
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
//! use incluster::wasmtime::{Store, component::Linker};
//! use incluster::{Ctx, Runtime, Server, Tenant, View, bindings};
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
//! let component = runtime.plugin()?;
//!
//! // The store has a place in the pool; whatever runs in it is subject to the tenant's limits.
//! let mut store = tenant.store(|ctx| State { incluster: ctx.build() }).await?;
//! let load = async |mut store: &mut Store<State>| {
//!     let plugin = bindings::Plugin::instantiate_async(&mut store, &component, &linker).await?;
//!     let config = plugin.incluster_kubernetes_client().call_load_incluster_config(&mut store).await?;
//!     Ok((plugin, config))
//! };
//! let (plugin, config) = store.run(load).await?;
//! # Ok(())
//! # }
//! ```

pub mod bindings;
mod closing;
mod door;
mod error;
#[cfg(feature = "extensions")]
mod extension_error;
mod figures;
mod files;
pub mod input;
mod limits;
#[cfg(feature = "extensions")]
mod load_limits;
mod records;
mod sandbox;
mod tenant;

/// The types of Kubernetes objects, options and failures: the interface `types` of `wit/`.
pub use bindings::exports::incluster::kubernetes::types;

pub use door::issuing::{IssuedToken, TokenSource, TokenSourceError};
pub use door::policy;
pub use error::{Error, Trap};
#[cfg(feature = "extensions")]
pub use extension_error::ExtensionError;
pub use figures::describe_metrics;
pub use incluster_core::files::SERVICE_ACCOUNT_DIR;
pub use incluster_core::server::NotAServer;
pub use incluster_core::{ConfigError, Server};
pub use limits::{CallLimits, Limits, RequestLimits, SetLimits, TenantLimits};
#[cfg(feature = "extensions")]
pub use load_limits::{LoadLimit, LoadLimits};
pub use sandbox::ctx::{Ctx, CtxBuilder, View, limit};
pub use sandbox::linker::add_to_linker;
#[cfg(feature = "extensions")]
pub use sandbox::loader::{Access, Compiler, Count, Extension, Import, Inspection, compile_child};
pub use sandbox::pool::Pool;
pub use sandbox::room::Permit;
pub use sandbox::runtime::{COMMAND, PLUGIN, Runtime, RuntimeBuilder};
pub use tenant::Tenant;
pub use tenant::identity::{Identity, TokenRequest};
pub use tenant::lines::Lines;
pub use tenant::sandboxes::{Reuse, Sandbox, Sandboxes};
pub use tenant::sessions::{JsonPages, JsonWatch, PodPages, PodWatch};
pub use tenant::settings::{TenantBuilder, TokenAccess};
pub use tenant::store::TenantStore;
pub use tenant::stores::{Change, Changes, Freshness, JsonObject, JsonStore, ObjectStore, PodStore, Snapshot, StoreOptions};

/// The wasmtime crates that this crate is built with: an embedder needs the same versions.
pub use {wasmtime, wasmtime_wasi, wasmtime_wasi_http};

/// The WIT package `incluster:kubernetes`, which extensions are built against: the name and the text of each file.
pub const WIT: [(&str, &str); 3] = [
    ("client.wit", include_str!("../wit/client.wit")),
    ("types.wit", include_str!("../wit/types.wit")),
    ("worlds.wit", include_str!("../wit/worlds.wit")),
];

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Compiles the examples of the guide for embedders.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/embed.md")]
struct EmbedGuide;

/// Compiles the examples of the guide for extensions that are not trusted.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/untrusted.md")]
struct UntrustedGuide;

incluster_core::records!();

/// The current time.
fn now() -> incluster_core::credentials::Now {
    incluster_core::credentials::Now { instant: std::time::Instant::now(), wall: std::time::SystemTime::now() }
}
