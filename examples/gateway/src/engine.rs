//! What decides for requests, whichever front end they come by: the configuration's tenants and routes, kept as the files are; and the status page.

use crate::config::{Config, ConfigError};
use crate::front::{Body, accept, text};
use crate::routes::{Routes, relative_to};
use crate::status::{self, Reload};
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
use tokio::time::{Instant, interval};
use tracing::{error, info};

/// How often the files are looked at. Looking finds what a notification would miss: a volume that kubelet swaps.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Before an extension is loaded again that this machine was the reason not to load, for example as no memory was left: at first, and
/// when it has failed for long.
const TRY_AGAIN: Duration = Duration::from_secs(30);
const TRY_AGAIN_AT_THE_LATEST: Duration = Duration::from_secs(600);

/// Sandboxes at once, over all tenants.
const SANDBOXES: u16 = 512;

/// Tenants, routes and extensions, as the configuration's files have them.
pub struct Engine {
    /// Where the status page is.
    pub status_address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

struct Shared {
    file: PathBuf,
    runtime: Runtime,
    routes: watch::Sender<Arc<Routes>>,
    reload: Mutex<Reload>,
    /// Held from reading the files to taking them: of two reloads at once, the one that read older files must not be the last.
    reloading: tokio::sync::Mutex<()>,
    /// The files of the configuration that was read last, whether or not it was taken.
    files: Mutex<Vec<PathBuf>>,
    metrics: PrometheusHandle,
}

impl Engine {
    /// Begins to do what a configuration says, which is this file's. Extensions are loaded meanwhile: until its own is, a route answers 503, and until all
    /// are, `/readyz` on the status address does. `compiler` is where extensions are compiled; `metrics` is what the process's recorder counts.
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
        let files = files_of(file, &config);
        let routes = Routes::without_extensions(&runtime, file, config, None)?;
        let shared = Arc::new(Shared {
            file: file.into(),
            runtime,
            routes: watch::Sender::new(Arc::new(routes)),
            reload: Mutex::new(Reload { at: SystemTime::now(), error: None }),
            reloading: tokio::sync::Mutex::default(),
            files: Mutex::new(files),
            metrics,
        });
        let (stop, stopped) = watch::channel(false);
        let status_address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let page = shared.clone();
        tasks.spawn(accept(listener, stopped.clone(), move |_, request| {
            let answer = page.status(&request);
            async move { answer }
        }));
        tasks.spawn(look(shared.clone(), stopped));
        Ok(Engine { status_address, shared, stop, tasks: tasks.into() })
    }

    /// What requests go by now.
    pub fn routes(&self) -> Arc<Routes> {
        self.shared.routes()
    }

    /// What requests go by, as it changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Routes>> {
        self.shared.routes.subscribe()
    }

    /// Reads the file again, as happens when it changes. What is under way goes on as it began. An extension whose file
    /// has become unusable is a problem of its routes alone, which go on with the one that they had.
    ///
    /// # Errors
    ///
    /// The file is not taken, and everything stays as it was.
    pub async fn reload(&self) -> Result<(), ConfigError> {
        self.shared.reload().await
    }

    /// Waits until no extension is being loaded any more: `/readyz` answers 200 then.
    pub async fn until_loaded(&self) {
        // The sender is this engine's own.
        let _ = self.subscribe().wait_for(|routes| routes.are_loaded()).await;
    }

    /// Waits until no extension is being loaded any more, and the pods of all routes are known.
    pub async fn until_ready(&self) {
        let mut routes = self.subscribe();
        loop {
            let now = routes.borrow_and_update().clone();
            let known = async {
                for route in now.routes().iter().filter(|_| now.are_loaded()) {
                    route.pods.until_known().await;
                }
                if !now.are_loaded() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = known => return,
                // A reload may mend what would never be known.
                changed = routes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Waits until it begins to stop.
    pub async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|is_stopped| *is_stopped).await;
    }

    /// Tells front ends to take no more requests.
    pub fn begin_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it begins to stop, as it changes.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends the status page, and what is left of extensions, watches and processes that compile. Front ends have ended before.
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
        self.routes.send_replace(Arc::new(routes));
    }

    async fn reload(&self) -> Result<(), ConfigError> {
        // What a tenant may no longer ask for does not wait for anybody's extension.
        if let Ok(config) = Config::read(&self.file) {
            self.routes().permit(&config);
        }
        let _reloading = self.reloading.lock().await;
        let read = match Config::read(&self.file) {
            Ok(config) => {
                *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files_of(&self.file, &config);
                let serving = self.routes();
                // A new configuration is taken as a whole, or not at all. Otherwise a route does not wait for the others' extensions.
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
        let error = read.as_ref().err().map(ToString::to_string);
        let done = read.map(|routes| self.take(routes));
        match &error {
            None => info!("{}: read again", self.file.display()),
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
            "/readyz" if self.routes().are_loaded() => ("ok".into(), "text/plain"),
            "/readyz" => return text(StatusCode::SERVICE_UNAVAILABLE, "extensions are being loaded"),
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

/// Reads the configuration again whenever a file of it has changed, and now and then where something is wrong that may pass.
async fn look(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(LOOK_EVERY);
    // The first look reads the file once more, and loads the extensions.
    let mut last = Look::default();
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        // From before they are read: what changes meanwhile is seen at the next look.
        let marks = shared.marks();
        if last.is_to_be_followed(&marks, Instant::now()) {
            let read = tokio::select! {
                _ = stopped.changed() => return,
                // It has said what is wrong.
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

/// What tells that a file has changed, or has come.
type Mark = (PathBuf, Option<(SystemTime, u64)>);

/// What was seen when the files were read last.
#[derive(Default)]
struct Look {
    marks: Vec<Mark>,
    /// When they are to be read again although they are the same, and how long that was to wait.
    again: Option<(Instant, Duration)>,
}

impl Look {
    /// What follows it: the more often the same files were tried, the longer it is until the next time.
    fn then(&self, marks: Vec<Mark>, may_pass: bool, now: Instant) -> Look {
        let before = self.again.filter(|_| self.marks == marks).map_or(Duration::ZERO, |(_, waited)| waited * 2);
        let wait = before.clamp(TRY_AGAIN, TRY_AGAIN_AT_THE_LATEST);
        Look { marks, again: may_pass.then(|| (now + wait, wait)) }
    }

    fn is_to_be_followed(&self, marks: &[Mark], now: Instant) -> bool {
        self.marks != marks || self.again.is_some_and(|(at, _)| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_again_when_they_change_or_when_something_may_have_passed() {
        let (file, now) = (PathBuf::from("gateway.yaml"), Instant::now());
        let marks = |size| vec![(file.clone(), Some((SystemTime::UNIX_EPOCH, size)))];
        let good = Look::default().then(marks(1), false, now);
        assert!(Look::default().is_to_be_followed(&marks(1), now));
        assert!(!good.is_to_be_followed(&marks(1), now + TRY_AGAIN * 100));
        assert!(good.is_to_be_followed(&marks(2), now) && good.is_to_be_followed(&[(file.clone(), None)], now));
        let passing = good.then(marks(1), true, now);
        assert!(!passing.is_to_be_followed(&marks(1), now) && passing.is_to_be_followed(&marks(1), now + TRY_AGAIN));
        let again = passing.then(marks(1), true, now);
        assert!(!again.is_to_be_followed(&marks(1), now + TRY_AGAIN) && again.is_to_be_followed(&marks(1), now + TRY_AGAIN * 2));
        let often = (0..20).fold(again, |look, _| look.then(marks(1), true, now));
        assert!(often.is_to_be_followed(&marks(1), now + TRY_AGAIN_AT_THE_LATEST));
        let changed = often.then(marks(2), true, now);
        assert!(changed.is_to_be_followed(&marks(2), now + TRY_AGAIN));
    }
}
