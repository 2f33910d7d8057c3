//! Extensions of other worlds (HTTP handlers, components without the client), and what each sample imports.

use crate::interfaces::interfaces;
use crate::{RUNTIME, load, tenant};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use incluster::{Ctx, Error, Sandboxes};
use testbed::Testbed;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Instance, TypedFunc};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};

#[tokio::test]
async fn an_extension_answers_http_requests_from_what_the_client_says() {
    let testbed = Testbed::start().await;
    let extension = load(extensions::HANDLER, &[]).await;
    let load = |indices: &ProxyIndices, store: &mut Store<Ctx>, instance: &Instance| indices.load(store, instance);
    let handlers = Sandboxes::typed(&tenant(&testbed), &extension, ProxyIndices::new, load).unwrap();
    for (path, status, says) in [("shop", 200, "catalog-46f22f2a56-9e90c4\n"), ("no", 502, "404")] {
        let (sender, receiver) = oneshot::channel();
        let call = async |proxy: &Proxy, mut store: &mut Store<Ctx>| {
            let body = Empty::<Bytes>::new().map_err(|never| -> ErrorCode { match never {} });
            let request = http::Request::get(format!("http://shop.example/{path}")).body(body)?;
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let out = store.data_mut().http().new_response_outparam(sender)?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        };
        handlers.call(call).await.unwrap();
        let answer = receiver.await.unwrap().unwrap();
        assert_eq!(answer.status(), status);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&text).contains(says), "{text:?}");
    }
}

/// A component that grows its table, and traps if it cannot.
const GREEDY: &str = r#"(component
  (core module $m
    (table 1 funcref)
    (func (export "grow") (param i32)
      (if (i32.eq (table.grow (ref.null func) (local.get 0)) (i32.const -1)) (then unreachable))))
  (core instance $i (instantiate $m))
  (func (export "grow") (param "elements" u32) (canon lift (core func $i "grow"))))"#;

#[tokio::test]
async fn tables_are_limited() {
    let testbed = Testbed::start().await;
    let extension = load(&wat::parse_str(GREEDY).unwrap(), &[]).await;
    let tenant = tenant(&testbed);
    let tenant = tenant
        .with_limits(incluster::Limits {
            call: incluster::CallLimits { table_elements: 100, ..tenant.limits().call },
            ..*tenant.limits()
        })
        .unwrap();
    let grow = |(): &(), store: &mut Store<Ctx>, instance: &Instance| instance.get_typed_func::<(u32,), ()>(store, "grow");
    let greedy = Sandboxes::typed(&tenant, &extension, |_| Ok(()), grow).unwrap();
    let grow = async |elements| {
        greedy.call(async |grow: &TypedFunc<(u32,), ()>, store: &mut Store<Ctx>| grow.call_async(store, (elements,)).await).await
    };
    assert!(grow(99).await.is_ok());
    assert!(matches!(grow(100).await, Err(Error::Table(100))));
}

/// Each sample imports only WASI and what it is allowed by name.
#[tokio::test]
async fn samples_import_no_more_than_they_need() {
    for (name, component, allowed) in [
        ("handler", extensions::HANDLER, &[][..]),
        ("picker", extensions::PICKER, &[]),
        ("program", extensions::PROGRAM, &[]),
        ("sticky", extensions::STICKY, &["example:gateway/ready-pods"]),
        ("unruly", extensions::UNRULY, &["example:gateway/ready-pods", "wasi:config/store"]),
    ] {
        load(component, allowed).await;
        let composed = RUNTIME.compose("test", component, allowed).await.unwrap();
        let (names, _) = interfaces(&composed);
        let beyond: Vec<_> =
            names.iter().filter(|name| !name.starts_with("wasi:") && !allowed.contains(&&*without_version(name))).collect();
        assert!(beyond.is_empty(), "{name}: {beyond:?}");
        let sockets = names.iter().any(|name| name.starts_with("wasi:sockets/"));
        let sends = names.iter().any(|name| name.starts_with("wasi:http/outgoing-handler@"));
        // Requests are sent by the client, which `sticky` does not contain.
        assert_eq!((sockets, sends), (false, name != "sticky"), "{name}: {names:?}");
    }
}

fn without_version(name: &str) -> String {
    name.split('@').next().unwrap_or_default().into()
}
