//! The calls that an embedder makes as a tenant.

use super::Tenant;
use super::sandboxes::Sandbox;
use super::sessions::{JsonPages, JsonWatch, PodPages, PodWatch};
use crate::bindings::exports::incluster::kubernetes::client::Guest as Client;
use crate::bindings::{Plugin, PluginPre};
use crate::error::Error;
use crate::sandbox::ctx::Ctx;
use crate::types::{Failure, ListOptions, PagingOptions, PodList, RetryPolicy, WatchOptions};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// The client component, with its configuration loaded.
pub(crate) struct Loaded {
    pub(crate) plugin: Plugin,
    config: ResourceAny,
}

impl Tenant {
    /// Lists the pods of a namespace, or with `*` of all namespaces, in one answer: `client.list-namespaced-pods`. Pods are taken out of the
    /// sandbox while the rest still arrives.
    pub async fn list_namespaced_pods(&self, namespace: &str, options: &ListOptions) -> Result<PodList, Error> {
        self.call(async |client, store, config| match options {
            ListOptions { limit: None | Some(0), continue_token: None, .. } => {
                list_as_it_arrives(client, store, config, namespace, options).await
            }
            _ => client.call_list_namespaced_pods(store, config, namespace, options).await,
        })
        .await
    }

    /// Begins a list whose pods are handed over some hundred at a time, while the rest of the answer arrives: `client.stream-namespaced-pods`.
    /// The list holds a sandbox until it is dropped.
    pub async fn list_namespaced_pods_stream(&self, namespace: &str, options: &ListOptions) -> Result<PodPages, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_stream_namespaced_pods(&mut store, config, namespace, options).await
        };
        self.open(open).await.map(|(sandbox, pages)| PodPages::new(sandbox, pages))
    }

    /// Gets an API path as JSON text: `client.get-json`.
    pub async fn get_json(&self, path_and_query: &str) -> Result<Vec<u8>, Error> {
        self.call(async |client, mut store, config| client.call_get_json(&mut store, config, path_and_query).await).await
    }

    /// The pod's own namespace, from the service account's folder: `config.namespace`.
    pub async fn namespace(&self) -> Result<Option<String>, Error> {
        self.call(async |client, mut store, config| Ok(Ok(client.config().call_namespace(&mut store, config).await?))).await
    }

    /// Begins a list that is requested page by page: `client.page-namespaced-pods`. `options.limit` is the size of a page, 500 by
    /// default. The list holds a sandbox until it is dropped.
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

    /// Begins a watch of pods: `client.watch-namespaced-pods`. The watch holds a sandbox until it is dropped.
    pub async fn watch_namespaced_pods(&self, namespace: &str, options: &WatchOptions) -> Result<PodWatch, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_watch_namespaced_pods(&mut store, config, namespace, options).await
        };
        self.open(open).await.map(|(sandbox, watch)| PodWatch::new(sandbox, watch))
    }

    /// Begins a list of any collection that is requested page by page: `client.page-json`. The list holds a sandbox until it is dropped.
    pub async fn page_json(&self, path: &str, options: &ListOptions, paging: &PagingOptions) -> Result<JsonPages, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_page_json(&mut store, config, path, options, *paging).await
        };
        self.open(open).await.map(|(sandbox, pages)| JsonPages::new(sandbox, pages))
    }

    /// Begins a watch of any collection: `client.watch-json`. The watch holds a sandbox until it is dropped.
    pub async fn watch_json(&self, path: &str, options: &WatchOptions) -> Result<JsonWatch, Error> {
        let open = async |client: &Client, mut store: &mut Store<Ctx>, config| {
            client.call_watch_json(&mut store, config, path, options).await
        };
        self.open(open).await.map(|(sandbox, watch)| JsonWatch::new(sandbox, watch))
    }

    async fn call<T>(&self, call: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> Answer<T>) -> Result<T, Error> {
        let call = async {
            let answer = self.own.try_call(async |loaded, store| loaded.call(call, store).await).await;
            answer.and_then(|answer| answer.map_err(Error::Kubernetes)).map_err(|error| self.state.with_real_path(error))
        };
        self.own.told(call).await
    }

    async fn open<T>(
        &self,
        open: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> Answer<T>,
    ) -> Result<(Sandbox<Ctx, Loaded>, T), Error> {
        let opened = async {
            let mut sandbox = self.own.try_open().await?;
            let opened = sandbox.try_run(async |loaded, store| loaded.call(open, store).await).await?;
            Ok((sandbox, opened.map_err(Error::Kubernetes)?))
        };
        self.own.told(async { opened.await.map_err(|error| self.state.with_real_path(error)) }).await
    }
}

/// The result of a call to the component: its answer, unless it traps.
pub(crate) type Answer<T> = wasmtime::Result<Result<T, Failure>>;

/// Lists pods in one answer, and takes each part out of the sandbox as soon as it arrives.
async fn list_as_it_arrives(
    client: &Client,
    mut store: &mut Store<Ctx>,
    config: ResourceAny,
    namespace: &str,
    options: &ListOptions,
) -> Answer<PodList> {
    let pages = match client.call_stream_namespaced_pods(&mut store, config, namespace, options).await? {
        Ok(pages) => pages,
        Err(failure) => return Ok(Err(failure)),
    };
    let (mut items, mut resource_version) = (Vec::new(), String::new());
    let answer = loop {
        match client.pod_pages().call_next(&mut store, pages).await? {
            Ok(Some(page)) => {
                if items.is_empty() {
                    items = page.items;
                } else {
                    items.extend(page.items);
                }
                resource_version = page.resource_version;
            }
            Ok(None) => break Ok(PodList { items, resource_version, continue_token: None, remaining_item_count: None }),
            Err(failure) => break Err(failure),
        }
    };
    pages.resource_drop_async(store).await?;
    Ok(answer)
}

impl Loaded {
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&Client, &mut Store<Ctx>, ResourceAny) -> Answer<T>,
        store: &mut Store<Ctx>,
    ) -> Answer<T> {
        call(self.plugin.incluster_kubernetes_client(), store, self.config).await
    }
}

pub(super) async fn load(pre: PluginPre<Ctx>, mut store: &mut Store<Ctx>, retry_policy: RetryPolicy) -> wasmtime::Result<Loaded> {
    let plugin = pre.instantiate_async(&mut store).await?;
    let client = plugin.incluster_kubernetes_client();
    let config = client.call_load_incluster_config(&mut store).await?.map_err(|e| wasmtime::Error::new(Error::from(e)))?;
    client.config().call_set_retry_policy(&mut store, config, retry_policy).await?;
    Ok(Loaded { plugin, config })
}
