//! Tests of the limits that end a call.

use crate::{kubernetes, portable, tenant, tenant_at};
use incluster::types::{ConfigError, Error, ListOptions, TransportError};
use incluster::{CallLimits, Error as HostError, Limits, RequestLimits, Tenant, TenantLimits};
use std::time::Duration;
use testbed::{Answer, Ca, Recording, Server, TOKEN, Testbed, Volume};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

const SHORT: Duration = Duration::from_millis(50);

async fn list(tenant: &Tenant) -> Result<usize, HostError> {
    tenant.list_namespaced_pods("shop", &ListOptions::ALL).await.map(|list| list.items.len())
}

/// A list of many pods.
fn long_list(pods: usize) -> Answer {
    let recorded: serde_json::Value = serde_json::from_slice(&Recording::read("list-json").answer.body).unwrap();
    let pod = recorded["items"][0].to_string();
    let body = format!(r#"{{"kind":"PodList","metadata":{{}},"items":[{}]}}"#, vec![pod; pods].join(","));
    Answer::new(200, body).header("content-type", "application/json")
}

#[tokio::test]
async fn response_bytes() {
    let answer = long_list(100);
    let bytes = answer.body.len() as u64;
    let testbed = Testbed::serving(move |_| answer.clone()).await;
    let limited =
        |response_bytes| tenant(&testbed).with_limits(RequestLimits { response_bytes, ..RequestLimits::default() }).unwrap();
    assert_eq!(list(&limited(bytes)).await.unwrap(), 100);
    match kubernetes(list(&limited(bytes - 1)).await) {
        Err(Error::LimitExceeded(text)) => assert!(text.contains(&(bytes - 1).to_string()), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn memory() {
    let answer = long_list(2000);
    let testbed = Testbed::serving(move |_| answer.clone()).await;
    let memory = 4 << 20;
    let limited = tenant(&testbed).with_limits(CallLimits { memory, ..CallLimits::default() }).unwrap();
    // A list with a limit of its own is held in memory as a whole.
    let options = ListOptions { limit: Some(5000), ..ListOptions::ALL };
    let ended = limited.list_namespaced_pods("shop", &options).await.unwrap_err();
    assert!(matches!(ended, HostError::Memory(limit) if limit == memory), "{ended:?}");
    assert_eq!(list(&tenant(&testbed)).await.unwrap(), 2000);
    // Other lists are handed over as they arrive.
    assert_eq!(list(&limited).await.unwrap(), 2000);
}

#[tokio::test]
async fn cpu_time() {
    let answer = long_list(5000);
    let testbed = Testbed::serving(move |_| answer.clone()).await;
    let cpu_time = Duration::from_millis(10);
    let limited = tenant(&testbed).with_limits(CallLimits { cpu_time, ..CallLimits::default() }).unwrap();
    let ended = list(&limited).await.unwrap_err();
    assert!(matches!(ended, HostError::CpuTime(limit) if limit == cpu_time), "{ended:?}");
}

/// Waiting does not count as CPU time: with a budget of a few ticks, a guest reads a body that arrives slowly.
#[tokio::test]
async fn waiting_is_not_cpu_time() {
    let testbed = Testbed::serving(|_| Answer { drips: true, ..Recording::read("list-json").answer }).await;
    let cpu_time = Duration::from_millis(100);
    let limited = tenant(&testbed).with_limits(CallLimits { cpu_time, ..CallLimits::default() }).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(list(&limited).await.unwrap(), 7);
    assert!(begun.elapsed() > 3 * cpu_time, "the body arrived slowly");
}

/// A named pipe in the volume, to which nothing writes, does not block the host.
#[tokio::test]
async fn a_pipe_in_the_volume() {
    for name in ["token", "namespace"] {
        let testbed = Testbed::start().await;
        testbed.volume.remove(name);
        let pipe = testbed.volume.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for tenant in [tenant(&testbed), portable(&testbed)] {
            assert!(matches!(kubernetes(list(&tenant).await), Err(Error::Config(ConfigError::FileUnreadable(_)))));
        }
        assert_eq!(testbed.server.connections(), 0);
    }
    let testbed = Testbed::start().await;
    testbed.volume.remove("ca.crt");
    assert!(std::process::Command::new("mkfifo").arg(testbed.volume.path().join("ca.crt")).status().unwrap().success());
    assert!(matches!(kubernetes(list(&tenant(&testbed)).await), Err(Error::Config(ConfigError::FileUnreadable(_)))));
}

/// `Duration::MAX` means no time limit.
#[tokio::test]
async fn no_limits() {
    let testbed = Testbed::start().await;
    let none = Duration::MAX;
    let limits = Limits {
        call: CallLimits { wall_time: none, cpu_time: none, ..CallLimits::default() },
        request: RequestLimits {
            connect: none,
            handshake: none,
            first_byte: none,
            between_bytes: none,
            ..RequestLimits::default()
        },
        ..Limits::default()
    };
    assert_eq!(list(&tenant(&testbed).with_limits(limits).unwrap()).await.unwrap(), 7);
}

/// A server that sends headers and half a body, then nothing.
#[tokio::test]
async fn between_bytes() {
    let testbed = Testbed::serving(|_| {
        let half = Recording::read("list-json").answer;
        Answer { stalls: true, ..half }
    })
    .await;
    let limited = tenant(&testbed).with_limits(RequestLimits { between_bytes: SHORT, ..RequestLimits::default() }).unwrap();
    match kubernetes(list(&limited).await) {
        Err(Error::Transport(TransportError::Timeout(phase))) => assert_eq!(phase, "between bytes"),
        other => panic!("{other:?}"),
    }
}

/// A server that accepts connections and then sends nothing.
async fn silent() -> Testbed {
    let server = Server::start_raw(|mut stream| async move {
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    let ca = Ca::new("ca");
    let volume = Volume::new(TOKEN, &ca.pem(), "shop");
    Testbed { ca, server, volume }
}

/// A listener with a full queue that nobody accepts from: a further connection is neither made nor refused.
#[tokio::test]
async fn connect() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Linux queues one connection more than the backlog.
    let _queue = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    let testbed = Testbed::start().await;
    let there = tenant_at(&format!("https://{address}"), &testbed);
    match kubernetes(list(&there.with_limits(RequestLimits { connect: SHORT, ..RequestLimits::default() }).unwrap()).await) {
        Err(Error::Transport(TransportError::Timeout(phase))) => assert_eq!(phase, "connecting"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn handshake() {
    let testbed = silent().await;
    let limited = tenant(&testbed).with_limits(RequestLimits { handshake: SHORT, ..RequestLimits::default() }).unwrap();
    match kubernetes(list(&limited).await) {
        Err(Error::Transport(TransportError::Timeout(phase))) => assert_eq!(phase, "TLS handshake"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn wall_time() {
    let testbed = silent().await;
    let limited = tenant(&testbed).with_limits(CallLimits { wall_time: SHORT, ..CallLimits::default() }).unwrap();
    assert!(matches!(list(&limited).await, Err(HostError::WallTime(limit)) if limit == SHORT));
}

/// A server that completes the handshake and answers no request.
#[tokio::test]
async fn first_byte() {
    let testbed = Testbed::serving_async(|_| std::future::pending()).await;
    let second = Duration::from_secs(1);
    let limits = RequestLimits { first_byte: SHORT, connect: second, handshake: second, ..RequestLimits::default() };
    match kubernetes(list(&tenant(&testbed).with_limits(limits).unwrap()).await) {
        Err(Error::Transport(TransportError::Timeout(phase))) => assert_eq!(phase, "first byte"),
        other => panic!("{other:?}"),
    }
}

/// The defaults are those that `SECURITY.md` lists.
#[test]
fn the_defaults_are_as_documented() {
    let (_, said) = crate::tidy::files("SECURITY.md").remove(0);
    let Limits { tenant, call, request } = Limits::default();
    let TenantLimits { instances, concurrent_calls, open_streams, requests_per_second, request_burst } = tenant;
    assert!(instances == concurrent_calls && instances == open_streams);
    let seconds = |limit: Duration| format!("{} s", limit.as_secs());
    let phases = [request.connect, request.handshake, request.first_byte, request.between_bytes, request.watch_pause];
    for row in [
        format!(
            "of a sandbox: memory, elements of each table, handles | {} MiB, {}, {} |",
            call.memory >> 20,
            call.table_elements,
            call.handles
        ),
        format!("hands over at once; resources of the host's | {} MiB, 64 |", call.hostcall_bytes >> 20),
        format!("of a call: computing time, the whole call | {}, {} |", seconds(call.cpu_time), seconds(call.wall_time)),
        format!("of a tenant: sandboxes, calls, open answers | {instances} each |"),
        format!("its requests | {requests_per_second} a second, {request_burst} at once |"),
        format!("in a watch | {} |", phases.map(seconds).join(", ")),
        format!("an answer's body | {} MiB |", request.response_bytes >> 20),
    ] {
        assert!(said.contains(&row), "{row}");
    }
}
