//! What a tenant's sandboxes need to know of it.

use crate::egress::{Connections, Door};
use crate::files::read_file;
use crate::policy::Policy;
use crate::sandboxes::Reuse;
use crate::tenant::Credentials;
use crate::turns::Turns;
use crate::types::RetryPolicy;
use crate::volume::Volume;
use crate::{Error, Limits, Runtime, Server};
use incluster_core::credentials::Credentials as TokenFile;
use incluster_core::files;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an embedder says of a tenant.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: Arc<str>,
    pub(crate) runtime: Runtime,
    pub(crate) service_account_dir: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) credentials: Credentials,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) reuse: Reuse,
}

/// A tenant, for its sandboxes.
pub(crate) struct Identity {
    pub(crate) settings: Settings,
    pub(crate) server: Server,
    pub(crate) door: Arc<Door>,
    /// `None` where sandboxes see the service account's folder itself.
    pub(crate) volume: Option<Arc<Volume>>,
    token_file: Arc<TokenFile>,
    connections: Connections,
    instances: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    turns: Arc<Turns>,
}

impl Identity {
    pub(crate) fn new(settings: Settings, server: Server) -> Result<Identity, Error> {
        let dir = &settings.service_account_dir;
        let token_file = Arc::new(TokenFile::new(dir.join(files::TOKEN).to_string_lossy().into_owned(), read_file));
        let volume = match settings.credentials {
            Credentials::Brokered => Some(Arc::new(Volume::new(dir, token_file.clone()).map_err(|e| Error::Runtime(e.into()))?)),
            Credentials::Portable => None,
        };
        let connections = Connections::new(server.clone(), dir.join(files::CA), &settings.limits);
        Ok(Identity::with(settings, server, token_file, volume, connections, Arc::new(Turns::new())))
    }

    /// The same identity with other settings; with the same connections, unless these depend on what is other.
    pub(crate) fn changed(&self, settings: Settings) -> Identity {
        let connections = match settings.limits == self.settings.limits {
            true => self.connections.clone(),
            false => Connections::new(self.server.clone(), settings.service_account_dir.join(files::CA), &settings.limits),
        };
        Identity::with(
            settings,
            self.server.clone(),
            self.token_file.clone(),
            self.volume.clone(),
            connections,
            self.turns.clone(),
        )
    }

    fn with(
        settings: Settings,
        server: Server,
        token_file: Arc<TokenFile>,
        volume: Option<Arc<Volume>>,
        connections: Connections,
        turns: Arc<Turns>,
    ) -> Identity {
        let brokered = volume.is_some().then(|| token_file.clone());
        let door = Arc::new(Door::new(&settings, server.clone(), brokered, connections.clone()));
        let instances = Arc::new(Semaphore::new(settings.limits.instances as usize));
        let calls = Arc::new(Semaphore::new(settings.limits.concurrent_calls as usize));
        Identity { settings, server, door, volume, token_file, connections, instances, calls, turns }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Runs a call under the limits of time.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        self.turns.run(self.limits(), call).await
    }

    /// Runs one that may wait for as long as it takes.
    pub(crate) async fn wait<T>(&self, call: impl Future<Output = T>) -> Result<T, Error> {
        self.turns.run(&Limits { wall_time: Duration::MAX, ..self.limits().clone() }, call).await
    }

    pub(crate) fn begin_instance(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.instances.clone().try_acquire_owned().map_err(|_| Error::Instances(self.limits().instances))
    }

    pub(crate) fn begin_call(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.calls.clone().try_acquire_owned().map_err(|_| Error::ConcurrentCalls(self.limits().concurrent_calls))
    }

    /// Tells of a call that has ended.
    pub(crate) fn tell(&self, took: Duration, error: Option<&Error>) {
        let (tenant, seconds) = (&self.settings.name, took.as_secs_f64());
        let outcome = error.map_or("success", Error::outcome);
        metrics::counter!("incluster_calls_total", "tenant" => tenant.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!("incluster_call_seconds", "tenant" => tenant.clone(), "outcome" => outcome).record(seconds);
        if let Some(limit) = error.and_then(Error::limit) {
            tracing::warn!(tenant = &**tenant, limit, "a call exceeded a limit");
            metrics::counter!("incluster_limits_exceeded_total", "tenant" => tenant.clone(), "limit" => limit).increment(1);
        }
    }
}
