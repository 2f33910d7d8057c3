//! Tests of an embedder's own linker and store.
//!
//! Code that leaves out a step does not compile: a store comes with its place in the pool and its limits, and calls run within them.

use crate::{RUNTIME, tenant, tenant_at};
use incluster::bindings::Plugin;
use incluster::policy::Policy;
use incluster::types::{ConfigError, Error as Kubernetes, Failure, ListOptions, PodEvent, RetryPolicy, WatchOptions};
use incluster::{CallLimits, Ctx, Error, Limits, Tenant, TenantLimits, TenantStore, View};
use std::time::{Duration, Instant};
use testbed::Testbed;
use wasmtime::Store;
use wasmtime::component::{Linker, ResourceAny};

struct State {
    incluster: Ctx,
}

impl View for State {
    fn incluster(&mut self) -> &mut Ctx {
        &mut self.incluster
    }
}

/// Creates a store of the tenant with the client component. Returns the loaded configuration or its error as well.
async fn loaded(tenant: &Tenant) -> (TenantStore<State>, Plugin, Result<ResourceAny, ConfigError>) {
    let mut linker = Linker::<State>::new(RUNTIME.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let mut store = tenant.store(|ctx| State { incluster: ctx.build() }).await.unwrap();
    let load = async |mut store: &mut Store<State>| {
        let plugin = Plugin::instantiate_async(&mut store, &RUNTIME.plugin()?, &linker).await?;
        let config = plugin.incluster_kubernetes_client().call_load_incluster_config(store).await?;
        Ok((plugin, config))
    };
    let (plugin, config) = store.run(load).await.unwrap();
    (store, plugin, config)
}

/// Returns the server's URL as the guest sees it.
async fn server(tenant: &Tenant) -> String {
    let (mut store, plugin, config) = loaded(tenant).await;
    let (client, config) = (plugin.incluster_kubernetes_client().config(), config.unwrap());
    store.run(async |store| client.call_server(store, config).await).await.unwrap()
}

#[tokio::test]
async fn one_instance_can_make_many_calls() {
    let testbed = Testbed::start().await;
    let (mut store, plugin, config) = loaded(&tenant(&testbed)).await;
    let (client, config) = (plugin.incluster_kubernetes_client(), config.unwrap());
    let namespace = store.run(async |store| client.config().call_namespace(store, config).await).await.unwrap();
    assert_eq!(namespace.as_deref(), Some("shop"));
    for _ in 0..10 {
        let list =
            async |store: &mut Store<State>| client.call_list_namespaced_pods(store, config, "shop", &ListOptions::ALL).await;
        assert_eq!(store.run(list).await.unwrap().unwrap().items.len(), 7);
    }
    assert_eq!((testbed.server.connections(), testbed.server.requests().len()), (1, 10));
}

/// However the URL spells an IPv6 address, the guest gets the spelling that the door recognizes.
#[tokio::test]
async fn an_ipv6_server_is_in_brackets() {
    let testbed = Testbed::start().await;
    for url in ["https://[fd00::1]:6443", "https://[FD00:0:0::0:1]:6443"] {
        assert_eq!(server(&tenant_at(url, &testbed)).await, "https://[fd00::1]:6443");
    }
}

#[tokio::test]
async fn many_calls_at_once_each_in_a_sandbox_of_its_own() {
    let testbed = Testbed::start().await;
    let limits = TenantLimits { concurrent_calls: 300, instances: 300, open_streams: 300, ..TenantLimits::default() };
    let tenant = tenant(&testbed).with_limits(limits).unwrap();
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let tenant = tenant.clone();
            tokio::spawn(async move { tenant.list_namespaced_pods("shop", &ListOptions::ALL).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().items.len(), 7);
    }
}

#[tokio::test]
async fn configuration_errors_are_typed_here_too() {
    let testbed = Testbed::start().await;
    testbed.volume.set("token", b"");
    assert!(matches!(loaded(&tenant(&testbed)).await.2, Err(ConfigError::FileEmpty(_))));
}

/// A store counts towards the tenant's limit of sandboxes. It cannot be used again after a call was dropped or failed.
#[tokio::test]
async fn a_store_counts_as_a_sandbox_and_is_over_after_a_failed_call() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed)
        .with_limits(Limits {
            tenant: TenantLimits { instances: 1, ..TenantLimits::default() },
            call: CallLimits { cpu_time: Duration::from_millis(50), ..CallLimits::default() },
            ..Limits::default()
        })
        .unwrap();
    let mut store = tenant.store(|ctx| State { incluster: ctx.build() }).await.unwrap();
    assert!(matches!(tenant.store(|ctx| ctx.build()).await, Err(Error::Instances(1))));
    {
        let mut dropped = std::pin::pin!(store.run(async |_| std::future::pending::<wasmtime::Result<()>>().await));
        assert!(futures_util::FutureExt::now_or_never(&mut dropped).is_none());
    }
    assert!(matches!(store.run(async |_| Ok(())).await, Err(Error::Over)));
    drop(store);

    let mut store = tenant.store(|ctx| State { incluster: ctx.build() }).await.unwrap();
    let compute = async |_: &mut Store<State>| {
        loop {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(2) {}
            tokio::task::yield_now().await;
        }
    };
    let ended: Result<(), Error> = store.run(compute).await;
    assert!(matches!(ended, Err(Error::CpuTime(_))));
    assert!(matches!(store.run(async |_| Ok(())).await, Err(Error::Over)));
}

/// Three derived tenants together have the quotas of one tenant.
#[tokio::test]
async fn derived_tenants_share_their_quotas() {
    let testbed = Testbed::start().await;
    let limits = TenantLimits { instances: 1, requests_per_second: 1, request_burst: 20, ..TenantLimits::default() };
    let tenant = tenant(&testbed).with_limits(limits).unwrap();
    let held = tenant.with_policy(Policy::allow_all()).store(|ctx| ctx.build()).await.unwrap();
    assert!(matches!(tenant.with_retry_policy(RetryPolicy::NEVER).store(|ctx| ctx.build()).await, Err(Error::Instances(1))));
    drop(held);
    let mut permitted = 0;
    for derived in [
        tenant.with_policy(Policy::allow_all()),
        tenant.with_reuse(incluster::Reuse::default()),
        tenant.with_retry_policy(RetryPolicy::NEVER),
    ] {
        for _ in 0..20 {
            permitted += usize::from(derived.list_namespaced_pods("shop", &ListOptions::ALL).await.is_ok());
        }
    }
    // 20, plus one for each second of the test. With separate quotas there would be 60.
    assert!((20..60).contains(&permitted), "{permitted}");
}

fn only(namespace: &str) -> Policy {
    let rule =
        serde_json::json!({"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": [namespace]});
    serde_json::from_value(serde_json::json!({"rules": [rule]})).unwrap()
}

/// A derived tenant's policy can only narrow. A change to the original tenant's policy applies at once, to warm sandboxes and open watches too.
#[tokio::test]
async fn a_policy_is_changed_while_a_watch_is_open() {
    let store = testbed::PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let tenant = tenant(&testbed).with_policy(only("shop"));
    let reuse = incluster::Reuse { kept: 1, calls: 100, idle_time: Duration::from_secs(60), ..incluster::Reuse::default() };
    let derived = tenant.with_policy(Policy::allow_all()).with_reuse(reuse);
    assert_eq!(*derived.policy(), Policy::allow_all());
    let list = async || derived.list_namespaced_pods("shop", &ListOptions::ALL).await;
    assert!(list().await.is_ok());
    let other = derived.list_namespaced_pods("other", &ListOptions::ALL).await;
    assert!(matches!(other, Err(Error::Kubernetes(Failure { error: Kubernetes::Denied(_), .. }))), "{other:?}");

    let mut watch = derived.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    while !matches!(watch.next().await.unwrap(), Some(PodEvent::Synced(_))) {}
    let mut next = std::pin::pin!(watch.next());
    assert!(futures_util::FutureExt::now_or_never(&mut next).is_none());
    tenant.set_policy(only("elsewhere"));
    let ended = tokio::time::timeout(Duration::from_secs(5), next).await.expect("the watch ends");
    assert!(
        matches!(&ended, Err(Error::Kubernetes(Failure { error: Kubernetes::Denied(why), .. })) if why.contains("policy")),
        "{ended:?}"
    );
    assert!(matches!(list().await, Err(Error::Kubernetes(Failure { error: Kubernetes::Denied(_), .. }))));
    tenant.set_policy(only("shop"));
    assert!(list().await.is_ok());

    // A watch that nobody reads is closed too, as the API server sees.
    let mut unread = derived.watch_namespaced_pods("shop", &WatchOptions::ALL).await.unwrap();
    while !matches!(unread.next().await.unwrap(), Some(PodEvent::Synced(_))) {}
    store.until_open_watches(1).await;
    tenant.set_policy(only("elsewhere"));
    store.until_open_watches(0).await;
    tenant.set_policy(only("shop"));
    store.add("later");
    assert!(
        matches!(unread.next().await, Err(Error::Kubernetes(Failure { error: Kubernetes::Denied(_), .. }))),
        "the watch stays denied"
    );
}
