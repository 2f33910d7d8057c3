//! Who a tenant is to the API server.

use crate::closing::Closing;
use crate::door::issuing::{Issuing, TokenSource, TokenSourceError};
use crate::door::token_request::{BoundObject, LIFE, Spec, TokenRequests};
use crate::door::{Bearer, Connections};
use crate::error::Error;
use crate::files::read_file;
use crate::limits::RequestLimits;
use crate::sandbox::volume::Files;
use incluster_core::credentials::Credentials;
use incluster_core::files::{self, SERVICE_ACCOUNT_DIR};
use incluster_core::secrets::Secrets;
use incluster_core::{ConfigError, Namespace, Server, dns, text};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Who a tenant is to the API server: whose token its requests carry, and which CAs verify the server.
#[derive(Clone)]
pub struct Identity(Kind);

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    Source(Arc<dyn TokenSource>),
    TokenRequest(Box<TokenRequest>),
}

/// Another service account as an identity, by short-lived tokens that the pod's own account requests. The pod's own account needs only
/// `create` on `serviceaccounts/token` for that account's name. RBAC and the audit log see such a tenant as that account.
#[derive(Clone, Debug)]
#[must_use = "a TokenRequest is for TenantBuilder::identity"]
pub struct TokenRequest {
    namespace: String,
    service_account: String,
    spec: Spec,
    dir: PathBuf,
}

impl Identity {
    /// The service account of a folder with the files `token`, `ca.crt` and `namespace`. [`SERVICE_ACCOUNT_DIR`] is the default.
    pub fn service_account_dir(dir: impl Into<PathBuf>) -> Identity {
        Identity(Kind::Folder(dir.into()))
    }

    /// The identity that this source gives.
    pub fn source(source: impl TokenSource) -> Identity {
        Identity(Kind::Source(Arc::new(source)))
    }

    /// The service account of this name, in this namespace of the same cluster, by the TokenRequest API.
    pub fn token_request(namespace: &str, service_account: &str) -> TokenRequest {
        let spec = Spec { audiences: Vec::new(), expiration_seconds: LIFE.as_secs(), bound_object_ref: None };
        let (namespace, service_account) = (namespace.into(), service_account.into());
        TokenRequest { namespace, service_account, spec, dir: SERVICE_ACCOUNT_DIR.into() }
    }
}

impl TokenRequest {
    /// Adds an audience of the token; may be called more than once. By default, the token is for the API server alone. If you name audiences,
    /// the API server's own must be among them.
    pub fn audience(mut self, audience: &str) -> Self {
        self.spec.audiences.push(audience.into());
        self
    }

    /// How long a token lives; one hour by default. The API server accepts ten minutes at least, and may give less or more than is requested.
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.spec.expiration_seconds = life.as_secs();
        self
    }

    /// Binds the tokens to a Secret in the service account's namespace: they are valid as long as the Secret exists. With a UID, they are
    /// not valid for a new Secret of the same name.
    pub fn bound_to_secret(self, name: &str, uid: Option<&str>) -> Self {
        self.bound_to("Secret", name, uid)
    }

    /// Binds the tokens to a Node: they are valid as long as the Node exists. This needs Kubernetes 1.31 or later.
    pub fn bound_to_node(self, name: &str, uid: Option<&str>) -> Self {
        self.bound_to("Node", name, uid)
    }

    fn bound_to(mut self, kind: &'static str, name: &str, uid: Option<&str>) -> Self {
        let (name, uid) = (name.into(), uid.map(String::from));
        self.spec.bound_object_ref = Some(BoundObject { kind, api_version: "v1", name, uid });
        self
    }

    /// The folder of the account that requests the tokens, with the files `token` and `ca.crt`; [`SERVICE_ACCOUNT_DIR`] by default.
    pub fn asked_by(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }
}

impl From<TokenRequest> for Identity {
    fn from(request: TokenRequest) -> Identity {
        Identity(Kind::TokenRequest(Box::new(request)))
    }
}

impl Default for Identity {
    fn default() -> Self {
        Identity::service_account_dir(SERVICE_ACCOUNT_DIR)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Folder(dir) => f.debug_tuple("Identity").field(dir).finish(),
            Kind::Source(_) => f.write_str("Identity(source)"),
            Kind::TokenRequest(request) => f.debug_tuple("Identity").field(request).finish(),
        }
    }
}

/// The shortest life of a token that the API server issues.
const SHORTEST: Duration = Duration::from_secs(600);

/// What a tenant gets from its identity.
pub(crate) struct Made {
    /// The token, which stays outside sandboxes.
    pub(crate) bearer: Bearer,
    /// What sandboxes find in their folder.
    pub(crate) files: Files,
}

impl Identity {
    /// The folder, if the identity is one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Folder(dir) => Some(dir),
            Kind::Source(_) | Kind::TokenRequest(_) => None,
        }
    }

    /// Connections to a server whose certificate this identity's CAs verify.
    pub(crate) fn connections(&self, server: &Server, limits: &RequestLimits, secrets: &Arc<Secrets>) -> Connections {
        match &self.0 {
            Kind::Folder(dir) => of_folder(dir, server, limits, secrets),
            Kind::TokenRequest(request) => of_folder(&request.dir, server, limits, secrets),
            Kind::Source(source) => {
                let (source, path) = (source.clone(), "the identity's CA bundle");
                let read = move || {
                    let unreadable =
                        |e: TokenSourceError| ConfigError::FileUnreadable { path: path.into(), reason: e.to_string() };
                    source.ca_bundle().map_err(unreadable)
                };
                Connections::new(server.clone(), path.into(), Box::new(read), limits, secrets.clone())
            }
        }
    }

    pub(crate) fn made(
        &self,
        tenant: &Arc<str>,
        server: &Server,
        limits: &RequestLimits,
        closing: &Closing,
        secrets: &Arc<Secrets>,
    ) -> Result<Made, Error> {
        let own = |dir: &Path| Arc::new(Credentials::new(path(dir, files::TOKEN), read_file));
        let source: Arc<dyn TokenSource> = match &self.0 {
            Kind::Folder(dir) => {
                let token = own(dir);
                return Ok(Made {
                    bearer: Bearer::File(token.clone()),
                    files: Files::Folder(dir.to_string_lossy().into_owned(), token),
                });
            }
            Kind::Source(source) => source.clone(),
            Kind::TokenRequest(request) => {
                let TokenRequest { namespace, service_account, spec, dir } = &**request;
                let refused = |problem: &str| Error::Identity(format!("{problem} (the API server would refuse it)"));
                let namespace = Namespace::parse(namespace)
                    .map_err(|_| refused(&format!("`{}` is not a namespace", text::name(namespace))))?;
                if !dns::is_host_name(service_account) || service_account.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(refused(&format!("`{}` is not the name of a service account", text::name(service_account))));
                }
                if spec.expiration_seconds < SHORTEST.as_secs() {
                    return Err(refused("`expires_in` is less than ten minutes"));
                }
                let ca = path(dir, files::CA);
                let ca = move || files::read(read_file, &ca).map_err(TokenSourceError::retryable);
                Arc::new(TokenRequests {
                    namespace,
                    service_account: service_account.clone(),
                    spec: spec.clone(),
                    server: server.clone(),
                    own: own(dir),
                    // Separate connections, so that no sandbox's unread answer delays a token.
                    connections: self.connections(server, limits, secrets),
                    secrets: secrets.clone(),
                    ca: Box::new(ca),
                })
            }
        };
        let issuing = Arc::new(Issuing::new(tenant.clone(), source.clone(), closing.clone()));
        Ok(Made { bearer: Bearer::Issued(issuing), files: Files::Source(source) })
    }
}

fn of_folder(dir: &Path, server: &Server, limits: &RequestLimits, secrets: &Arc<Secrets>) -> Connections {
    let ca = path(dir, files::CA);
    let read = {
        let ca = ca.clone();
        move || files::read(read_file, &ca)
    };
    Connections::new(server.clone(), ca, Box::new(read), limits, secrets.clone())
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_string_lossy().into_owned()
}
