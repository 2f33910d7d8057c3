//! The engine behind each front end: the configuration's tenants and routes, kept up to date with the files, and the status page.

use crate::config::{Config, ConfigError};
use crate::fixed::Fixed;
use crate::front::{Body, accept, text, unavailable};
use crate::loading::relative_to;
use crate::look::{Look, Mark};
use crate::routes::Routes;
use crate::status::{self, Reload};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use incluster::{Compiler, Pool, Runtime};
use metrics_exporter_prometheus::PrometheusHandle;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tracing::{error, info, warn};

/// How often the files are checked for changes. A check finds what a notification would miss: a volume that the kubelet swaps.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after the start knowing the pods of one route is enough to be ready.
const READY_WITH_SOME: Duration = Duration::from_secs(30);

/// How long a reload waits for the pods of new routes before the new configuration takes effect anyway.
const NEW_PODS: Duration = Duration::from_secs(1);

/// The maximum number of sandboxes at once, over all tenants.
const SANDBOXES: u16 = 512;

/// Tenants, routes and extensions, as the configuration's files have them.
pub struct Engine {
    /// The address of the status page.
    pub status_address: SocketAddr,
    shared: Arc<Shared>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

/// What the engine reports to those who send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// The engine has started, and does not know enough yet to serve.
    Starting,
    /// The engine serves.
    Ready,
    /// The engine still serves, but ends soon: nobody should send new requests.
    Draining,
    /// The engine takes no more requests.
    Stopping,
}

struct Shared {
    file: PathBuf,
    serving: watch::Sender<Serving>,
    runtime: Runtime,
    routes: watch::Sender<Arc<Routes>>,
    reload: Mutex<Reload>,
    /// Held during a reload: of two concurrent reloads, the one that read older files must not take effect last.
    reloading: tokio::sync::Mutex<()>,
    /// The files of the configuration that was read last, whether or not it was accepted.
    files: Mutex<Vec<PathBuf>>,
    metrics: PrometheusHandle,
    fixed: Fixed,
}

impl Engine {
    /// Starts an engine with a configuration, which is this file's. Extensions are loaded in the background: a route answers 503 until
    /// its own is loaded, and `/readyz` until all are. `compiler` compiles extensions; `metrics` renders the process's metrics.
    pub async fn start(
        file: &Path,
        config: Config,
        compiler: Compiler,
        metrics: PrometheusHandle,
    ) -> Result<Engine, Box<dyn Error + Send + Sync>> {
        let runtime = Runtime::builder()
            .pool(Pool { places: SANDBOXES, ..Pool::default() })
            .compiler(compiler)
            .load_limits(config.load_limits.clone());
        let runtime = match &config.cache {
            Some(folder) => runtime.cache(folder).build()?,
            None => runtime.build()?,
        };
        let listener = TcpListener::bind(config.status).await.map_err(|e| format!("{}: {e}", config.status))?;
        let (files, fixed) = (files_of(file, &config), Fixed::of(&config));
        let routes = Routes::without_extensions(&runtime, file, config, None)?;
        let shared = Arc::new(Shared {
            file: file.into(),
            serving: watch::Sender::new(Serving::Starting),
            runtime,
            routes: watch::Sender::new(Arc::new(routes)),
            reload: Mutex::new(Reload { at: SystemTime::now(), error: None }),
            reloading: tokio::sync::Mutex::default(),
            files: Mutex::new(files),
            metrics,
            fixed,
        });
        metrics::gauge!("gateway_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        // Here already, so that an alert on it finds it.
        metrics::gauge!("gateway_unusable_extensions").set(0.0);
        let status_address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let page = shared.clone();
        tasks.spawn(accept(listener, shared.serving.subscribe(), move |_, request| {
            let answer = page.status(&request);
            async move { answer }
        }));
        tasks.spawn(look(shared.clone()));
        tasks.spawn(become_ready(shared.clone()));
        Ok(Engine { status_address, shared, tasks: tasks.into() })
    }

    /// The current tenants and routes.
    pub fn routes(&self) -> Arc<Routes> {
        self.shared.routes()
    }

    /// The tenants and routes, as they change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Routes>> {
        self.shared.routes.subscribe()
    }

    /// Reads the file again, as also happens when it changes. Requests in progress go on unchanged. An extension whose file
    /// has become unusable affects only its own routes, which go on with the version that they had.
    ///
    /// A tenant's new policy takes effect at once, even if the rest of a readable file is refused: revoking a permission must not
    /// wait for anybody's extension.
    ///
    /// # Errors
    ///
    /// The file is refused, and everything but the policies stays as it was.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        self.shared.reload().await
    }

    /// Waits until no extension is being loaded any more.
    pub async fn until_loaded(&self) {
        // This does not fail: the engine itself holds the sender.
        let _ = self.subscribe().wait_for(|routes| routes.are_loaded()).await;
    }

    /// Waits until the engine serves: `/readyz` then answers 200.
    ///
    /// It serves when all extensions are loaded or refused, and the pods of all routes are known. After half a minute, one route's pods
    /// are enough, so that a tenant whose pods cannot be watched does not hold up the others. It does not serve while no route has a usable
    /// extension, so that a rollout of such a configuration stops.
    pub async fn until_ready(&self) {
        let _ = self.serving().wait_for(|serving| *serving != Serving::Starting).await;
    }

    /// What the engine reports, as that changes.
    pub fn serving(&self) -> watch::Receiver<Serving> {
        self.shared.serving.subscribe()
    }

    /// Waits until the engine begins to stop.
    pub async fn stopped(&self) {
        until_stopping(&mut self.serving()).await;
    }

    /// Reports that the engine is no longer ready, and goes on serving for the configuration's `drainTime`.
    pub async fn drain(&self) {
        self.shared.serving.send_replace(Serving::Draining);
        tokio::time::sleep(self.routes().drain_time()).await;
    }

    /// Tells front ends to take no more requests.
    pub fn begin_to_stop(&self) {
        self.shared.serving.send_replace(Serving::Stopping);
    }

    /// Ends the status page, and all extensions, watches and compile children that are left. Front ends must have ended before.
    pub async fn stop(&self) {
        self.begin_to_stop();
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
        self.shared.runtime.shutdown(Duration::ZERO).await;
    }
}

impl Shared {
    fn routes(&self) -> Arc<Routes> {
        self.routes.borrow().clone()
    }

    fn take(&self, routes: Routes) {
        metrics::gauge!("gateway_unusable_extensions").set(routes.unusable() as f64);
        self.routes.send_replace(Arc::new(routes));
    }

    async fn reload(&self) -> Result<(), ConfigError> {
        // Revoking a permission does not wait for anybody's extension.
        if let Ok(config) = Config::read(&self.file) {
            self.routes().permit(&config);
        }
        let _reloading = self.reloading.lock().await;
        let mut is_read = false;
        let read = match Config::read(&self.file) {
            Ok(config) => {
                is_read = true;
                for setting in self.fixed.newly_changed(&config) {
                    warn!("`{setting}` has changed, which takes effect when this process is started again");
                }
                // Another reload may have applied the policies of an older file.
                self.routes().permit(&config);
                *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files_of(&self.file, &config);
                let serving = self.routes();
                // A new configuration is accepted as a whole, or not at all. Otherwise, a route does not wait for the others' extensions.
                let is_taken = !serving.are_loaded() || serving.are_of(&config);
                let progress = |routes: &Routes| {
                    if is_taken {
                        self.take(routes.clone());
                    }
                };
                Routes::build(&self.runtime, &self.file, config, Some(&serving), progress).await
            }
            Err(error) => Err(error),
        };
        if let Ok(routes) = &read {
            // Without this, requests of routes that now have other pods would wait for these.
            let known = routes.routes().iter().map(|route| route.pods.until_known());
            let _ = timeout(NEW_PODS, join_all(known)).await;
        }
        let error = read.as_ref().err().map(ToString::to_string);
        let done = read.map(|routes| self.take(routes));
        match &error {
            None => info!("{}: read", self.file.display()),
            Some(error) if is_read => error!("the configuration stays as it was, but its tenants' policies apply: {error}"),
            Some(error) => error!("the configuration stays as it was: {error}"),
        }
        let outcome = if error.is_some() { "error" } else { "success" };
        metrics::counter!("gateway_reloads_total", "outcome" => outcome).increment(1);
        *self.reload.lock().unwrap_or_else(PoisonError::into_inner) = Reload { at: SystemTime::now(), error };
        done
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |path: &PathBuf| std::fs::metadata(path).and_then(|found| Ok((found.modified()?, found.len()))).ok();
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().map(|path| (path.clone(), mark(path))).collect()
    }

    fn status(&self, request: &Request<Incoming>) -> Response<Body> {
        let (text_of, kind) = match request.uri().path() {
            "/" => {
                let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone();
                (status::page(&self.routes(), &reload, &self.metrics.render()).into_string(), "text/html; charset=utf-8")
            }
            "/metrics" => (self.metrics.render(), "text/plain; version=0.0.4"),
            "/healthz" => ("ok".into(), "text/plain"),
            "/readyz" => match *self.serving.borrow() {
                Serving::Ready => ("ok".into(), "text/plain"),
                Serving::Starting if self.routes().are_loaded() => {
                    let does_any = self.routes().serves_any();
                    return unavailable(if does_any {
                        "the pods of the routes are not known yet"
                    } else {
                        "no route works: see the log"
                    });
                }
                Serving::Starting => return unavailable("extensions are being loaded"),
                Serving::Draining | Serving::Stopping => return unavailable("it is shutting down"),
            },
            _ => return text(StatusCode::NOT_FOUND, "there are /, /metrics, /healthz and /readyz"),
        };
        let mut answer = text(StatusCode::OK, &text_of);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The page has no script, and takes nothing from elsewhere.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        answer
    }
}

/// Waits until the engine takes no more requests.
pub(crate) async fn until_stopping(serving: &mut watch::Receiver<Serving>) {
    // An engine that is gone has stopped.
    let _ = serving.wait_for(|serving| *serving == Serving::Stopping).await;
}

/// Says that the engine serves, once it does.
async fn become_ready(shared: Arc<Shared>) {
    let (begun, mut routes) = (Instant::now(), shared.routes.subscribe());
    let mut serving = shared.serving.subscribe();
    loop {
        let now = routes.borrow_and_update().clone();
        let mut knowing: FuturesUnordered<_> = now.routes().iter().map(|route| route.pods.until_known()).collect();
        let mut known = 0;
        loop {
            if now.are_loaded() && now.serves_any() && are_enough(known, now.routes().len(), begun.elapsed()) {
                // It may be draining already.
                shared.serving.send_if_modified(|serving| match *serving {
                    Serving::Starting => {
                        *serving = Serving::Ready;
                        true
                    }
                    _ => false,
                });
                return;
            }
            tokio::select! {
                Some(()) = knowing.next() => known += 1,
                () = sleep_until(begun + READY_WITH_SOME), if begun.elapsed() < READY_WITH_SOME => {}
                // A reload may replace a route whose pods would never be known.
                changed = routes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = until_stopping(&mut serving) => return,
            }
        }
    }
}

/// Whether the engine can serve `since` its start when the pods of `known` of its `routes` are known.
fn are_enough(known: usize, routes: usize, since: Duration) -> bool {
    known == routes || (known > 0 && since >= READY_WITH_SOME)
}

/// Reads the configuration again whenever one of its files has changed, and from time to time if it has a problem that may pass.
async fn look(shared: Arc<Shared>) {
    let mut serving = shared.serving.subscribe();
    let mut ticks = interval(LOOK_EVERY);
    // The first look reads the file once more, and loads the extensions.
    let mut last = Look::default();
    loop {
        tokio::select! {
            () = until_stopping(&mut serving) => return,
            _ = ticks.tick() => {}
        }
        // Taken before the files are read, so that the next look notices a change in between.
        let marks = shared.marks();
        if last.is_to_be_followed(&marks, Instant::now()) {
            let read = tokio::select! {
                () = until_stopping(&mut serving) => return,
                // `reload` logs what is wrong.
                read = shared.reload() => read,
            };
            let may_pass = read.map_or_else(|error| error.may_pass, |()| shared.routes().may_recover());
            last = last.then(marks, may_pass, Instant::now());
        }
    }
}

/// The configuration's file, and those that it names.
fn files_of(file: &Path, config: &Config) -> Vec<PathBuf> {
    let extensions = config.routes.iter().filter_map(|route| route.extension.as_ref());
    std::iter::once(file.to_path_buf()).chain(extensions.map(|path| relative_to(file, path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_does_not_hold_up_the_others_for_ever() {
        let soon = Duration::from_secs(29);
        assert!(are_enough(2, 2, Duration::ZERO) && are_enough(0, 0, Duration::ZERO));
        assert!(!are_enough(1, 2, soon) && are_enough(1, 2, READY_WITH_SOME));
        assert!(!are_enough(0, 2, READY_WITH_SOME * 100), "with an unavailable API server, nobody is ready");
    }
}
