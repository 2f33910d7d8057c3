//! What one sandbox is given: three environment variables, one folder to read, and one door to the network.

use super::volume::{FileSystem, Volume};
use crate::door::{Door, Egress};
use crate::error::{Error, Trap};
use crate::limits::{CallLimits, MAX_FIELDS_BYTES, MAX_RESOURCES};
use incluster_core::files::{self, SERVICE_ACCOUNT_DIR};
use incluster_core::server::{HOST_VARIABLE, PORT_VARIABLE};
use incluster_core::watching::LISTS_FIRST_VARIABLE;
use incluster_core::{limits, text};
use rustix::io::Errno;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::Span;
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::cli::{StdinStream, StdoutStream};
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::{FsPerms, HostMonotonicClock, HostWallClock, I32Exit, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The state of one sandbox, for a [`Store`]. One sandbox is for one cluster and one identity.
pub struct Ctx {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    egress: Egress,
    /// What the guest sees of the service account's folder, if the token stays outside.
    volume: Option<Arc<Volume>>,
    table: ResourceTable,
    limits: CallLimits,
    /// The total size of the guest's linear memories, in bytes.
    memory: usize,
    /// Whether the memory has grown since its size was recorded.
    has_grown: bool,
    /// How many bytes of `memory` were permitted last. The engine may still fail to map them.
    growing: usize,
    exceeded: Option<Error>,
}

/// Access to the [`Ctx`] in a store's data, for [`add_to_linker`](crate::add_to_linker).
pub trait View: Send {
    /// The sandbox's state.
    fn incluster(&mut self) -> &mut Ctx;
}

impl View for Ctx {
    fn incluster(&mut self) -> &mut Ctx {
        self
    }
}

impl Ctx {
    /// Begins another call. Forgets the limit that an earlier call exceeded, because it is not why this call ends.
    pub(crate) fn begin_call(&mut self) {
        self.exceeded = None;
    }

    /// The total size of the guest's linear memories, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Records the memory's size in the call's span, if it grew during the call. Once, because subscribers add each recording to their lines.
    pub(crate) fn record_growth(&mut self) {
        if mem::take(&mut self.has_grown) {
            Span::current().record("memory_bytes", self.memory);
        }
    }

    /// The sandbox's files.
    pub(crate) fn file_system(&mut self) -> FileSystem<'_> {
        let volume = self.volume.clone();
        FileSystem { wasi: self.filesystem(), volume }
    }
}

impl Drop for Ctx {
    /// A call that is cut short, such as by its wall time, drops its store within its span.
    fn drop(&mut self) {
        self.record_growth();
    }
}

/// What every sandbox of a tenant is given.
pub(crate) struct Given {
    pub(crate) door: Arc<Door>,
    pub(crate) folder: Folder,
    pub(crate) limits: CallLimits,
    /// The environment variables.
    variables: [(&'static str, String); 3],
}

impl Given {
    pub(crate) fn new(door: Arc<Door>, folder: Folder, limits: CallLimits) -> Arc<Given> {
        let (host, port) = (door.server.host().into(), door.server.port().to_string());
        let variables = [(HOST_VARIABLE, host), (PORT_VARIABLE, port), (limits::VARIABLE, door.limits.told())];
        Arc::new(Given { door, folder, limits, variables })
    }
}

/// What sandboxes see of the service account's folder.
#[derive(Clone)]
pub(crate) enum Folder {
    /// The folder itself.
    Real(PathBuf),
    /// A volume in place of the folder, if the token stays outside.
    Volume(Arc<Volume>),
}

/// Builds a [`Ctx`], for [`Tenant::store`](crate::Tenant::store) or from [`Tenant::ctx`](crate::Tenant::ctx). The guest has nothing that the
/// builder does not give it: no environment, arguments, standard input, files, sockets, or clock resolution beyond WASI's.
#[must_use = "a builder makes nothing until it is built"]
pub struct CtxBuilder {
    given: Arc<Given>,
    wasi: WasiCtxBuilder,
}

impl CtxBuilder {
    pub(crate) fn new(given: &Arc<Given>) -> Result<CtxBuilder, Error> {
        let mut wasi = WasiCtxBuilder::new();
        if let Folder::Real(dir) = &given.folder {
            // The folder is on a local file system (a tmpfs in pods): a read is shorter than a hop to another thread.
            wasi.allow_blocking_current_thread(reads_at_once(dir));
            // Without the folder, the guest finds no files, and reports that with a typed error.
            if dir.exists() {
                let opened = wasi.preopened_dir(dir, SERVICE_ACCOUNT_DIR, FsPerms::ReadOnly);
                opened.map_err(|source| Error::ServiceAccount { path: dir.clone(), source })?;
            }
        }
        Ok(CtxBuilder { given: given.clone(), wasi })
    }

    /// The guest's command line, beginning with its own name. Empty by default.
    pub fn args(mut self, args: &[impl AsRef<str>]) -> Self {
        self.wasi.args(args);
        self
    }

    /// Where the guest's standard output goes. Nowhere by default.
    pub fn stdout(mut self, stdout: impl StdoutStream + 'static) -> Self {
        self.wasi.stdout(stdout);
        self
    }

    /// Where the guest's standard error goes. Nowhere by default.
    pub fn stderr(mut self, stderr: impl StdoutStream + 'static) -> Self {
        self.wasi.stderr(stderr);
        self
    }

    /// Where the guest's standard input comes from. Empty by default.
    pub fn stdin(mut self, stdin: impl StdinStream + 'static) -> Self {
        self.wasi.stdin(stdin);
        self
    }

    /// The guest's clocks. The host's by default.
    pub fn clocks(mut self, wall: impl HostWallClock + 'static, monotonic: impl HostMonotonicClock + 'static) -> Self {
        self.wasi.wall_clock(wall).monotonic_clock(monotonic);
        self
    }

    /// The sandbox's state.
    pub fn build(mut self) -> Ctx {
        let Given { door, folder, limits, variables } = &*self.given;
        let volume = if let Folder::Volume(volume) = folder { Some(volume.clone()) } else { None };
        if door.lists_first.load(Ordering::Relaxed) {
            self.wasi.env(LISTS_FIRST_VARIABLE, "1");
        }
        self.wasi.envs(variables).max_random_size(limits.hostcall_bytes as u64).allow_tcp(false).allow_udp(false);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Ctx {
            wasi: self.wasi.build(),
            http,
            egress: Egress::new(door.clone()),
            volume,
            table,
            limits: *limits,
            memory: 0,
            has_grown: false,
            growing: 0,
            exceeded: None,
        }
    }
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.egress }
    }
}

/// Applies the limits of a sandbox's [`Ctx`] to its store: memory, tables, and what the guest hands over; and makes guest code yield
/// every 2 ms. [`Tenant::store`](crate::Tenant::store) and [`Sandboxes`](crate::Sandboxes) do this themselves. For a store that you make in
/// another way: call this, hold a permit of [`Runtime::admit`](crate::Runtime::admit) for as long as the store exists, and make calls under
/// [`Tenant::run`](crate::Tenant::run), which ends those that take too long.
pub fn limit<T: View>(store: &mut Store<T>) {
    let CallLimits { hostcall_bytes, handles, .. } = store.data_mut().incluster().limits;
    store.limiter(|data| data.incluster());
    store.set_hostcall_fuel(hostcall_bytes);
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
}

/// Why guest code ended without an answer: the limit that it exceeded, else an error of the host, else a trap.
pub(crate) fn ended(ctx: &mut Ctx, trap: wasmtime::Error) -> Error {
    if let Some(exceeded) = ctx.exceeded.take() {
        return exceeded;
    }
    let trap = match trap.downcast::<Error>() {
        Ok(error) => return error,
        Err(trap) => trap,
    };
    if let Some(exit) = trap.downcast_ref::<I32Exit>() {
        return Error::Exit(exit.0);
    }
    // wasmtime has no public types for the next two errors.
    let why = trap.root_cause().to_string();
    if why.contains("fuel allocated for hostcalls") {
        return Error::HostcallBytes(ctx.limits.hostcall_bytes);
    }
    if why.contains("store handle limit exceeded") {
        return Error::Handles(ctx.limits.handles);
    }
    if let Some(refused) = not_mapped(&trap) {
        return refused;
    }
    match trap.downcast_ref::<ResourceTableError>() {
        Some(ResourceTableError::Full) => Error::Resources(MAX_RESOURCES),
        _ => Error::Trap(Trap::new(&trap)),
    }
}

/// The error for a failure of the engine, if the operating system refused it something.
fn not_mapped(error: &wasmtime::Error) -> Option<Error> {
    let is_the_systems = error.chain().any(|cause| cause.is::<Errno>());
    is_the_systems.then(|| Error::NotMapped { reason: text::error(&format_args!("{error:#}")) })
}

impl ResourceLimiter for Ctx {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.growing = 0;
        // wasmtime looks at the memory's own maximum after this.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let limit = self.limits.memory;
        let all = self.memory.saturating_add(desired.saturating_sub(current));
        if all > limit {
            // A guest that cannot grow its memory aborts. This distinguishes the limit from a bug.
            self.exceeded.get_or_insert(Error::Memory(limit));
            return Ok(false);
        }
        (self.growing, self.memory) = (all - self.memory, all);
        self.has_grown = true;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory -= mem::take(&mut self.growing);
        // A guest that cannot grow its memory aborts.
        if let Some(refused) = not_mapped(&error) {
            self.exceeded.get_or_insert(refused);
        }
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.table_elements;
        if desired > limit {
            self.exceeded.get_or_insert(Error::Table(limit));
        }
        Ok(desired <= limit)
    }
}

/// Whether reading the service account's files never blocks: what exists is a file or a folder, not a pipe or a device.
fn reads_at_once(service_account_dir: &Path) -> bool {
    [files::TOKEN, files::CA, files::NAMESPACE].iter().all(|name| match fs::metadata(service_account_dir.join(name)) {
        Ok(found) => found.is_file() || found.is_dir(),
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_operating_system_is_not_a_trap() {
        let refused = wasmtime::Error::from(Errno::NOMEM).context("mmap failed to reserve 0x1000 bytes");
        let error = not_mapped(&refused).unwrap();
        assert!(error.is_retryable() && error.to_string().contains("mmap failed to reserve 0x1000 bytes"), "{error}");
        assert!(not_mapped(&wasmtime::Error::msg("memory growth exceeds memory type's limits")).is_none());
    }
}
