//! One API server and one identity, and the calls that an embedder makes with them.

use crate::bindings::{Plugin, PluginPre};
use crate::ctx::{Ctx, SERVICE_ACCOUNT_DIR, ended, limit};
use crate::egress::Egress;
use crate::session::{PodPages, PodWatch, Sandbox};
use crate::types::{ListOptions, PagingOptions, PodList, RetryPolicy, WatchOptions};
use crate::{Error, Limits, Permit, Runtime, Server, add_to_linker};
use std::path::PathBuf;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre, Linker, ResourceAny};

/// An API server, and the service account to talk to it with. Clones share the pool of connections.
///
/// Each call runs in a sandbox of its own, which ends with the call. A call that is dropped frees it, and its connection, at
/// once.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) runtime: Runtime,
    pub(crate) server: Server,
    pub(crate) service_account_dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) egress: Egress,
    retry_policy: RetryPolicy,
    plugin: PluginPre<Ctx>,
}

/// In the service account's folder: the CAs that the API server's certificate may be issued by.
const CA_FILE: &str = "ca.crt";

impl Cluster {
    /// The cluster of the pod that this process runs in, with a [`Runtime`] of its own.
    pub fn in_cluster() -> Result<Cluster, Error> {
        Cluster::new(&Runtime::new()?, Server::from_environment()?, SERVICE_ACCOUNT_DIR.into())
    }

    /// A cluster by its API server and a folder with the files `token`, `ca.crt` and `namespace`. The folder is looked at
    /// when a call is made.
    pub fn new(runtime: &Runtime, server: Server, service_account_dir: PathBuf) -> Result<Cluster, Error> {
        let limits = Limits::default();
        let egress = Egress::new(server.clone(), service_account_dir.join(CA_FILE), limits.clone());
        let plugin = PluginPre::new(pre_instantiate(runtime, &runtime.plugin()?)?).map_err(Error::Runtime)?;
        Ok(Cluster {
            runtime: runtime.clone(),
            server,
            service_account_dir,
            limits,
            egress,
            retry_policy: RetryPolicy::DEFAULT,
            plugin,
        })
    }

    /// The same cluster with other limits, and connections of its own.
    pub fn with_limits(self, limits: Limits) -> Cluster {
        let egress = Egress::new(self.server.clone(), self.service_account_dir.join(CA_FILE), limits.clone());
        Cluster { limits, egress, ..self }
    }

    /// The same cluster, whose calls are tried so often, and for so long: `config.set-retry-policy`.
    pub fn with_retry_policy(self, retry_policy: RetryPolicy) -> Cluster {
        Cluster { retry_policy, ..self }
    }

    /// Where the API server is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What one call may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How often, and for how long, calls are tried.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.retry_policy
    }

    /// Lists the pods of a namespace in one answer: `client.list-namespaced-pods`.
    pub async fn list_namespaced_pods(&self, namespace: &str, options: &ListOptions) -> Result<PodList, Error> {
        self.call(async |client, mut store, config| {
            client.call_list_namespaced_pods(&mut store, config, namespace, options).await
        })
        .await
    }

    /// Gets an API path as JSON text: `client.get-json`.
    pub async fn get_json(&self, path_and_query: &str) -> Result<Vec<u8>, Error> {
        self.call(async |client, mut store, config| client.call_get_json(&mut store, config, path_and_query).await).await
    }

    /// The pod's own namespace, from the service account's folder: `config.namespace`.
    pub async fn namespace(&self) -> Result<Option<String>, Error> {
        self.call(async |client, mut store, config| Ok(Ok(client.config().call_namespace(&mut store, config).await?))).await
    }

    /// Begins a list that comes page by page: `client.page-namespaced-pods`. `options.limit` is the size of a page, 500 by
    /// default. It holds one of the runtime's sandboxes until it is dropped.
    pub async fn page_namespaced_pods(
        &self,
        namespace: &str,
        options: &ListOptions,
        paging: &PagingOptions,
    ) -> Result<PodPages, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_page_namespaced_pods(&mut store, config, namespace, options, *paging).await
        };
        Sandbox::open(self, open).await.map(PodPages::new)
    }

    /// Begins a watch: `client.watch-namespaced-pods`. It holds one of the runtime's sandboxes until it is dropped.
    pub async fn watch_namespaced_pods(&self, namespace: &str, options: &WatchOptions) -> Result<PodWatch, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_watch_namespaced_pods(&mut store, config, namespace, options).await
        };
        Sandbox::open(self, open).await.map(PodWatch::new)
    }

    /// Makes one call in a fresh sandbox, which ends with it.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> wasmtime::Result<Result<T, crate::types::Error>>,
    ) -> Result<T, Error> {
        self.run(call).await.map(|(_, answer, ..)| answer)
    }

    /// Loads the configuration in a fresh sandbox, and makes one call with it. The permit is to be dropped last.
    pub(crate) async fn run<T>(
        &self,
        call: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> wasmtime::Result<Result<T, crate::types::Error>>,
    ) -> Result<(Plugin, T, Store<Ctx>, Permit), Error> {
        let run = async {
            let permit = self.runtime.admit().await;
            let mut store = self.store(Ctx::builder(self).build()?);
            let answer: wasmtime::Result<_> = async {
                let plugin = self.plugin.instantiate_async(&mut store).await?;
                let client = plugin.incluster_kubernetes_client();
                let config = match client.call_load_incluster_config(&mut store).await? {
                    Ok(config) => config,
                    Err(error) => return Ok(Err(crate::types::Error::Config(error))),
                };
                client.config().call_set_retry_policy(&mut store, config, self.retry_policy).await?;
                let answer = call(client, &mut store, config).await?;
                Ok(answer.map(|answer| (plugin, answer)))
            }
            .await;
            let (plugin, answer) = answer.map_err(|trap| ended(store.data_mut(), trap))?.map_err(Error::Kubernetes)?;
            Ok((plugin, answer, store, permit))
        };
        self.limits.run(run).await?
    }

    pub(crate) fn store(&self, ctx: Ctx) -> Store<Ctx> {
        let mut store = Store::new(self.runtime.engine(), ctx);
        limit(&mut store);
        store
    }
}

type Client = crate::bindings::exports::incluster::kubernetes::client::Guest;

pub(crate) fn pre_instantiate(runtime: &Runtime, component: &Component) -> Result<InstancePre<Ctx>, Error> {
    let mut linker = Linker::new(runtime.engine());
    add_to_linker(&mut linker).and_then(|()| linker.instantiate_pre(component)).map_err(Error::Runtime)
}
