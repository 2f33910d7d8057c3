//! A small reverse proxy whose routes are decided by WebAssembly extensions: an example of embedding `incluster`.
//!
//! A route names an extension, which picks the upstream among the ready pods of a namespace. The host watches the pods; the
//! requests of a route share what it knows. Tenants and routes are in a file, which is read again when it changes.
//!
//! Everything but the proxy is in [`Engine`], for other front ends: `examples/envoy` is one.

mod config;
mod engine;
mod figures;
mod fixed;
mod front;
mod headers;
mod loading;
mod look;
mod picker;
mod picking;
mod pods;
mod program;
mod proxy;
mod routes;
mod status;
mod told;

pub use config::{Config, ConfigError, Listen, RouteConfig};
pub use engine::{Engine, Serving};
pub use picker::Request as Head;
pub use picking::{Failed, MOST_TRIES, Picked, count, host_of, pick_for};
pub use pods::{Generation, Health, PodEndpoint};
pub use program::{program, until_ended};
pub use routes::{Route, Routes};

use front::accept;
use incluster::Compiler;
use metrics_exporter_prometheus::PrometheusHandle;
use proxy::Upstreams;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running gateway.
pub struct Gateway {
    /// The address that accepts requests.
    pub address: SocketAddr,
    /// The address of the status page.
    pub status_address: SocketAddr,
    engine: Arc<Engine>,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// Starts a gateway with this configuration file: see [`Engine::start`].
    ///
    /// # Errors
    ///
    /// The file is not usable, or an address cannot be listened on.
    pub async fn start(
        file: &Path,
        compiler: Compiler,
        metrics: PrometheusHandle,
    ) -> Result<Gateway, Box<dyn Error + Send + Sync>> {
        let config = Config::read(file)?;
        let Listen::Tcp(listen) = config.listen else { return Err("listen: the gateway listens at IP:PORT".into()) };
        let listener = TcpListener::bind(listen).await.map_err(|e| format!("{listen}: {e}"))?;
        let engine = Arc::new(Engine::start(file, config, compiler, metrics).await?);
        let (address, status_address) = (listener.local_addr()?, engine.status_address);
        let (proxy, upstreams) = (engine.clone(), Upstreams::new());
        let serving = tokio::spawn(accept(listener, engine.serving(), move |client, request| {
            let (engine, upstreams) = (proxy.clone(), upstreams.clone());
            async move { upstreams.serve(&engine.routes(), client, request).await }
        }));
        Ok(Gateway { address, status_address, engine, serving })
    }

    /// Reads the file again: [`Engine::reload`].
    ///
    /// # Errors
    ///
    /// The file is refused, and everything but the policies stays as it was.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        self.engine.reload().await
    }

    /// Waits until no extension is being loaded any more: [`Engine::until_loaded`].
    pub async fn until_loaded(&self) {
        self.engine.until_loaded().await;
    }

    /// The engine, with the tenants, the routes and their current state.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes no more requests, and waits for those in progress, for at most 10 s. Then ends all extensions, watches and compile
    /// children that are left.
    pub async fn stop(self) {
        self.engine.begin_to_stop();
        let _ = self.serving.await;
        self.engine.stop().await;
    }
}
