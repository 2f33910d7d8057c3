//! Tests of tokens, certificates and volumes that change while they are in use.

use crate::waiting::watches_are_waited_for;
use crate::{RUNTIME, answer, kubernetes, list_shop, portable, tenant};
use incluster::bindings::Plugin;
use incluster::types::{ConfigError, Error, ListOptions, PodList, RetryPolicy, TransportError};
use incluster::{Ctx, Tenant, TenantLimits, TenantStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use testbed::{Answer, Ca, PodApi, PodStore, Recording, TOKEN, Testbed};
use wasmtime::Store;
use wasmtime::component::{Linker, ResourceAny};

/// A guest's wall clock and monotonic clock, which can be ahead of the real ones.
#[derive(Clone)]
struct Clock {
    begun: Instant,
    ahead: Arc<AtomicU64>,
}

impl Clock {
    fn ahead(&self) -> Duration {
        Duration::from_secs(self.ahead.load(Ordering::SeqCst))
    }

    fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl wasmtime_wasi::HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + self.ahead()
    }
}

impl wasmtime_wasi::HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        (self.begun.elapsed() + self.ahead()).as_nanos() as u64
    }
}

/// One sandbox with one `config`, kept across calls.
struct Kept {
    store: TenantStore<Ctx>,
    plugin: Plugin,
    config: ResourceAny,
    clock: Clock,
}

impl Kept {
    async fn new(tenant: &Tenant) -> Kept {
        let mut linker = Linker::<Ctx>::new(RUNTIME.engine());
        incluster::add_to_linker(&mut linker).unwrap();
        let clock = Clock { begun: Instant::now(), ahead: Arc::default() };
        let mut store = tenant.store(|ctx| ctx.clocks(clock.clone(), clock.clone()).build()).await.unwrap();
        let load = async |mut store: &mut Store<Ctx>| {
            let plugin = Plugin::instantiate_async(&mut store, &RUNTIME.plugin()?, &linker).await?;
            let client = plugin.incluster_kubernetes_client();
            let config = client.call_load_incluster_config(&mut store).await?.unwrap();
            client.config().call_set_retry_policy(&mut store, config, RetryPolicy::NEVER).await?;
            Ok((plugin, config))
        };
        let (plugin, config) = store.run(load).await.unwrap();
        Kept { store, plugin, config, clock }
    }

    /// Runs the test of `waiting`.
    async fn waits(&mut self, pods: &PodStore) {
        let (plugin, config) = (&self.plugin, self.config);
        self.store.run(async |store: &mut Store<Ctx>| watches_are_waited_for(store, plugin, config, pods).await).await.unwrap();
    }

    async fn list(&mut self) -> Result<PodList, Error> {
        let (client, config) = (self.plugin.incluster_kubernetes_client(), self.config);
        let list =
            async |store: &mut Store<Ctx>| client.call_list_namespaced_pods(store, config, "shop", &ListOptions::ALL).await;
        self.store.run(list).await.unwrap().map_err(|failure| failure.error)
    }
}

#[tokio::test]
async fn several_watches_are_waited_for() {
    let pods = PodStore::with_pods(3);
    let testbed = Testbed::serving(pods.handler()).await;
    Kept::new(&tenant(&testbed)).await.waits(&pods).await;
}

/// Makes a token like [`TOKEN`] with another name, which expires at this time or never.
fn token(exp: Option<u64>, name: &str) -> String {
    let exp = exp.map(|exp| format!(r#""exp":{exp},"#)).unwrap_or_default();
    let payload = data_encoding::BASE64URL_NOPAD.encode(format!(r#"{{{exp}"sub":"{name}"}}"#).as_bytes());
    format!("e30.{payload}.c2ln")
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

async fn testbed_with(token: &str) -> (PodStore, Testbed) {
    let store = PodStore::recorded();
    store.accept_token(token);
    let testbed = Testbed::serving(store.handler()).await;
    testbed.volume.set("token", token.as_bytes());
    (store, testbed)
}

fn last_token(testbed: &Testbed) -> String {
    testbed.server.requests().pop().unwrap().header("authorization").unwrap().strip_prefix("Bearer ").unwrap().into()
}

#[tokio::test]
async fn a_token_is_read_again_when_it_is_50_seconds_old() {
    let (store, testbed) = testbed_with("first").await;
    store.accept_tokens(&["first", "second"]);
    let mut kept = Kept::new(&portable(&testbed)).await;
    testbed.volume.set("token", b"second\n");
    kept.list().await.unwrap();
    kept.clock.advance(45);
    kept.list().await.unwrap();
    assert_eq!(last_token(&testbed), "first");
    kept.clock.advance(5);
    kept.list().await.unwrap();
    assert_eq!(last_token(&testbed), "second");
    assert_eq!(testbed.server.requests().len(), 3);
}

/// Spoils the token's file in one of several ways. None of these contents is ever sent. Returns `false` if there is no such way.
fn spoil(testbed: &Testbed, way: usize) -> bool {
    match way {
        0 => testbed.volume.remove("token"),
        1 => testbed.volume.set("token", b""),
        2 => testbed.volume.set("token", b"\n"),
        3 => testbed.volume.set("token", b"\x7fELF\x02\x01\x00"),
        4 => testbed.volume.set("token", &vec![b'a'; (1 << 20) + 1]),
        5 => testbed.volume.replace_by_directory("token"),
        6 => testbed.volume.replace_by_dangling_link("token"),
        7 => testbed.volume.write_in_place("token", b"half\n\0"),
        _ => return false,
    }
    true
}

#[tokio::test]
async fn the_last_good_token_serves_until_it_expires() {
    for way in 0.. {
        let good = token(Some(now() + 3600), "good");
        let (_, testbed) = testbed_with(&good).await;
        let mut kept = Kept::new(&portable(&testbed)).await;
        if !spoil(&testbed, way) {
            break;
        }
        for _ in 0..2 {
            kept.clock.advance(1000);
            assert_eq!(kept.list().await.unwrap().items.len(), 7, "{way}");
        }
        // The token is used for up to a minute after its expiry, in case the clock is ahead.
        kept.clock.advance(1600 + 50);
        kept.list().await.unwrap();
        kept.clock.advance(20);
        let requests = testbed.server.requests().len();
        let Err(Error::Config(ConfigError::TokenExpired(file))) = kept.list().await else { panic!("{way}") };
        assert!(file.path.ends_with("serviceaccount/token") && !file.reason.is_empty(), "{file:?}");
        assert_eq!(testbed.server.requests().len(), requests);
        assert!(testbed.server.requests().iter().all(|r| r.header("authorization") == Some(&format!("Bearer {good}"))));
    }
}

#[tokio::test]
async fn tokens_that_do_not_say_when_they_expire_serve_on() {
    for endless in [token(None, "legacy"), "opaque".into()] {
        let (_, testbed) = testbed_with(&endless).await;
        let mut kept = Kept::new(&portable(&testbed)).await;
        testbed.volume.set("token", b"");
        kept.clock.advance(10 * 365 * 86_400);
        kept.list().await.unwrap();
    }
}

/// A fresh token that seems expired is sent: the API server decides whether it is valid, not this clock.
#[tokio::test]
async fn a_token_that_seems_expired_is_sent() {
    let (_, testbed) = testbed_with(&token(Some(1), "long ago")).await;
    assert_eq!(list_shop(&tenant(&testbed)).await.unwrap().items.len(), 7);
}

/// The volume gets a new token just when the old one is refused, and the request is sent again with it.
#[tokio::test]
async fn a_401_is_retried_once_with_the_current_token() {
    let testbed = Arc::new(Testbed::start().await);
    testbed.volume.set("token", b"stale");
    let store = PodStore::recorded();
    let handler = {
        let (store, testbed) = (store.clone(), testbed.clone());
        move |request: &testbed::Request| {
            testbed.volume.set("token", TOKEN.as_bytes());
            store.answer(request)
        }
    };
    let server = testbed::Server::start(testbed.ca.identity(&["127.0.0.1"]), testbed::Protocol::Any, handler).await;
    let tenant = crate::tenant_at(&server.url(), &testbed);
    assert_eq!(list_shop(&tenant).await.unwrap().items.len(), 7);
    let tokens: Vec<_> = server.requests().iter().map(|r| r.header("authorization").unwrap().to_string()).collect();
    assert_eq!(tokens, ["Bearer stale".to_string(), format!("Bearer {TOKEN}")]);
}

#[tokio::test]
async fn a_lasting_401_is_an_error_after_one_retry() {
    let testbed = Testbed::start().await;
    testbed.volume.set("token", b"wrong");
    let patient = tenant(&testbed).with_retry_policy(RetryPolicy::DEFAULT);
    let Err(Error::Api(status)) = list_shop(&patient).await else { panic!() };
    assert_eq!((status.code, testbed.server.requests().len()), (401, 2));
}

/// Some API servers refuse a token that is only seconds old.
#[tokio::test]
async fn a_401_for_a_good_token_is_retried() {
    let refused = AtomicBool::new(false);
    let testbed = Testbed::serving(move |request| match refused.swap(true, Ordering::SeqCst) {
        false => Recording::read("list-unauthorized").answer,
        true => PodApi::answer(request),
    })
    .await;
    assert_eq!(list_shop(&tenant(&testbed)).await.unwrap().items.len(), 7);
}

#[tokio::test]
async fn a_rotated_ca_is_trusted_at_once_and_open_connections_keep_working() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed);
    list_shop(&tenant).await.unwrap();

    testbed.volume.set("ca.crt", new.pem().as_bytes());
    list_shop(&tenant).await.unwrap();
    assert_eq!(testbed.server.connections(), 1, "the open connection is used");

    testbed.server.hang_up();
    testbed.server.until_open_connections(0).await;
    let error = list_shop(&tenant).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Certificate(_) | TransportError::ConnectionLost(_))), "{error:?}");
    testbed.server.rotate(new.identity(&["127.0.0.1"]));
    assert_eq!(list_shop(&tenant).await.unwrap().items.len(), 7);

    testbed.server.rotate(old.identity(&["127.0.0.1"]));
    testbed.server.hang_up();
    testbed.server.until_open_connections(0).await;
    testbed.volume.set("ca.crt", format!("{}{}", old.pem(), new.pem()).as_bytes());
    let patient = tenant.with_retry_policy(RetryPolicy::DEFAULT);
    assert_eq!(list_shop(&patient).await.unwrap().items.len(), 7);
}

/// A tenant that has trusted the server before waits for ca.crt to change. The host remembers that, because each call has a new sandbox.
#[tokio::test]
async fn a_certificate_that_comes_before_its_ca() {
    let new = Ca::new("new");
    let store = PodStore::recorded();
    let testbed = Arc::new(Testbed::serving(store.handler()).await);
    let patient = tenant(&testbed).with_retry_policy(RetryPolicy::DEFAULT);
    assert_eq!(list_shop(&patient).await.unwrap().items.len(), 7);
    testbed.server.rotate(new.identity(&["127.0.0.1"]));
    testbed.server.hang_up();
    testbed.server.until_open_connections(0).await;
    let error = list_shop(&tenant(&testbed).with_retry_policy(RetryPolicy::DEFAULT)).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Certificate(_))), "a new tenant: {error:?}");
    let twice = patient.with_retry_policy(RetryPolicy { attempts: Some(2), ..RetryPolicy::DEFAULT });
    let failure = answer(twice.list_namespaced_pods("shop", &ListOptions::ALL).await).unwrap_err();
    assert!(matches!(failure.error, Error::Transport(TransportError::Certificate(_))), "{failure:?}");
    assert_eq!(failure.attempts, 2);

    let (listing, connections) = (tokio::spawn(async move { list_shop(&patient).await }), testbed.server.connections());
    testbed.server.until_connections(connections + 1).await;
    testbed.volume.set("ca.crt", new.pem().as_bytes());
    assert_eq!(listing.await.unwrap().unwrap().items.len(), 7);
}

#[tokio::test]
async fn the_last_good_roots_stay_while_ca_crt_is_invalid() {
    let testbed = Testbed::start().await;
    let tenant = tenant(&testbed).with_retry_policy(RetryPolicy { attempts: Some(3), ..RetryPolicy::DEFAULT });
    list_shop(&tenant).await.unwrap();
    let good = testbed.ca.pem();
    let other = Ca::new("other").pem();
    let half_a_bundle = format!("{other}{}", &good[..good.len() / 2]);
    let wrong_label = good.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let contents = [b"".to_vec(), good[..good.len() / 2].into(), wrong_label.into(), half_a_bundle.into(), b"\0\xff".to_vec()];
    for content in contents {
        testbed.volume.write_in_place("ca.crt", &content);
        testbed.server.hang_up();
        testbed.server.until_open_connections(0).await;
        assert_eq!(list_shop(&tenant).await.unwrap().items.len(), 7, "{}", String::from_utf8_lossy(&content));
    }
    testbed.volume.remove("ca.crt");
    testbed.server.hang_up();
    testbed.server.until_open_connections(0).await;
    assert_eq!(list_shop(&tenant).await.unwrap().items.len(), 7);
}

#[tokio::test]
async fn a_bundle_of_500_certificates() {
    let testbed = Testbed::start().await;
    let others: String = (0..499).map(|n| Ca::new(&format!("ca-{n}")).pem()).collect();
    testbed.volume.set("ca.crt", format!("{others}{}", testbed.ca.pem()).as_bytes());
    assert_eq!(list_shop(&tenant(&testbed)).await.unwrap().items.len(), 7);
}

/// Swaps the volume as kubelet does, only faster: a new folder, a rename of `..data`, and removal of the old folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_swaps_under_load_fail_no_call() {
    let tokens: Vec<String> = (0..1000).map(|n| token(Some(now() + 3600), &format!("sa-{n}"))).collect();
    let testbed = Arc::new(Testbed::serving(|_| Recording::read("list-empty-namespace").answer).await);
    let swapping = tokio::task::spawn_blocking({
        let testbed = testbed.clone();
        move || {
            for token in &tokens {
                testbed.volume.set_many(&[("token", token.as_bytes()), ("ca.crt", testbed.ca.pem().as_bytes())]);
            }
        }
    });
    let unhurried = TenantLimits { requests_per_second: 1_000_000, request_burst: 1_000_000, ..TenantLimits::default() };
    let tenant = tenant(&testbed).with_limits(unhurried).unwrap();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (tenant, swapping) = (tenant.clone(), swapping.abort_handle());
            tokio::spawn(async move {
                let mut calls = 0;
                while !swapping.is_finished() {
                    kubernetes(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await).unwrap();
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    swapping.await.unwrap();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    assert!(calls > 100, "only {calls} calls during 1,000 swaps");
}

/// A list whose connection breaks in the middle is requested again.
#[tokio::test]
async fn a_list_that_breaks_off_is_retried() {
    let broken = AtomicBool::new(false);
    let testbed = Testbed::serving(move |request| {
        let whole = PodApi::answer(request);
        if broken.swap(true, Ordering::SeqCst) {
            return whole;
        }
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        sender.send(testbed::Chunk::Data(whole.body.slice(..whole.body.len() / 2))).unwrap();
        sender.send(testbed::Chunk::Abort).unwrap();
        Answer { headers: whole.headers, ..Answer::streaming(200, receiver) }
    })
    .await;
    let patient = tenant(&testbed).with_retry_policy(RetryPolicy::DEFAULT);
    assert_eq!(list_shop(&patient).await.unwrap().items.len(), 7);
    assert_eq!(testbed.server.requests().len(), 2);
}
