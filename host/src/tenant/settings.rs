//! The settings of a tenant, and its builder.

use super::Tenant;
use super::identity::Identity;
use super::sandboxes::Reuse;
use super::state::State;
use crate::bindings::PluginPre;
use crate::door::policy::Policy;
use crate::error::Error;
use crate::limits::{Limits, SetLimits};
use crate::sandbox::linker::pre_instantiate;
use crate::sandbox::runtime::Runtime;
use crate::types::RetryPolicy;
use incluster_core::Server;
use std::path::PathBuf;
use std::sync::Arc;

/// Whether sandboxes have the service account's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenAccess {
    /// Sandboxes do not have the token: they see a placeholder, and the host adds the token to their requests to the API server.
    #[default]
    Brokered,
    /// Sandboxes have the token, in a read-only folder, as under any other WASI host. Only for components that you trust with it.
    Portable,
}

/// The settings of a tenant, without the policy, which can change.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: Arc<str>,
    pub(crate) runtime: Runtime,
    pub(crate) identity: Identity,
    pub(crate) limits: Limits,
    pub(crate) token_access: TokenAccess,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) reuse: Reuse,
}

/// Builds a [`Tenant`].
#[derive(Clone)]
#[must_use = "a builder makes nothing until it is built"]
pub struct TenantBuilder {
    settings: Settings,
    policy: Policy,
    server: Option<Server>,
}

impl TenantBuilder {
    pub(super) fn new(runtime: &Runtime, name: &str) -> TenantBuilder {
        let settings = Settings {
            name: name.into(),
            runtime: runtime.clone(),
            identity: Identity::default(),
            limits: Limits::default(),
            token_access: TokenAccess::default(),
            retry_policy: RetryPolicy::DEFAULT,
            reuse: Reuse::default(),
        };
        TenantBuilder { settings, policy: Policy::deny_all(), server: None }
    }

    /// The API server. By default, the one of the pod that this process runs in.
    pub fn server(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    /// Who the tenant is to the API server: the pod's own service account, by default.
    pub fn identity(mut self, identity: impl Into<Identity>) -> Self {
        self.settings.identity = identity.into();
        self
    }

    /// Sets the identity to [`Identity::service_account_dir`] of this folder. The folder is read when a call is made.
    pub fn service_account_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.identity(Identity::service_account_dir(dir))
    }

    /// What the tenant may request. Nothing by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What the tenant may use: all limits, or one group of them, which leaves the others as they are.
    pub fn limits(mut self, limits: impl SetLimits) -> Self {
        limits.set(&mut self.settings.limits);
        self
    }

    /// Whether sandboxes have the token. They do not by default.
    pub fn token_access(mut self, token_access: TokenAccess) -> Self {
        self.settings.token_access = token_access;
        self
    }

    /// How often, and for how long, the tenant's own calls are tried: `config.set-retry-policy`.
    pub fn retry_policy(mut self, retry_policy: RetryPolicy) -> Self {
        self.settings.retry_policy = retry_policy;
        self
    }

    /// Whether calls reuse sandboxes: the tenant's own calls, and those of its [`Sandboxes`](crate::Sandboxes). They do not by default.
    pub fn reuse(mut self, reuse: Reuse) -> Self {
        self.settings.reuse = reuse;
        self
    }

    /// Builds the tenant. This sends nothing to the API server, and does not read the folder.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`], if no API server was set, and this process is not in a pod; [`Error::Limits`], if a
    /// limit has an unusable value; [`Error::Identity`], if the identity is invalid.
    pub fn build(self) -> Result<Tenant, Error> {
        let own = || Server::from_environment(|name| std::env::var(name).ok()).map_err(Error::Environment);
        let server = self.server.map_or_else(own, Ok)?;
        let runtime = &self.settings.runtime;
        self.settings.limits.check(runtime.table_elements())?;
        let plugin = PluginPre::new(pre_instantiate(runtime, &runtime.plugin()?)?).map_err(Error::Runtime)?;
        Ok(Tenant::of(State::new(self.settings, self.policy, server)?, plugin))
    }
}
