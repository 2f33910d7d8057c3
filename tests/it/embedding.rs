//! A linker and a store of the embedder's own.

use crate::{RUNTIME, tenant, tenant_at};
use incluster::bindings::Plugin;
use incluster::types::{ConfigError, ListOptions};
use incluster::{Ctx, Limits, Permit, Tenant, View};
use testbed::Testbed;
use wasmtime::Store;
use wasmtime::component::Linker;

struct State {
    incluster: Ctx,
}

impl View for State {
    fn incluster(&mut self) -> &mut Ctx {
        &mut self.incluster
    }
}

/// The permit is first, so that it is dropped last.
async fn instantiate(tenant: &Tenant) -> (Permit, Plugin, Store<State>) {
    let permit = RUNTIME.admit().await;
    let mut linker = Linker::<State>::new(RUNTIME.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let ctx = Ctx::builder(tenant).build().unwrap();
    let mut store = Store::new(RUNTIME.engine(), State { incluster: ctx });
    incluster::limit(&mut store);
    let plugin = Plugin::instantiate_async(&mut store, &RUNTIME.plugin().unwrap(), &linker).await.unwrap();
    (permit, plugin, store)
}

#[tokio::test]
async fn one_instance_can_make_many_calls() {
    let testbed = Testbed::start().await;
    let (_permit, plugin, mut store) = instantiate(&tenant(&testbed)).await;
    let client = plugin.incluster_kubernetes_client();
    let config = client.call_load_incluster_config(&mut store).await.unwrap().unwrap();
    assert_eq!(client.config().call_server(&mut store, config).await.unwrap(), testbed.server.url());
    assert_eq!(client.config().call_namespace(&mut store, config).await.unwrap().as_deref(), Some("shop"));
    for _ in 0..10 {
        let list = client.call_list_namespaced_pods(&mut store, config, "shop", &ListOptions::ALL).await.unwrap().unwrap();
        assert_eq!(list.items.len(), 7);
    }
    assert_eq!((testbed.server.connections(), testbed.server.requests().len()), (1, 10));
}

/// However its address is written, the guest is told of it so that the door knows it.
#[tokio::test]
async fn an_ipv6_server_is_in_brackets() {
    let testbed = Testbed::start().await;
    for url in ["https://[fd00::1]:6443", "https://[FD00:0:0::0:1]:6443"] {
        let (_permit, plugin, mut store) = instantiate(&tenant_at(url, &testbed)).await;
        let client = plugin.incluster_kubernetes_client();
        let config = client.call_load_incluster_config(&mut store).await.unwrap().unwrap();
        assert_eq!(client.config().call_server(&mut store, config).await.unwrap(), "https://[fd00::1]:6443");
    }
}

#[tokio::test]
async fn many_calls_at_once_each_in_a_sandbox_of_its_own() {
    let testbed = Testbed::start().await;
    let limits = Limits { concurrent_calls: 300, instances: 300, open_streams: 300, ..Limits::default() };
    let tenant = tenant(&testbed).with_limits(limits);
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
    let (_permit, plugin, mut store) = instantiate(&tenant(&testbed)).await;
    let loaded = plugin.incluster_kubernetes_client().call_load_incluster_config(&mut store).await.unwrap();
    assert!(matches!(loaded, Err(ConfigError::FileEmpty(_))));
}
