//! Makes connections to the API server: it resolves the name, connects by TCP, and then by TLS, each before its deadline.

use crate::phase::Phase;
use crate::tcp::{Connecting, Stream, Tcp};
use incluster_client::system::Waits;
use incluster_client::transport::{Stopped, failed, other};
use incluster_client::types::{Error, TransportError};
use incluster_core::Server;
use incluster_core::limits::RequestLimits;
use incluster_core::set_back::SetBack;
use incluster_core::tls::{self, Trust, is_untrusted};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddress, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress};

/// The head start of an address before the next one is tried beside it (RFC 8305), as in the incluster host.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection, and TLS over it.
pub type Connected = (Rc<Tcp>, TlsStream<Stream>);

/// Connects to the server, which must present a certificate that one of the CAs in ca.crt issued.
pub async fn connect(
    server: &Server,
    trust: &Trust,
    limits: &RequestLimits,
    set_back: &SetBack,
    until: Instant,
    waits: &Waits,
) -> Result<Connected, Stopped> {
    // The trust comes before the connection: without anything to trust, the server is not contacted.
    let config = configuration(trust)?;
    let connected = match connect_with(server, config.clone(), limits, set_back, until, waits).await? {
        // The cluster's CA may have been rotated since ca.crt was read.
        Err(error) if is_untrusted(&error) => {
            let now = configuration(trust)?;
            if Arc::ptr_eq(&config, &now) {
                Err(error)
            } else {
                connect_with(server, now, limits, set_back, until, waits).await?
            }
        }
        connected => connected,
    };
    connected.map_err(|error| failed(tls::of_tls(&error, server)).into())
}

fn configuration(trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    trust.config(&|_| {}).map_err(|error| failed(tls::of_trust(&error)))
}

/// Makes a connection. Returns why there is none, or why there is no TLS.
async fn connect_with(
    server: &Server,
    config: Arc<ClientConfig>,
    limits: &RequestLimits,
    set_back: &SetBack,
    until: Instant,
    waits: &Waits,
) -> Result<io::Result<Connected>, Stopped> {
    let name = ServerName::try_from(server.host().to_owned()).map_err(|_| other("the API server's name is not valid in TLS"))?;
    let (address, tcp) = connect_tcp(server, set_back, &Phase::of("connecting", limits.connect, until, waits)).await?;
    let mut handshake = TlsConnector::from(config).connect(name, Stream::new(tcp.clone()));
    let phase = Phase::of("TLS handshake", limits.handshake, until, waits);
    let tls = tcp.drive(&phase, |cx| Pin::new(&mut handshake).poll(cx)).await;
    set_back.tried(address, matches!(tls, Ok(Ok(_))));
    let tls = tls?;
    Ok(tls.map(|tls| (tcp, tls)))
}

/// Connects to the first of the server's addresses that answers, so that a dead one costs little.
async fn connect_tcp(server: &Server, set_back: &SetBack, phase: &Phase<'_>) -> Result<(SocketAddr, Rc<Tcp>), Stopped> {
    let addresses = addresses(server, phase).await?.into_iter().map(|ip| SocketAddr::new(ip, server.port()));
    let mut left = set_back.in_order(addresses.collect()).into_iter();
    let mut attempts: Vec<(SocketAddr, Connecting)> = Vec::new();
    let mut why = Error::Transport(TransportError::NameNotResolved(String::new()));
    let mut is_next_ones_turn = true;
    loop {
        for (address, connecting) in std::mem::take(&mut attempts) {
            match connecting.finish() {
                Ok(Ok(tcp)) => return Ok((address, tcp)),
                Ok(Err(connecting)) => attempts.push((address, connecting)),
                Err(code) => (why, is_next_ones_turn) = (not_connected(code, address), true),
            }
        }
        if is_next_ones_turn {
            match left.next().map(|address| (address, Connecting::to(wasi_address(address)))) {
                Some((address, Ok(connecting))) => attempts.push((address, connecting)),
                Some((address, Err(code))) => {
                    why = not_connected(code, address);
                    continue;
                }
                None if attempts.is_empty() => return Err(why.into()),
                None => {}
            }
        }
        let ready: Vec<_> = attempts.iter().map(|(_, connecting)| &connecting.ready).collect();
        let head_start = (left.len() > 0).then_some(HEAD_START);
        is_next_ones_turn = !phase.wait_at_most(&ready, head_start).await?;
    }
}

fn not_connected(code: ErrorCode, address: SocketAddr) -> Error {
    Error::Transport(match code {
        ErrorCode::AccessDenied => {
            let hint = "under the wasmtime CLI, -S inherit-network permits it";
            return Error::Denied(format!("the host does not permit connections to {address}; {hint}"));
        }
        ErrorCode::ConnectionRefused => TransportError::ConnectionRefused(String::new()),
        ErrorCode::RemoteUnreachable | ErrorCode::AddressNotBindable => TransportError::Unreachable(String::new()),
        ErrorCode::NotSupported => TransportError::Unreachable("the host does not support this kind of address".into()),
        ErrorCode::Timeout => TransportError::Timeout("connecting".into()),
        ErrorCode::ConnectionReset | ErrorCode::ConnectionAborted => TransportError::ConnectionLost("while connecting".into()),
        // As in the incluster host: another attempt may succeed.
        code => TransportError::Unreachable(code.message().into()),
    })
}

/// The server's IP address, or the addresses that its name resolves to.
async fn addresses(server: &Server, phase: &Phase<'_>) -> Result<Vec<IpAddr>, Stopped> {
    if let Ok(ip) = server.host().parse() {
        return Ok(vec![ip]);
    }
    let name = server.name_to_resolve();
    match resolve(&name, phase).await {
        // A hosts file has names without the final dot, and glibc does not find them by a name with it.
        Err(Stopped::Failed(_)) if name != server.host() => resolve(server.host(), phase).await,
        resolved => resolved,
    }
}

async fn resolve(name: &str, phase: &Phase<'_>) -> Result<Vec<IpAddr>, Stopped> {
    let answers = resolve_addresses(&instance_network(), name).map_err(not_resolved)?;
    let mut addresses = Vec::new();
    loop {
        match answers.resolve_next_address() {
            Ok(Some(address)) => addresses.push(ip(address)),
            Ok(None) => return Ok(addresses),
            Err(ErrorCode::WouldBlock) => phase.wait(&[&Rc::new(answers.subscribe())]).await?,
            Err(code) => return Err(not_resolved(code).into()),
        }
    }
}

fn not_resolved(code: ErrorCode) -> Error {
    let text = code.message();
    Error::Transport(TransportError::NameNotResolved(match code {
        // Where name lookups are forbidden, wasmtime reports the same error as for a broken name server.
        ErrorCode::AccessDenied | ErrorCode::PermanentResolverFailure => {
            format!("{text} Under the wasmtime CLI, -S allow-ip-name-lookup permits name lookups")
        }
        _ => text.into(),
    }))
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(a, b, c, d, e, f, g, h).into(),
    }
}

fn wasi_address(address: SocketAddr) -> IpSocketAddress {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: ip.octets().into() }),
        IpAddr::V6(ip) => {
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address: ip.segments().into(), scope_id: 0 })
        }
    }
}
