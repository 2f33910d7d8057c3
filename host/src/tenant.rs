//! One identity in one cluster, what it may do, and the calls that an embedder makes with it.

use crate::bindings::{Plugin, PluginPre};
use crate::ctx::Ctx;
use crate::identity::{Identity, Settings};
use crate::policy::Policy;
use crate::sandboxes::{Reuse, Sandbox, Sandboxes};
use crate::session::{PodPages, PodWatch};
use crate::types::{ListOptions, PagingOptions, PodList, RetryPolicy, WatchOptions};
use crate::{Error, Limits, Runtime, SERVICE_ACCOUNT_DIR, Server, add_to_linker};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre, Linker, ResourceAny};

/// Whether sandboxes have the service account's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// They do not: they see a placeholder, and the host puts the token on their requests to the API server.
    #[default]
    Brokered,
    /// They do, in a read-only folder, as under any other WASI host. For components that you trust with it.
    Portable,
}

/// An API server, a service account to talk to it with, what may be asked for, and how much may be used. It has connections of
/// its own. Clones are the same tenant; it is removed by dropping the last one, and what is under way goes on to its end.
#[derive(Clone)]
pub struct Tenant {
    identity: Arc<Identity>,
    own: Sandboxes<Ctx, Loaded>,
    plugin: PluginPre<Ctx>,
}

/// The client component, with its configuration loaded.
pub(crate) struct Loaded {
    pub(crate) plugin: Plugin,
    config: ResourceAny,
}

/// Builds a [`Tenant`].
#[derive(Clone)]
pub struct TenantBuilder {
    pub(crate) settings: Settings,
    server: Option<Server>,
}

impl TenantBuilder {
    /// Where the API server is. That of the pod that this process runs in, by default.
    pub fn server(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    /// The folder with the files `token`, `ca.crt` and `namespace`; [`SERVICE_ACCOUNT_DIR`] by default. It is looked at when a
    /// call is made.
    pub fn service_account_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.service_account_dir = dir.into();
        self
    }

    /// What may be asked for. Nothing by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// What may be used.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Whether sandboxes have the token. They do not by default.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.settings.credentials = credentials;
        self
    }

    /// How often, and for how long, the tenant's own calls are tried: `config.set-retry-policy`.
    pub fn retry_policy(mut self, retry_policy: RetryPolicy) -> Self {
        self.settings.retry_policy = retry_policy;
        self
    }

    /// Whether calls use sandboxes again: the tenant's own, and those of its [`Sandboxes`]. They do not by default.
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.settings.reuse = reuse;
        self
    }

    /// The tenant. It asks nothing of the API server, and does not look at the folder.
    pub fn build(self) -> Result<Tenant, Error> {
        let own = || Server::from_environment(|name| std::env::var(name).ok()).map_err(Error::Environment);
        let server = self.server.map_or_else(own, Ok)?;
        let runtime = &self.settings.runtime;
        let plugin = PluginPre::new(pre_instantiate(runtime, &runtime.plugin()?)?).map_err(Error::Runtime)?;
        Ok(Tenant::of(Identity::new(self.settings, server)?, plugin))
    }
}

impl Tenant {
    /// The pod that this process runs in, with a [`Runtime`] of its own. Its calls may ask for whatever RBAC allows.
    pub fn in_cluster() -> Result<Tenant, Error> {
        Tenant::builder(&Runtime::new()?, "in-cluster").policy(Policy::allow_all()).build()
    }

    /// A builder for a tenant. The name is for logs and metrics.
    pub fn builder(runtime: &Runtime, name: &str) -> TenantBuilder {
        let settings = Settings {
            name: name.into(),
            runtime: runtime.clone(),
            service_account_dir: SERVICE_ACCOUNT_DIR.into(),
            policy: Policy::deny_all(),
            limits: Limits::default(),
            credentials: Credentials::default(),
            retry_policy: RetryPolicy::DEFAULT,
            reuse: Reuse::default(),
        };
        TenantBuilder { settings, server: None }
    }

    fn of(identity: Identity, plugin: PluginPre<Ctx>) -> Tenant {
        let Settings { limits, retry_policy, .. } = &identity.settings;
        let (memory, retry_policy) = (limits.memory, *retry_policy);
        let (identity, pre) = (Arc::new(identity), plugin.clone());
        let own = Sandboxes::with(
            identity.clone(),
            memory,
            |ctx| ctx.build(),
            move |store| Box::pin(load(pre.clone(), store, retry_policy)),
        );
        Tenant { identity, own, plugin }
    }

    fn changed(&self, change: impl FnOnce(&mut Settings)) -> Tenant {
        let mut settings = self.identity.settings.clone();
        change(&mut settings);
        Tenant::of(self.identity.changed(settings), self.plugin.clone())
    }

    /// The same tenant with another policy, for the sandboxes to come. They share its connections.
    pub fn with_policy(&self, policy: Policy) -> Tenant {
        self.changed(|settings| settings.policy = policy)
    }

    /// The same tenant with other limits, and connections of its own.
    pub fn with_limits(&self, limits: Limits) -> Tenant {
        self.changed(|settings| settings.limits = limits)
    }

    /// The same tenant, whose calls are tried so often, and for so long. It shares its connections.
    pub fn with_retry_policy(&self, retry_policy: RetryPolicy) -> Tenant {
        self.changed(|settings| settings.retry_policy = retry_policy)
    }

    /// The same tenant, whose sandboxes are used again so. It shares its connections.
    pub fn with_reuse(&self, reuse: Reuse) -> Tenant {
        self.changed(|settings| settings.reuse = reuse)
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What it is called in logs and metrics.
    pub fn name(&self) -> &str {
        &self.identity.settings.name
    }

    /// The process's engine and pool.
    pub fn runtime(&self) -> &Runtime {
        &self.identity.settings.runtime
    }

    /// Where the API server is.
    pub fn server(&self) -> &Server {
        &self.identity.server
    }

    /// What it may ask for.
    pub fn policy(&self) -> &Policy {
        &self.identity.settings.policy
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        self.identity.limits()
    }

    /// How often, and for how long, its calls are tried.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.identity.settings.retry_policy
    }

    /// Runs a call of a store of your own under [`Limits::wall_time`] and [`Limits::cpu_time`]. The tenant's own calls, and those
    /// of [`Sandboxes`], do so themselves.
    ///
    /// A tenant that computes for more than a fiftieth of the time of one processor, and more than 20 ms at once, takes turns of
    /// 2 ms with others like it, on half of the processors: the other half is for those who compute little. Once it rests, that is
    /// forgiven within two seconds.
    pub async fn run<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        self.identity.run(call).await
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
    /// default. It holds a sandbox until it is dropped.
    pub async fn page_namespaced_pods(
        &self,
        namespace: &str,
        options: &ListOptions,
        paging: &PagingOptions,
    ) -> Result<PodPages, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_page_namespaced_pods(&mut store, config, namespace, options, *paging).await
        };
        self.open(open).await.map(|(sandbox, pages)| PodPages::new(sandbox, pages))
    }

    /// Begins a watch: `client.watch-namespaced-pods`. It holds a sandbox until it is dropped.
    pub async fn watch_namespaced_pods(&self, namespace: &str, options: &WatchOptions) -> Result<PodWatch, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_watch_namespaced_pods(&mut store, config, namespace, options).await
        };
        self.open(open).await.map(|(sandbox, watch)| PodWatch::new(sandbox, watch))
    }

    async fn call<T>(&self, call: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> Answer<T>) -> Result<T, Error> {
        let begun = Instant::now();
        let answer = self.own.try_call(async |loaded, store| loaded.call(call, store).await).await;
        let answer = answer.and_then(|answer| answer.map_err(Error::Kubernetes));
        self.identity.tell(begun.elapsed(), answer.as_ref().err());
        answer
    }

    async fn open<T>(
        &self,
        open: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> Answer<T>,
    ) -> Result<(Sandbox<Ctx, Loaded>, T), Error> {
        let mut sandbox = self.own.open().await?;
        let opened = sandbox.run(async |loaded, store| loaded.call(open, store).await).await?;
        Ok((sandbox, opened.map_err(Error::Kubernetes)?))
    }
}

type Client = crate::bindings::exports::incluster::kubernetes::client::Guest;

/// What a call of the component's gives: its answer, unless it traps.
pub(crate) type Answer<T> = wasmtime::Result<Result<T, crate::types::Error>>;

impl Loaded {
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> Answer<T>,
        store: &mut Store<Ctx>,
    ) -> Answer<T> {
        call(self.plugin.incluster_kubernetes_client(), store, self.config).await
    }
}

async fn load(pre: PluginPre<Ctx>, mut store: &mut Store<Ctx>, retry_policy: RetryPolicy) -> wasmtime::Result<Loaded> {
    let plugin = pre.instantiate_async(&mut store).await?;
    let client = plugin.incluster_kubernetes_client();
    let config = client.call_load_incluster_config(&mut store).await?.map_err(|e| wasmtime::Error::new(Error::from(e)))?;
    client.config().call_set_retry_policy(&mut store, config, retry_policy).await?;
    Ok(Loaded { plugin, config })
}

pub(crate) fn pre_instantiate(runtime: &Runtime, component: &Component) -> Result<InstancePre<Ctx>, Error> {
    let mut linker = Linker::new(runtime.engine());
    add_to_linker(&mut linker).map_err(Error::Runtime)?;
    linker.instantiate_pre(component).map_err(|e| Error::not_linked(&e))
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("name", &self.name()).field("server", self.server()).finish_non_exhaustive()
    }
}
