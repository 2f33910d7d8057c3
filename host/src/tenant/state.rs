//! What all sandboxes and calls of a tenant have in common.

use super::identity::Made;
use super::quotas::Quotas;
use super::settings::{Settings, TokenAccess};
use super::stores::Stores;
use crate::door::policy::Policy;
use crate::door::{Bearer, Door, Permission, Telling};
use crate::error::Error;
use crate::figures::{self, TARGET};
use crate::limits::{CallLimits, Limits};
use crate::sandbox::ctx::{Folder, Given};
use crate::sandbox::room::Permit;
use crate::sandbox::runtime::Runtime;
use crate::sandbox::turns::Turns;
use crate::sandbox::volume::Volume;
use crate::types;
use incluster_core::Server;
use incluster_core::files::SERVICE_ACCOUNT_DIR;
use incluster_core::secrets::Secrets;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// The state of a tenant, for its sandboxes and calls.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) given: Arc<Given>,
    pub(crate) quotas: Arc<Quotas>,
    turns: Arc<Turns>,
    /// The stores of this tenant alone: a derived tenant may see less.
    pub(crate) stores: Stores,
}

/// Whether a call waits for a place in the pool.
#[derive(Default)]
pub(crate) struct Waiting(AtomicBool);

impl Waiting {
    /// Waits for a place.
    pub(crate) async fn admit(&self, runtime: &Runtime) -> Permit {
        self.0.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let permit = runtime.admit().await;
        Span::current().record("place_seconds", begun.elapsed().as_secs_f64());
        self.0.store(false, Ordering::Relaxed);
        permit
    }

    fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl State {
    pub(crate) fn new(settings: Settings, policy: Policy, server: Server) -> Result<State, Error> {
        let secrets = Arc::<Secrets>::default();
        let connections = settings.identity.connections(&server, &settings.limits.request, &secrets);
        let (folder, bearer) = match (settings.token_access, settings.identity.dir()) {
            (TokenAccess::Portable, Some(dir)) => (Folder::Real(dir.into()), Bearer::Sandbox),
            (TokenAccess::Portable, None) => {
                return Err(Error::Identity(
                    "sandboxes can only have a token that is in a folder (TokenAccess::Portable)".into(),
                ));
            }
            (TokenAccess::Brokered, _) => {
                let Made { bearer, files } = settings.identity.made(
                    &settings.name,
                    &server,
                    &settings.limits.request,
                    settings.runtime.closing(),
                    &secrets,
                )?;
                (Folder::Volume(Arc::new(Volume::new(files).map_err(|e| Error::Runtime(e.into()))?)), bearer)
            }
        };
        let quotas = Arc::new(Quotas::new(&settings.limits.tenant));
        let door = Door {
            tenant: settings.name.clone(),
            permission: Arc::new(Permission::new(policy)),
            connections,
            quota: quotas.requests.clone(),
            limits: settings.limits.request,
            telling: Telling::new(secrets),
            server,
            bearer,
            lists_first: Arc::default(),
        };
        let given = Given::new(Arc::new(door), folder, settings.limits.call);
        Ok(State { settings, given, quotas, turns: Arc::new(Turns::new()), stores: Stores::default() })
    }

    /// The state of a derived tenant, with these settings and, if there is one, this additional policy. Both share quotas and connections,
    /// unless the limits of these differ.
    pub(crate) fn derived(&self, settings: Settings, policy: Option<Policy>) -> State {
        let mut door = self.door().clone();
        door.permission = Arc::new(door.permission.derived(policy));
        let mut quotas = self.quotas.clone();
        if settings.limits.tenant != self.settings.limits.tenant {
            quotas = Arc::new(Quotas::new(&settings.limits.tenant));
            door.quota = quotas.requests.clone();
        }
        if settings.limits.request != self.settings.limits.request {
            door.connections = settings.identity.connections(&door.server, &settings.limits.request, &door.telling.secrets);
            door.limits = settings.limits.request;
        }
        let given = Given::new(Arc::new(door), self.given.folder.clone(), settings.limits.call);
        State { settings, given, quotas, turns: self.turns.clone(), stores: Stores::default() }
    }

    pub(crate) fn door(&self) -> &Door {
        &self.given.door
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Runs a call under the tenant's time limits.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        let runtime = &self.settings.runtime;
        runtime.closing().run(self.turns.run(&self.limits().call, || runtime.computing(), call)).await
    }

    /// Like [`State::run`], for a call that first waits for a place.
    pub(crate) async fn run_in_place<T>(&self, call: impl AsyncFnOnce(&Waiting) -> Result<T, Error>) -> Result<T, Error> {
        let waiting = Waiting::default();
        // This is in a box, because otherwise each enclosing future would contain it twice.
        match self.run(Box::pin(call(&waiting))).await {
            Err(Error::WallTime(_)) if waiting.is_waiting() => Err(Error::Full(self.settings.runtime.places())),
            ended => ended?,
        }
    }

    /// Runs a call that may wait for as long as it takes.
    pub(crate) async fn wait<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        let limits = CallLimits { wall_time: Duration::MAX, ..self.limits().call };
        let runtime = &self.settings.runtime;
        runtime.closing().wait(self.turns.run(&limits, || runtime.computing(), call)).await
    }

    /// Puts the host's path into an error. A guest names the service account's folder by its path in the sandbox.
    pub(crate) fn with_real_path(&self, mut error: Error) -> Error {
        if let Error::Kubernetes(types::Failure { error: types::Error::Config(config), .. }) = &mut error
            && let Some(dir) = self.settings.identity.dir()
            && let Some(path) = path(config)
            && let Some(name) = path.strip_prefix(SERVICE_ACCOUNT_DIR).and_then(|name| name.strip_prefix('/'))
        {
            *path = dir.join(name).to_string_lossy().into_owned();
        }
        error
    }

    /// Makes a call in its own span, and reports how it ended, even if it was dropped. If a call `waits` for something to happen, its duration
    /// means nothing: only an error is reported.
    pub(crate) async fn told<T>(
        &self,
        extension: Option<&str>,
        waits: bool,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let span = self.span(extension);
        let mut told = Told { state: self, extension, span, begun: Instant::now(), is_told: waits };
        let answer = Box::pin(call).instrument(told.span.clone()).await;
        match &answer {
            Ok(_) if waits => {}
            Ok(_) => told.tell("success", None),
            Err(error) => told.tell(error.outcome(), Some(error)),
        }
        answer
    }

    /// The span of a call.
    fn span(&self, extension: Option<&str>) -> Span {
        let tenant = &*self.settings.name;
        let (warm, outcome) = (Empty, Empty);
        tracing::info_span!(
            target: TARGET,
            "call",
            tenant,
            extension,
            warm,
            place_seconds = Empty,
            computed_seconds = Empty,
            memory_bytes = Empty,
            outcome
        )
    }
}

/// A call that is under way.
struct Told<'a> {
    state: &'a State,
    extension: Option<&'a str>,
    span: Span,
    begun: Instant,
    is_told: bool,
}

impl Told<'_> {
    fn tell(&mut self, outcome: &'static str, error: Option<&Error>) {
        self.is_told = true;
        self.span.record("outcome", outcome);
        let (tenant, seconds) = (&self.state.settings.name, self.begun.elapsed().as_secs_f64());
        metrics::counter!(figures::CALLS, "tenant" => tenant.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!(figures::CALL, "tenant" => tenant.clone(), "outcome" => outcome).record(seconds);
        if let Some(limit) = error.and_then(Error::limit) {
            if let (Some(error), Some(suppressed)) = (error, self.state.door().telling.limit(limit)) {
                let (tenant, extension) = (&**tenant, self.extension);
                tracing::warn!(target: TARGET, tenant, extension, limit, %error, suppressed, "a call exceeded a limit");
            }
            metrics::counter!(figures::LIMITS_EXCEEDED, "tenant" => tenant.clone(), "limit" => limit).increment(1);
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell("dropped", None);
        }
    }
}

fn path(error: &mut types::ConfigError) -> Option<&mut String> {
    use types::ConfigError as Is;
    match error {
        Is::FileMissing(path)
        | Is::FileEmpty(path)
        | Is::FileNotText(path)
        | Is::FileTooLarge(path)
        | Is::InvalidToken(path)
        | Is::NoCertificate(path)
        | Is::InvalidNamespace(path) => Some(path),
        Is::FileUnreadable(file) | Is::TokenExpired(file) => Some(&mut file.path),
        Is::EnvironmentMissing(_) | Is::EnvironmentEmpty(_) | Is::InvalidHost(_) | Is::InvalidPort(_) | Is::Other(_) => None,
    }
}
