//! Tests of what tenants' own components can and cannot do, and of what happens to those that try.

use crate::log::Log;
use crate::{RUNTIME, compiler, load, portable, tenant};
use incluster::policy::Policy;
use incluster::{
    CallLimits, Ctx, Error, Extension, ExtensionError, Limits, Pool, RequestLimits, Runtime, Sandboxes, Server, Tenant,
    TenantLimits,
};
use std::time::Duration;
use testbed::{Answer, PodApi, PodStore, TOKEN, Testbed};
use wasmtime::Store;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::{Command, CommandIndices};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

const PODS: &str = r#"{"rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["shop"]}]}"#;

pub fn pods_of_shop() -> Policy {
    serde_json::from_str(PODS).unwrap()
}

/// Runs a program. Returns how it ended and what it wrote.
async fn run_with(tenant: &Tenant, extension: &Extension, args: &[&str]) -> (Result<Result<(), ()>, Error>, String) {
    let mut linker = Linker::<Ctx>::new(RUNTIME.engine());
    incluster::add_to_linker(&mut linker).unwrap();
    let pre = linker.instantiate_pre(extension.component()).unwrap();
    let written = MemoryOutputPipe::new(1 << 20);
    let (args, output) = ([&["extension"], args].concat().into_iter().map(String::from).collect::<Vec<_>>(), written.clone());
    let sandboxes = Sandboxes::new(
        tenant,
        "program",
        pre,
        move |ctx| ctx.args(&args).stdout(output.clone()).stderr(output.clone()).build(),
        CommandIndices::new,
        |indices, store, instance| indices.load(store, instance),
    )
    .unwrap();
    let ended = sandboxes.call(async |command: &Command, store: &mut Store<Ctx>| command.wasi_cli_run().call_run(store).await);
    let ended = ended.await;
    (ended, String::from_utf8_lossy(&written.contents()).into_owned())
}

async fn run(tenant: &Tenant, args: &[&str]) -> (Result<Result<(), ()>, Error>, String) {
    run_with(tenant, &load(extensions::PROGRAM, &[]).await, args).await
}

#[tokio::test]
async fn an_extension_lists_pods_without_the_token() {
    let testbed = Testbed::start().await;
    let (ended, written) = run(&tenant(&testbed).with_policy(pods_of_shop()), &["list", "shop"]).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    assert_eq!(written.lines().count(), 7, "{written}");
    assert_eq!(testbed.server.requests()[0].header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn requests_outside_the_policy_are_denied_and_not_sent() {
    let testbed = Testbed::start().await;
    let limited = tenant(&testbed).with_policy(pods_of_shop());
    for (args, says) in [
        (["list", "kube-system"], "the policy does not permit `list pods` in namespace `kube-system`"),
        (["get", "/api/v1/namespaces/shop/secrets"], "the policy does not permit `list secrets` in namespace `shop`"),
        (["get", "/api/v1/namespaces/shop/pods/x/log"], "`get pods/log`"),
        (["get", "/apis/apps/v1/namespaces/shop/deployments"], "`list deployments.apps`"),
    ] {
        let (ended, written) = run(&limited, &args).await;
        assert!(matches!(ended, Err(Error::Exit(1))), "{ended:?}");
        assert!(written.contains("Denied") && written.contains(says), "{written}");
    }
    let (_, written) = run(&tenant(&testbed).with_policy(Policy::deny_all()), &["list", "shop"]).await;
    assert!(written.contains("Denied"), "{written}");
    assert_eq!(testbed.server.connections(), 0);
}

/// A hostile guest neither finds the real token nor can send it anywhere but to the API server.
#[tokio::test]
async fn the_token_is_nowhere_in_the_sandbox() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    // A server that echoes the request.
    let echo = |request: &testbed::Request| {
        let body = format!("{} {:?}", request.path_and_query, request.header("authorization"));
        Answer::new(200, body)
            .header("content-type", "application/json")
            .header("x-saw", request.header("authorization").unwrap_or(""))
    };
    let (testbed, elsewhere) = (Testbed::serving(echo).await, Testbed::start().await);
    let secret = TOKEN.rsplit('.').next().unwrap();

    let (ended, found) = run(&tenant(&testbed), &["read"]).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    assert!(found.contains("token: Ok(\"incluster-brokered-token\")") && found.contains("namespace: Ok(\"shop\")"), "{found}");
    assert!(!found.contains(secret), "{found}");
    assert!(found.contains("INCLUSTER_LIMITS=\n"), "{found}");
    let raised =
        tenant(&testbed).with_limits(RequestLimits { first_byte: Duration::from_secs(600), ..RequestLimits::default() }).unwrap();
    assert!(run(&raised, &["read"]).await.1.contains("INCLUSTER_LIMITS=connect=10000,handshake=10000,first-byte=600000,"));
    assert!(!found.contains("root:") && found.contains("token: false") && found.contains("new: false"), "{found}");
    // The check itself works: in a sandbox with the token, it finds the token.
    assert!(run(&portable(&testbed), &["read"]).await.1.contains(secret));

    let sends = load(extensions::EXFILTRATE, &[]).await;
    let authority = elsewhere.server.address().to_string();
    let (ended, sent) = run_with(&tenant(&testbed), &sends, &[&authority, "example.com"]).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    assert!(sent.contains("found incluster-brokered-token") && !sent.contains(secret), "{sent}");
    assert!(sent.contains("withheld") && sent.contains("denied"), "{sent}");
    assert_eq!(elsewhere.server.connections(), 0);
    // Only the API server has received the token, and only as credentials.
    let requests = testbed.server.requests();
    assert!(requests.iter().any(|request| request.header("authorization").is_some_and(|value| value.contains(secret))));
    assert!(requests.iter().all(|request| !request.path_and_query.contains(secret)));
    assert!(!log.text().contains(secret));
}

#[tokio::test]
async fn forbidden_imports_are_named() {
    let refused = async |component: &[u8], allowed: &[&str]| match RUNTIME.extension("test", component, allowed).await {
        Err(Error::Extension(error)) => error,
        other => panic!("{other:?}"),
    };
    let other =
        wat::parse_str(r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)) (import "a:b/c" (instance)))"#).unwrap();
    let ExtensionError::Imports { names, total } = refused(&other, &["a:b/c"]).await else { panic!() };
    assert_eq!((total, names), (1, vec!["wasi:keyvalue/store@0.2.0".into()]));

    assert!(matches!(refused(b"\0asm\x01\0\0\0", &[]).await, ExtensionError::CoreModule));
    for no_component in [&b""[..], b"text", b"\0as"] {
        assert_eq!(refused(no_component, &[]).await, ExtensionError::NotAComponent);
    }
    for malformed in [&b"\0asm"[..], b"\0asm\x0d\0\x01\0\x01", &extensions::PROGRAM[..5000]] {
        assert!(matches!(refused(malformed, &[]).await, ExtensionError::Malformed(_)));
    }
    // An import of an incompatible version of the client.
    let other: Vec<u8> =
        replaced(extensions::PROGRAM, b"incluster:kubernetes/client@0.1.0", b"incluster:kubernetes/client@0.9.0");
    let ExtensionError::DoesNotFit { import, .. } = refused(&other, &[]).await else { panic!() };
    assert_eq!(import, "incluster:kubernetes/client@0.9.0");
}

/// An embedder may refuse interfaces by name: those that are closed anyway, and those that lead to the API server.
#[tokio::test]
async fn an_extension_with_a_refused_import_is_not_loaded() {
    let pool = Pool { places: 1, ..Pool::default() };
    let runtime =
        Runtime::builder().pool(pool).compiler(compiler()).refuse_imports(["wasi:sockets", "wasi:http/outgoing-handler"]);
    let runtime = runtime.build().unwrap();
    for (component, package) in [(extensions::SOCKETS, "wasi:sockets/"), (extensions::EXFILTRATE, "wasi:http/outgoing-handler@")]
    {
        match runtime.extension("test", component, &[package.trim_end_matches(['/', '@'])]).await {
            Err(Error::Extension(ExtensionError::Imports { names, total })) => {
                assert!(total == names.len() && names.iter().all(|name| name.starts_with(package)), "{names:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    // The client, with which an extension is composed, may still send requests.
    assert!(runtime.extension("test", extensions::PROGRAM, &[]).await.is_ok());
}

/// Sockets can be imported, because toolchains import them for every component, but every use is denied.
#[tokio::test]
async fn sockets_can_be_imported_and_are_closed() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let testbed = Testbed::start().await;
    // A component that no other test loads, so that its loading is logged here.
    let component = [extensions::SOCKETS, b"\0\x02\x01x"].concat();
    let sockets = load(&component, &[]).await;
    let (ended, written) = run_with(&tenant(&testbed), &sockets, &[&testbed.server.address().to_string()]).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    for what in ["connect", "listen", "udp", "name"] {
        let line = written.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{written}"));
        assert!(line.contains("PermissionDenied") || what == "name" && line.contains("Err("), "{line}");
    }
    assert_eq!(testbed.server.connections(), 0);
    let told = "an extension imports what is closed to it: every use is denied";
    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(told)).collect();
    assert!(lines.len() == 1 && lines[0].contains("wasi:sockets/tcp@0.2."), "{log}");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    while let Some(place) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}

/// An extension built against a newer minor version of the contract runs if it uses nothing new.
#[tokio::test]
async fn an_extension_of_a_newer_compatible_version_runs() {
    let testbed = Testbed::start().await;
    let newer = replaced(extensions::PROGRAM, b"incluster:kubernetes/client@0.1.0", b"incluster:kubernetes/client@0.1.7");
    let newer = replaced(&newer, b"incluster:kubernetes/types@0.1.0", b"incluster:kubernetes/types@0.1.7");
    let (ended, written) =
        run_with(&tenant(&testbed).with_policy(pods_of_shop()), &load(&newer, &[]).await, &["list", "shop"]).await;
    assert!(matches!(ended, Ok(Ok(()))) && written.lines().count() == 7, "{ended:?} {written}");
}

#[tokio::test]
async fn the_same_component_is_compiled_once() {
    let (one, other) = tokio::join!(load(extensions::PICKER, &[]), load(extensions::PICKER, &[]));
    assert_eq!(one.component().image_range(), other.component().image_range());
}

/// Each hostile extension ends with the error of its limit, and another tenant's concurrent call is not affected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_exceeds_a_limit_ends_with_its_error_and_disturbs_no_other() {
    let (hostile, good) = (Testbed::serving(PodApi::answer).await, Testbed::start().await);
    let call = CallLimits {
        cpu_time: Duration::from_millis(200),
        wall_time: Duration::from_secs(20),
        memory: 16 << 20,
        handles: 100,
        ..CallLimits::default()
    };
    let limits = TenantLimits { requests_per_second: 5, request_burst: 5, open_streams: 3, ..TenantLimits::default() };
    let limits = Limits { call, tenant: limits, ..Limits::default() };
    let limited = tenant(&hostile).with_limits(limits).unwrap();
    let brief = CallLimits { wall_time: Duration::from_millis(300), ..call };
    let brief = tenant(&hostile).with_limits(Limits { call: brief, ..limits }).unwrap();
    let beside = tenant(&good);
    let ended = async |tenant: &Tenant, mode: &str| {
        let modes = [mode];
        let (ended, beside) = tokio::join!(run(tenant, &modes), run(&beside, &["list", "shop"]));
        assert!(matches!(beside.0, Ok(Ok(()))) && beside.1.lines().count() == 7, "{mode}: {beside:?}");
        ended
    };
    assert!(matches!(ended(&limited, "spin").await.0, Err(Error::CpuTime(_))));
    assert!(matches!(ended(&limited, "allocate").await.0, Err(Error::Memory(limit)) if limit == 16 << 20));
    assert!(matches!(ended(&limited, "leak").await.0, Err(Error::Resources(64))));
    assert!(matches!(ended(&limited, "configurations").await.0, Err(Error::Handles(100))));
    let roomy = Limits { call: CallLimits { memory: 64 << 20, ..call }, ..limits };
    let roomy = limited.with_limits(roomy).unwrap();
    assert!(matches!(ended(&roomy, "strings").await.0, Err(Error::HostcallBytes(limit)) if limit == 1 << 20));
    assert!(matches!(ended(&limited, "recurse").await.0, Err(Error::Trap(_))));
    assert!(matches!(ended(&limited, "trap").await.0, Err(Error::Trap(_))));
    assert!(matches!(ended(&brief, "sleep").await.0, Err(Error::WallTime(_))));
    assert!(matches!(ended(&limited, "print").await.0, Err(Error::CpuTime(_) | Error::Trap(_) | Error::Exit(_))));
    let (flood, written) = ended(&limited, "flood").await;
    assert!(
        matches!(flood, Err(Error::Exit(1))) && written.contains("LimitExceeded") && written.contains("5 requests a second"),
        "{written}"
    );
    assert!(hostile.server.requests().len() <= 6, "no more requests were sent than the limit permits");
}

#[tokio::test]
async fn a_tenant_has_no_more_sandboxes_and_calls_than_its_limits() {
    let testbed = Testbed::start().await;
    let one = tenant(&testbed).with_limits(TenantLimits { instances: 1, ..TenantLimits::default() }).unwrap();
    let held = one.watch_namespaced_pods("shop", &incluster::types::WatchOptions::ALL).await.unwrap();
    assert!(matches!(one.namespace().await, Err(Error::Instances(1))));
    drop(held);
    assert_eq!(one.namespace().await.unwrap().as_deref(), Some("shop"));
    let one = one.with_limits(TenantLimits { concurrent_calls: 1, ..TenantLimits::default() }).unwrap();
    let list = || one.list_namespaced_pods("shop", &incluster::types::ListOptions::ALL);
    assert!(matches!(tokio::join!(list(), list()), (Ok(_), Err(Error::ConcurrentCalls(1)))));
    let none = one.with_limits(TenantLimits { concurrent_calls: 0, ..TenantLimits::default() });
    assert!(matches!(none, Err(Error::Limits { limit: "tenant.concurrentCalls", .. })));
}

/// Each open watch counts as an answer that is being read.
#[tokio::test]
async fn a_tenant_reads_no_more_answers_at_once_than_its_limit() {
    let store = PodStore::recorded();
    let testbed = Testbed::serving(store.handler()).await;
    let limits = TenantLimits { open_streams: 3, ..TenantLimits::default() };
    let (ended, written) = run(&tenant(&testbed).with_limits(limits).unwrap(), &["hold"]).await;
    assert!(matches!(ended, Err(Error::Exit(1))), "{ended:?}");
    assert!(written.contains("LimitExceeded") && written.contains("reads 3 answers"), "{written}");
}

/// The components are compiled again for an embedder's engine with other settings.
#[tokio::test]
async fn an_engine_of_the_embedders_own() {
    let testbed = Testbed::start().await;
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true).cranelift_opt_level(wasmtime::OptLevel::None);
    let runtime = Runtime::builder()
        .engine(wasmtime::Engine::new(&config).unwrap())
        .pool(Pool { places: 2, ..Pool::default() })
        .build()
        .unwrap();
    let server = Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(&runtime, "own").server(server).service_account_dir(testbed.volume.path());
    let tenant = tenant.policy(pods_of_shop()).build().unwrap();
    assert_eq!(tenant.list_namespaced_pods("shop", &incluster::types::ListOptions::ALL).await.unwrap().items.len(), 7);
}
