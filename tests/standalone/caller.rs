//! Makes calls with the guest's own TLS, in an engine that offers a network and no wasi:http.

use crate::clock::{self, Clock, ClockView, HasClock};
use crate::faults::Call;
use crate::waiting::watches_are_waited_for;
use incluster::SERVICE_ACCOUNT_DIR;
use incluster::bindings::Plugin;
use incluster::types::{Error, Failure, JsonEvent, ListOptions, PagingOptions, PodEvent, RetryPolicy, WatchOptions};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::vec;
use testbed::{PodStore, Testbed};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress};
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxView, WasiView};

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::default);
static PLUGIN: LazyLock<Component> =
    LazyLock::new(|| Component::new(&ENGINE, incluster_standalone::PLUGIN).expect("a component"));

/// The path of the pods.
const PODS: &str = "/api/v1/namespaces/shop/pods";

/// A caller of one testbed.
pub struct Caller {
    host: String,
    port: String,
    volume: PathBuf,
    policy: RetryPolicy,
    has_network: bool,
    ahead: Duration,
    /// The addresses that every name resolves to; if empty, this machine resolves names.
    addresses: Vec<IpAddr>,
}

/// The data of a sandbox's store.
struct Sandbox {
    wasi: WasiCtx,
    table: ResourceTable,
    clock: Clock,
    addresses: vec::IntoIter<IpAddr>,
    all: Vec<IpAddr>,
}

/// A sandbox with a loaded configuration.
pub struct Loaded {
    store: Store<Sandbox>,
    plugin: Plugin,
    config: ResourceAny,
}

impl Caller {
    /// A caller that sends each request once, to this URL.
    pub fn at(url: &str, testbed: &Testbed) -> Caller {
        Caller::new(url, testbed.volume.path(), RetryPolicy::NEVER)
    }

    /// A caller that tries twice, and whose clock shortens long waits.
    pub fn impatient(testbed: &Testbed) -> Caller {
        Caller::within(testbed, Duration::from_secs(3600))
    }

    /// An impatient caller with this time limit for a call.
    pub fn within(testbed: &Testbed, call: Duration) -> Caller {
        let policy = RetryPolicy { attempts: Some(2), deadline: call.as_millis() as u32 };
        Caller::new(&testbed.server.url(), testbed.volume.path(), policy)
    }

    /// A caller that connects to this URL, with this volume and retry policy.
    pub fn new(url: &str, volume: &Path, policy: RetryPolicy) -> Caller {
        let authority = url.strip_prefix("https://").expect("a URL");
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
        let (ahead, addresses) = (Duration::ZERO, Vec::new());
        Caller { host: host.into(), port: port.into(), volume: volume.into(), policy, has_network: true, ahead, addresses }
    }

    /// The caller in a host that permits no connections.
    pub fn without_network(self) -> Caller {
        Caller { has_network: false, ..self }
    }

    /// The caller in a sandbox whose wall clock is ahead by this much.
    pub fn ahead(self, ahead: Duration) -> Caller {
        Caller { ahead, ..self }
    }

    /// The caller in a host where every name resolves to these addresses.
    pub fn resolving_to(self, addresses: Vec<IpAddr>) -> Caller {
        Caller { addresses, ..self }
    }

    /// Creates a sandbox and loads the configuration in it.
    pub async fn load(&self) -> Loaded {
        let mut wasi = WasiCtx::builder();
        wasi.env("KUBERNETES_SERVICE_HOST", &self.host).env("KUBERNETES_SERVICE_PORT", &self.port);
        wasi.wall_clock(Ahead(self.ahead));
        if self.has_network {
            wasi.inherit_network().allow_tcp(true).allow_ip_name_lookup(true);
        }
        wasi.preopened_dir(&self.volume, SERVICE_ACCOUNT_DIR, FsPerms::ReadOnly).unwrap();
        let sandbox = Sandbox {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            clock: Clock::new(),
            addresses: self.addresses.clone().into_iter(),
            all: self.addresses.clone(),
        };
        let mut store = Store::new(&ENGINE, sandbox);
        let mut linker = Linker::new(&ENGINE);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        linker.allow_shadowing(true);
        clock::add_to_linker(&mut linker).unwrap();
        if !self.addresses.is_empty() {
            let next = "[method]resolve-address-stream.resolve-next-address";
            let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12").unwrap();
            lookup
                .func_wrap(next, |mut store: StoreContextMut<'_, Sandbox>, (_,): (Resource<ResolveAddressStream>,)| {
                    let Sandbox { addresses, all, .. } = store.data_mut();
                    let address = addresses.next().map(IpAddress::from);
                    if address.is_none() {
                        // The next lookup starts again with the first address.
                        *addresses = all.clone().into_iter();
                    }
                    Ok((Ok::<_, ErrorCode>(address),))
                })
                .unwrap();
        }
        let plugin = Plugin::instantiate_async(&mut store, &PLUGIN, &linker).await.unwrap();
        let client = plugin.incluster_kubernetes_client();
        let config = client.call_load_incluster_config(&mut store).await.unwrap().unwrap();
        client.config().call_set_retry_policy(&mut store, config, self.policy).await.unwrap();
        Loaded { store, plugin, config }
    }

    /// Makes a call. Returns the number of pods.
    pub async fn outcome(&self, call: Call) -> Result<usize, Error> {
        self.load().await.outcome(call).await
    }

    /// Makes a call. Returns the number of pods, or the failure with its number of attempts.
    pub async fn answer(&self, call: Call) -> Result<usize, Failure> {
        self.load().await.answer(call).await
    }
}

impl Loaded {
    /// Runs the test of `waiting`.
    pub async fn waits(&mut self, pods: &PodStore) {
        watches_are_waited_for(&mut self.store, &self.plugin, self.config, pods).await.unwrap();
    }

    /// Watches the pods after this version, and calls `enough` with each event until it returns `true`.
    pub async fn watch(&mut self, from: &str, mut enough: impl FnMut(PodEvent, &Clock) -> bool) {
        let Loaded { store, plugin, config } = self;
        let client = plugin.incluster_kubernetes_client();
        let options = WatchOptions { resource_version: Some(from.into()), ..WatchOptions::ALL };
        let watch = client.call_watch_namespaced_pods(&mut *store, *config, "shop", &options).await.unwrap().unwrap();
        loop {
            let event = client.pod_watch().call_next(&mut *store, watch, None).await.unwrap().unwrap().unwrap();
            if enough(event, &store.data().clock) {
                return;
            }
        }
    }

    /// The sandbox's clock.
    pub fn clock(&self) -> &Clock {
        &self.store.data().clock
    }

    /// Makes a call. Returns the number of pods.
    pub async fn outcome(&mut self, call: Call) -> Result<usize, Error> {
        self.answer(call).await.map_err(|failure| failure.error)
    }

    /// Makes a call. Returns the number of pods, or the failure with its number of attempts.
    pub async fn answer(&mut self, call: Call) -> Result<usize, Failure> {
        let Loaded { store, plugin, config } = self;
        let client = plugin.incluster_kubernetes_client();
        let mut pods = 0;
        match call {
            Call::List => {
                let list = client.call_list_namespaced_pods(&mut *store, *config, "shop", &ListOptions::ALL).await.unwrap();
                pods = list?.items.len();
            }
            Call::Page => {
                let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
                let paging = PagingOptions::DEFAULT;
                let pages = client.call_page_namespaced_pods(&mut *store, *config, "shop", &options, paging).await.unwrap()?;
                while let Some(page) = client.pod_pages().call_next(&mut *store, pages).await.unwrap()? {
                    pods += page.items.len();
                }
            }
            Call::Stream => {
                let options = &ListOptions::ALL;
                let pages = client.call_stream_namespaced_pods(&mut *store, *config, "shop", options).await.unwrap()?;
                while let Some(page) = client.pod_pages().call_next(&mut *store, pages).await.unwrap()? {
                    pods += page.items.len();
                }
            }
            Call::JsonPage => {
                let options = ListOptions { limit: Some(3), ..ListOptions::ALL };
                let paging = PagingOptions::DEFAULT;
                let pages = client.call_page_json(&mut *store, *config, PODS, &options, paging).await.unwrap()?;
                while let Some(page) = client.json_pages().call_next(&mut *store, pages).await.unwrap()? {
                    pods += page.items.len();
                }
            }
            Call::JsonWatch => {
                let watch = client.call_watch_json(&mut *store, *config, PODS, &WatchOptions::ALL).await.unwrap()?;
                while let Some(JsonEvent::Changed(_)) = client.json_watch().call_next(&mut *store, watch, None).await.unwrap()? {
                    pods += 1;
                }
            }
            Call::Watch => {
                let options = &WatchOptions::ALL;
                let watch = client.call_watch_namespaced_pods(&mut *store, *config, "shop", options).await.unwrap()?;
                while let Some(PodEvent::Changed(_)) = client.pod_watch().call_next(&mut *store, watch, None).await.unwrap()? {
                    pods += 1;
                }
            }
            Call::BriefWatch => {
                let options = WatchOptions { timeout_seconds: Some(1), resource_version: Some("1".into()), ..WatchOptions::ALL };
                let watch = client.call_watch_namespaced_pods(&mut *store, *config, "shop", &options).await.unwrap()?;
                while client
                    .pod_watch()
                    .call_next(&mut *store, watch, None)
                    .await
                    .unwrap()?
                    .is_some_and(|event| event != PodEvent::Ended)
                {
                    pods += 1;
                }
            }
        }
        Ok(pods)
    }
}

/// A wall clock that is ahead by this much.
struct Ahead(Duration);

impl HostWallClock for Ahead {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + self.0
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl HasClock for Sandbox {
    fn clock(&mut self) -> ClockView<'_> {
        ClockView { clock: self.clock.clone(), table: &mut self.table }
    }
}
