//! A stand-in for an API server, on the loopback interface. It serves the pods of a file while an extension is tried out.
//!
//! The stand-in speaks HTTPS with its own CA, which is in its service account's folder, so that the host works as in a cluster.

mod pods;
mod selector;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use incluster::Server;
use incluster::input;
use incluster_core::request_info::{RequestInfo, Target, Verb};
use percent_encoding::percent_decode_str;
use pods::{Asked, Failure, Pods, Watching, of_document};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use selector::Selector;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The largest file, in bytes: some ten thousand pods.
const MAX_BYTES: u64 = 128 << 20;

/// How often an open watch looks whether the file has changed.
const LOOK: Duration = Duration::from_millis(250);

/// A stand-in for an API server. Its service account's folder is removed when this is dropped.
pub struct StandIn {
    pub server: Server,
    volume: TempDir,
}

impl StandIn {
    /// Starts a stand-in with the pods of this file.
    pub async fn start(file: &Path) -> Result<StandIn, Box<dyn Error>> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("--pods: failed to {what}: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| failed("listen at 127.0.0.1", &e))?;
        let address = listener.local_addr()?;
        let Tls { acceptor, ca, token } = Tls::new(&address.ip().to_string()).map_err(|e| failed("make a certificate", &*e))?;
        let api = Arc::new(Api { file: file.into(), authorization: format!("Bearer {token}"), state: Mutex::default() });
        api.state()?;
        let folder = || {
            let volume = tempfile::tempdir()?;
            for (name, content) in [("token", &*token), ("ca.crt", &*ca), ("namespace", "default")] {
                std::fs::write(volume.path().join(name), content)?;
            }
            Ok(volume)
        };
        let volume = folder().map_err(|e: std::io::Error| failed("write a service account's folder; check TMPDIR", &e))?;
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, acceptor.clone(), api.clone()))),
                    // Perhaps too many files are open: without a pause, the process would do nothing but this.
                    Err(_) => tokio::time::sleep(LOOK).await,
                }
            }
        });
        Ok(StandIn { server: Server::parse(&format!("https://{address}"))?, volume })
    }

    /// The folder of the stand-in's service account.
    pub fn service_account_dir(&self) -> &Path {
        self.volume.path()
    }
}

/// The keys of this stand-in, which are valid for nothing else: its certificate, the CA that issued it, and its token.
struct Tls {
    acceptor: TlsAcceptor,
    ca: String,
    token: String,
}

impl Tls {
    /// Makes a CA, a certificate for this address, and a token.
    fn new(address: &str) -> Result<Tls, Box<dyn Error>> {
        let mut authority = CertificateParams::new([])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let ca = authority.self_signed(&authority_key)?.pem();
        let certificate =
            CertificateParams::new([address.to_string()])?.signed_by(&key, &Issuer::new(authority, authority_key))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        // The token is random (a new public key), because other users of this machine can connect, too.
        let token = KeyPair::generate()?.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ca, token })
    }
}

/// Serves one connection. If it breaks, only the extension sees it.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, api: Arc<Api>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.answer(&request)) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The API that the stand-in serves.
struct Api {
    file: PathBuf,
    authorization: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The file's content that the pods were read from.
    read: Vec<u8>,
    pods: Pods,
}

type Body = BoxBody<Bytes, Infallible>;

impl Api {
    /// The pods that are in the file now. If the file cannot be read, for example while it is being written, nothing changes.
    fn state(&self) -> Result<impl std::ops::DerefMut<Target = State> + '_, String> {
        let failed = |error: &dyn std::fmt::Display| format!("--pods: {}: {error}", self.file.display());
        let bytes = input::read(&self.file, MAX_BYTES).map_err(|error| failed(&error))?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.read != bytes {
            let document: Value = match bytes.trim_ascii_start().first() {
                Some(b'{' | b'[') => serde_json::from_slice(&bytes).map_err(|error| failed(&error))?,
                // More than 1 MiB of YAML is refused, and the error says so.
                _ => input::yaml(&bytes).map_err(|error| failed(&format!("{error}; more pods can be read as JSON")))?,
            };
            state.pods.set(of_document(document).map_err(|error| failed(&error))?);
            state.read = bytes;
        }
        Ok(state)
    }

    fn answer(self: Arc<Self>, request: &Request<Incoming>) -> Response<Body> {
        let uri = request.uri();
        let authorization = request.headers().get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let answer = if authorization != Some(self.authorization.as_bytes()) {
            Err(Failure(401, "Unauthorized", "Unauthorized".into()))
        } else {
            self.clone().of(uri.path(), uri.query().unwrap_or_default())
        };
        answer.unwrap_or_else(|Failure(code, reason, message)| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code});
            whole(code, &status)
        })
    }

    fn of(self: Arc<Self>, path: &str, query: &str) -> Result<Response<Body>, Failure> {
        let missing = || Failure(404, "NotFound", format!("{path}: with --pods, there are only pods"));
        let question = if query.is_empty() { path.into() } else { format!("{path}?{query}") };
        let info = RequestInfo::parse(&question).map_err(|_| missing())?;
        let Target::Resource { api_group: "", resource: "pods", subresource: None, namespace } = info.target else {
            return Err(missing());
        };
        let parameter = |name: &str| {
            let value =
                query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).unwrap_or_default().1;
            percent_decode_str(value).decode_utf8_lossy().into_owned()
        };
        let asked = || {
            let selector = Selector::parse(&parameter("labelSelector"), &parameter("fieldSelector"));
            Ok(Asked {
                namespace: namespace.map(String::from),
                selector: selector.map_err(|problem| Failure(400, "BadRequest", problem))?,
                limit: parameter("limit").parse().unwrap_or(0),
                continue_token: parameter("continue"),
                resource_version: parameter("resourceVersion"),
                sends_initial_events: parameter("sendInitialEvents") == "true",
            })
        };
        let state = || self.state().map_err(|problem| Failure(500, "InternalError", problem));
        match (info.verb, namespace, path.rsplit('/').next()) {
            (Verb::Get, Some(namespace), Some(name)) => Ok(whole(200, &state()?.pods.get(namespace, name)?)),
            (Verb::Get, ..) => Err(missing()),
            (Verb::List, ..) => Ok(whole(200, &state()?.pods.list(&asked()?)?)),
            (Verb::Watch, ..) => {
                let watching = Watching::new(asked()?)?;
                let seconds = parameter("timeoutSeconds").parse().ok();
                Ok(self.clone().watch(watching, seconds.map(Duration::from_secs)))
            }
        }
    }

    fn watch(self: Arc<Self>, mut watching: Watching, at_most: Option<Duration>) -> Response<Body> {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        tokio::spawn(async move {
            let telling = async {
                loop {
                    // A file that cannot be read may be being written: the next look reads it again.
                    let events = self.state().map(|state| state.pods.next(&mut watching)).unwrap_or_default();
                    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
                    // This sends even if there is no event, because sending fails once the client has gone.
                    if sender.send_data(text.into()).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(LOOK).await;
                }
            };
            let _ = tokio::time::timeout(at_most.unwrap_or(Duration::MAX), telling).await;
        });
        response(200, body.boxed())
    }
}

fn whole(status: u16, value: &Value) -> Response<Body> {
    response(status, Full::new(value.to_string().into()).boxed())
}

fn response(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
