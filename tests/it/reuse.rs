//! Tests of sandboxes that serve more than one call, and of what they must never cost other calls.

use crate::extensions::pods_of_shop;
use crate::{compiler, load, tenant};
use incluster::policy::Policy;
use incluster::{Ctx, Error, Extension, Pool, Reuse, Runtime, Sandboxes, Server, Tenant, TenantLimits};
use picker::{Picker, PickerIndices};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use testbed::Testbed;
use tokio::sync::Barrier;
use wasmtime::Store;

/// The world of `tests/extensions/wit` as it is after composition, without the client's imports.
mod picker {
    wasmtime::component::bindgen!({
        inline: "package example:picker@0.1.0;
                 world picker {
                   export pick: func(namespace: string, selector: string, key: string) -> result<string, string>;
                   export calls: func() -> u32;
                   export explode: func();
                 }",
        exports: { default: async },
    });
}

async fn pickers(tenant: &Tenant) -> Sandboxes<Ctx, Picker> {
    pickers_of(&load(extensions::PICKER, &[]).await, tenant)
}

fn pickers_of(extension: &Extension, tenant: &Tenant) -> Sandboxes<Ctx, Picker> {
    Sandboxes::typed(tenant, extension, PickerIndices::new, |indices, store, instance| indices.load(store, instance)).unwrap()
}

async fn calls(pickers: &Sandboxes<Ctx, Picker>) -> u32 {
    pickers.call(async |picker, store| picker.call_calls(store).await).await.unwrap()
}

#[tokio::test]
async fn a_world_of_the_embedders_own() {
    let testbed = Testbed::start().await;
    let pickers = pickers(&tenant(&testbed).with_policy(pods_of_shop())).await;
    let pick = async |key: &str| {
        let pick = async |picker: &Picker, store: &mut Store<Ctx>| picker.call_pick(store, "shop", "tier=edge", key).await;
        pickers.call(pick).await.unwrap().unwrap()
    };
    let picked = pick("a").await;
    assert_eq!(pick("a").await, picked);
    assert!(picked.contains(" 10.1."), "{picked}");
    assert_eq!((calls(&pickers).await, calls(&pickers).await, pickers.warm()), (1, 1, 0), "each call has a fresh instance");
}

#[tokio::test]
async fn warm_instances_have_a_limit_of_calls_and_are_never_used_after_a_trap() {
    let testbed = Testbed::start().await;
    let reuse = Reuse { kept: 1, calls: 3, idle_time: Duration::from_secs(60), ..Reuse::default() };
    let pickers = pickers(&tenant(&testbed).with_reuse(reuse)).await;
    let mut had = Vec::new();
    for _ in 0..5 {
        had.push(calls(&pickers).await);
    }
    assert_eq!(had, [1, 2, 3, 1, 2]);
    assert_eq!(pickers.warm(), 1);
    let exploded = pickers.call(async |picker, store| picker.call_explode(store).await).await;
    assert!(matches!(exploded, Err(Error::Trap(_))));
    assert_eq!((pickers.warm(), calls(&pickers).await), (0, 1));
}

#[tokio::test]
async fn warm_instances_stay_within_their_memory_limit() {
    let testbed = Testbed::start().await;
    let extension = load(extensions::PICKER, &[]).await;
    let kept = async |memory: usize| {
        let reuse = Reuse { kept: 3, memory, ..Reuse::default() };
        let pickers = pickers_of(&extension, &tenant(&testbed).with_reuse(reuse));
        // The calls run at the same time, so that each has a sandbox of its own.
        let all = Barrier::new(3);
        let call = async || {
            let together = async |picker: &Picker, store: &mut Store<Ctx>| {
                all.wait().await;
                picker.call_calls(store).await
            };
            pickers.call(together).await.unwrap()
        };
        assert_eq!(tokio::join!(call(), call(), call()), (1, 1, 1));
        pickers.warm()
    };
    assert_eq!(kept(1 << 30).await, 3);
    assert_eq!(kept(64 << 10).await, 0);
    // All have the same size. Search for the smallest limit that keeps two.
    let (mut too_little, mut enough) = (64 << 10, 1 << 30);
    while enough - too_little > 64 << 10 {
        let middle = (too_little + enough) / 2;
        if kept(middle).await >= 2 { enough = middle } else { too_little = middle }
    }
    assert_eq!((kept(enough).await, kept(enough / 2 - (64 << 10)).await, kept(enough * 3 / 2 + (64 << 10)).await), (2, 0, 3));
}

#[tokio::test]
async fn an_idle_warm_instance_ends() {
    let testbed = Testbed::start().await;
    let reuse = Reuse { kept: 1, calls: 3, idle_time: Duration::from_millis(1), ..Reuse::default() };
    let pickers = pickers(&tenant(&testbed).with_reuse(reuse)).await;
    assert_eq!(calls(&pickers).await, 1);
    let gone = async {
        while pickers.warm() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

const ONE: Reuse = Reuse { kept: 1, memory: 1 << 30, calls: 1000, idle_time: Duration::from_secs(60) };

/// A tenant of 200 extensions, with a warm sandbox for each, must be able to call all of them.
#[tokio::test]
async fn a_warm_sandbox_makes_way_for_a_call_of_the_same_tenant() {
    let testbed = Testbed::start().await;
    let extension = load(extensions::PICKER, &[]).await;
    let two = tenant(&testbed).with_reuse(ONE).with_limits(TenantLimits { instances: 2, ..TenantLimits::default() }).unwrap();
    // A derived tenant's sandboxes count, too.
    let derived = two.with_policy(Policy::allow_all());
    let [oldest, newer, called] = [&two, &derived, &two].map(|tenant| pickers_of(&extension, tenant));
    assert_eq!((calls(&oldest).await, calls(&newer).await), (1, 1));
    assert_eq!((calls(&called).await, calls(&called).await), (1, 2));
    assert_eq!((oldest.warm(), newer.warm(), called.warm()), (0, 1, 1));
    // A sandbox that is in use does not make way.
    let (_first, _second) = (oldest.open().await.unwrap(), oldest.open().await.unwrap());
    assert_eq!((newer.warm(), called.warm()), (0, 0));
    assert!(matches!(called.open().await, Err(Error::Instances(2))));
}

#[tokio::test]
async fn a_warm_sandbox_makes_way_for_a_call_of_another_tenant() {
    let testbed = Testbed::start().await;
    let runtime = Runtime::builder().compiler(compiler()).pool(Pool { places: 1, ..Pool::default() }).build().unwrap();
    let extension = runtime.extension("test", extensions::PICKER, &[]).await.unwrap();
    let pickers = |name: &str| {
        let server = Server::parse(&testbed.server.url()).unwrap();
        let tenant = Tenant::builder(&runtime, name).server(server).service_account_dir(testbed.volume.path());
        pickers_of(&extension, &tenant.policy(pods_of_shop()).reuse(ONE).build().unwrap())
    };
    let (one, another) = (pickers("one"), pickers("another"));
    assert_eq!((calls(&one).await, one.warm()), (1, 1));
    assert_eq!((calls(&another).await, one.warm(), another.warm()), (1, 0, 1));

    // A call waits while the only sandbox is in use. When that one becomes warm, it makes way, too.
    let (is_running, go_on) = (Barrier::new(2), Barrier::new(2));
    let run = async |picker: &Picker, store: &mut Store<Ctx>| {
        is_running.wait().await;
        go_on.wait().await;
        picker.call_calls(store).await
    };
    let waits = async {
        is_running.wait().await;
        let mut waiting = Box::pin(calls(&one));
        assert!(poll_fn(|ctx| Poll::Ready(waiting.as_mut().poll(ctx).is_pending())).await);
        tokio::join!(waiting, go_on.wait()).0
    };
    let both = async { tokio::join!(another.call(run), waits) };
    let (served, waited) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("a warm sandbox makes way");
    assert_eq!((served.unwrap(), waited), (2, 1));
    assert_eq!((one.warm(), another.warm()), (1, 0));
}
