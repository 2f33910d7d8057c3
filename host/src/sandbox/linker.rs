//! The functions that a guest can call.

use super::ctx::{Ctx, View};
use super::runtime::Runtime;
use super::volume::HasFileSystem;
use crate::error::Error;
use wasmtime::component::{Component, HasData, InstancePre, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, HostResolveAddressStream, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::bindings::{CommandPre, cli, clocks, filesystem, io, random, sockets};
use wasmtime_wasi::p2::{DynPollable, SocketError};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView, WasiSocketsView};
use wasmtime_wasi_http::p2::bindings::http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

/// Adds the ordinary world of WASI 0.2 to a linker: `wasi:io`, `wasi:clocks`, `wasi:random`, `wasi:cli`, `wasi:filesystem` and `wasi:http`,
/// which `incluster-plugin.wasm` and `incluster.wasm` import; and `wasi:sockets`, which toolchains import for every component. Every use of
/// `wasi:sockets` fails with `access-denied`.
pub fn add_to_linker<T: View + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let l = linker;
    io::error::add_to_linker::<T, HasTable>(l, |t| t.incluster().ctx().table)?;
    io::poll::add_to_linker::<T, HasTable>(l, |t| t.incluster().ctx().table)?;
    io::streams::add_to_linker::<T, HasTable>(l, |t| t.incluster().ctx().table)?;

    clocks::wall_clock::add_to_linker::<T, WasiClocks>(l, |t| t.incluster().clocks())?;
    clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(l, |t| t.incluster().clocks())?;

    random::random::add_to_linker::<T, WasiRandom>(l, |t| t.incluster().random())?;
    random::insecure::add_to_linker::<T, WasiRandom>(l, |t| t.incluster().random())?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(l, |t| t.incluster().random())?;

    cli::environment::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::exit::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::stdin::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::stdout::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::stderr::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, |t| t.incluster().cli())?;

    filesystem::preopens::add_to_linker::<T, HasFileSystem>(l, |t| t.incluster().file_system())?;
    filesystem::types::add_to_linker::<T, HasFileSystem>(l, |t| t.incluster().file_system())?;

    sockets::instance_network::add_to_linker::<T, WasiSockets>(l, |t| t.incluster().sockets())?;
    network::add_to_linker::<T, WasiSockets>(l, &Default::default(), |t| t.incluster().sockets())?;
    ip_name_lookup::add_to_linker::<T, HasNoNames>(l, |t| NoNames(t.incluster().sockets()))?;
    sockets::tcp::add_to_linker::<T, WasiSockets>(l, |t| t.incluster().sockets())?;
    sockets::tcp_create_socket::add_to_linker::<T, WasiSockets>(l, |t| t.incluster().sockets())?;
    sockets::udp::add_to_linker::<T, WasiSockets>(l, |t| t.incluster().sockets())?;
    sockets::udp_create_socket::add_to_linker::<T, WasiSockets>(l, |t| t.incluster().sockets())?;

    http::outgoing_handler::add_to_linker::<T, WasiHttp>(l, |t| t.incluster().http())?;
    http::types::add_to_linker::<T, WasiHttp>(l, &Default::default(), |t| t.incluster().http())
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

struct HasNoNames;

impl HasData for HasNoNames {
    type Data<'a> = NoNames<'a>;
}

/// Look-ups of names, each of which is denied. (wasmtime's error for a look-up that is not permitted is the one for a broken name server.)
struct NoNames<'a>(WasiSocketsCtxView<'a>);

impl network::Host for NoNames<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        self.0.convert_error_code(error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.0.network_error_code(error)
    }
}

impl network::HostNetwork for NoNames<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.0, network)
    }
}

impl ip_name_lookup::Host for NoNames<'_> {
    fn resolve_addresses(&mut self, _: Resource<Network>, _: String) -> Result<Resource<ResolveAddressStream>, SocketError> {
        Err(ErrorCode::AccessDenied.into())
    }
}

impl HostResolveAddressStream for NoNames<'_> {
    fn resolve_next_address(&mut self, stream: Resource<ResolveAddressStream>) -> Result<Option<IpAddress>, SocketError> {
        self.0.resolve_next_address(stream)
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.0.subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        HostResolveAddressStream::drop(&mut self.0, stream)
    }
}

/// Links a component, if it imports nothing but what this crate offers.
pub(crate) fn pre_instantiate(runtime: &Runtime, component: &Component) -> Result<InstancePre<Ctx>, Error> {
    let mut linker = Linker::new(runtime.engine());
    add_to_linker(&mut linker).map_err(Error::Runtime)?;
    linker.instantiate_pre(component).map_err(|e| Error::not_linked(&e))
}

/// Links a component as a command, if it exports `wasi:cli/run`.
pub(crate) fn command(runtime: &Runtime, component: &Component) -> Result<CommandPre<Ctx>, Error> {
    CommandPre::new(pre_instantiate(runtime, component)?).map_err(|e| Error::not_linked(&e))
}
