//! What a guest can call.

use super::ctx::{Ctx, View};
use super::runtime::Runtime;
use super::volume::HasFileSystem;
use crate::error::Error;
use wasmtime::component::{Component, HasData, InstancePre, Linker, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::{CommandPre, cli, clocks, filesystem, io, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi_http::p2::bindings::http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

/// Adds what `incluster-plugin.wasm` and `incluster.wasm` import: `wasi:io`, `wasi:clocks`, `wasi:random`, `wasi:cli`,
/// `wasi:filesystem` and `wasi:http/outgoing-handler`. There is no `wasi:sockets`: a component that imports it does not
/// link.
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

    http::outgoing_handler::add_to_linker::<T, WasiHttp>(l, |t| t.incluster().http())?;
    http::types::add_to_linker::<T, WasiHttp>(l, &Default::default(), |t| t.incluster().http())
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// A component, if it imports nothing but what this crate has.
pub(crate) fn pre_instantiate(runtime: &Runtime, component: &Component) -> Result<InstancePre<Ctx>, Error> {
    let mut linker = Linker::new(runtime.engine());
    add_to_linker(&mut linker).map_err(Error::Runtime)?;
    linker.instantiate_pre(component).map_err(|e| Error::not_linked(&e))
}

/// The same as a command, if it exports `wasi:cli/run`.
pub(crate) fn command(runtime: &Runtime, component: &Component) -> Result<CommandPre<Ctx>, Error> {
    CommandPre::new(pre_instantiate(runtime, component)?).map_err(|e| Error::not_linked(&e))
}
