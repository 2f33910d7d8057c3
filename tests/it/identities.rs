//! Tests of tenants whose token does not come from a folder.

use crate::{RUNTIME, kubernetes};
use incluster::policy::Policy;
use incluster::types::{Error as Kubernetes, ListOptions, RetryPolicy, TransportError};
use incluster::{Error, Identity, IssuedToken, Server, Tenant, TokenAccess, TokenRequest, TokenSource, TokenSourceError};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use testbed::{Answer, PodStore, Request, TOKEN, Testbed};

fn tenant(testbed: &Testbed, identity: impl Into<Identity>) -> Tenant {
    let server = Server::parse(&testbed.server.url()).unwrap();
    let tenant = Tenant::builder(&RUNTIME, "test").server(server).identity(identity);
    tenant.policy(Policy::allow_all()).retry_policy(RetryPolicy::NEVER).build().unwrap()
}

async fn pods(tenant: &Tenant) -> Result<usize, Kubernetes> {
    kubernetes(tenant.list_namespaced_pods("shop", &ListOptions::ALL).await).map(|list| list.items.len())
}

/// A server that issues tokens to the holder of the pod's own token, and lists pods for the holder of an issued one. `life` is their lifetime.
async fn issuer(life: Duration, status: u16) -> (Testbed, PodStore) {
    let (store, issued) = (PodStore::recorded(), AtomicUsize::new(0));
    let pods = store.clone();
    let testbed = Testbed::serving(move |request: &Request| {
        if request.method != "POST" {
            return pods.answer(request);
        }
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Answer::new(401, r#"{"kind": "Status", "message": "Unauthorized"}"#);
        }
        if status != 201 {
            return Answer::new(status, format!(r#"{{"kind": "Status", "message": "not {TOKEN}"}}"#));
        }
        let token = format!("issued-token-number-{}", issued.fetch_add(1, Ordering::Relaxed));
        pods.accept_tokens(&[&token]);
        let expires = humantime::format_rfc3339(SystemTime::now() + life);
        let status = serde_json::json!({"token": token, "expirationTimestamp": expires.to_string()});
        Answer::new(201, serde_json::json!({"kind": "TokenRequest", "status": status}).to_string())
    });
    (testbed.await, store)
}

fn gateway(testbed: &Testbed) -> TokenRequest {
    Identity::token_request("shop", "gateway").asked_by(testbed.volume.path())
}

const PATH: &str = "/api/v1/namespaces/shop/serviceaccounts/gateway/token";

/// The token is requested once, by the pod's own account, and again if the API server refuses it.
#[tokio::test]
async fn a_tenant_is_another_service_account() {
    let (testbed, store) = issuer(Duration::from_secs(3600), 201).await;
    let tenant = tenant(&testbed, gateway(&testbed));
    assert_eq!((pods(&tenant).await, pods(&tenant).await), (Ok(7), Ok(7)));
    let requests = testbed.server.take_requests();
    let sent: Vec<_> = requests.iter().map(|request| (request.path(), request.header("authorization").unwrap())).collect();
    let list = ("/api/v1/namespaces/shop/pods", "Bearer issued-token-number-0");
    assert_eq!(sent, [(PATH, &*format!("Bearer {TOKEN}")), list, list]);
    assert_eq!(tenant.namespace().await.unwrap().as_deref(), Some("shop"));

    // The token is new, so it is not requested again for each refusal.
    store.accept_tokens(&["none of these"]);
    for _ in 0..20 {
        assert!(matches!(pods(&tenant).await, Err(Kubernetes::Api(status)) if status.code == 401));
    }
    let asked = || testbed.server.requests().iter().filter(|request| request.path() == PATH).count();
    assert!(asked() < 10, "{}", asked());
    let again = async { while pods(&tenant).await != Ok(7) {} };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("a new token is requested");
}

/// An expired token is not sent: the call waits for a new one.
#[tokio::test]
async fn an_expired_token_is_not_sent() {
    let (testbed, _) = issuer(Duration::ZERO, 201).await;
    let tenant = tenant(&testbed, gateway(&testbed));
    let mut list = std::pin::pin!(pods(&tenant));
    tokio::select! {
        ended = &mut list => panic!("{ended:?}"),
        // The second request comes after a second, not at once.
        () = testbed.server.until_requests(2) => {}
    }
    let requests = testbed.server.requests();
    assert_eq!(requests.len(), 2, "there is a pause between requests for a token");
    assert!(requests.iter().all(|request| request.path() == PATH), "an expired token is not sent");
}

/// The error names the account and what to check, and contains no token.
#[tokio::test]
async fn a_refused_token_request_is_reported() {
    let (testbed, _) = issuer(Duration::from_secs(3600), 403).await;
    let refused = pods(&tenant(&testbed, gateway(&testbed))).await.unwrap_err();
    let Kubernetes::Transport(TransportError::Other(text)) = &refused else { panic!("{refused:?}") };
    for part in ["`shop/gateway`", "HTTP 403", "serviceaccounts/token"] {
        assert!(text.contains(part), "{text}");
    }
    // The sandbox does not get the API server's message about the requesting account.
    assert!(!text.contains(TOKEN) && !text.contains("not "), "{text}");

    for (token, says) in [("another-that-the-server-does-not-know", "HTTP 401"), ("not a token", "no good token of its own")] {
        testbed.volume.set("token", token.as_bytes());
        let unknown = pods(&tenant(&testbed, gateway(&testbed))).await.unwrap_err();
        assert!(format!("{unknown:?}").contains(says), "{unknown:?}");
    }
}

/// An embedder's own token source, in memory.
struct Source {
    ca: Vec<u8>,
    asked: AtomicUsize,
}

impl TokenSource for Source {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, TokenSourceError>> + Send + '_>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(IssuedToken::new(TOKEN, Some(SystemTime::now() + Duration::from_secs(600)))))
    }

    fn ca_bundle(&self) -> Result<Vec<u8>, TokenSourceError> {
        match self.ca.is_empty() {
            true => Err(TokenSourceError::retryable("the bundle has not come yet")),
            false => Ok(self.ca.clone()),
        }
    }
}

struct Shared(Arc<Source>);

impl TokenSource for Shared {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, TokenSourceError>> + Send + '_>> {
        self.0.token()
    }

    fn ca_bundle(&self) -> Result<Vec<u8>, TokenSourceError> {
        self.0.ca_bundle()
    }
}

#[tokio::test]
async fn an_identity_may_be_in_memory_alone() {
    let testbed = Testbed::start().await;
    let source = |ca: Vec<u8>| Arc::new(Source { ca, asked: AtomicUsize::new(0) });
    let good = source(std::fs::read(testbed.volume.path().join("ca.crt")).unwrap());
    let tenant_of = |source: &Arc<Source>| tenant(&testbed, Identity::source(Shared(source.clone())));
    let tenant = tenant_of(&good);
    assert_eq!((pods(&tenant).await, pods(&tenant).await), (Ok(7), Ok(7)));
    assert_eq!((good.asked.load(Ordering::Relaxed), tenant.namespace().await.unwrap()), (1, None));

    let without = pods(&tenant_of(&source(Vec::new()))).await.unwrap_err();
    assert!(format!("{without:?}").contains("the bundle has not come yet"), "{without:?}");
    let other = pods(&tenant_of(&source(testbed::Ca::new("another").pem().into_bytes()))).await.unwrap_err();
    assert!(matches!(other, Kubernetes::Transport(TransportError::Certificate(_))), "{other:?}");
}

/// An invalid identity is refused when the tenant is built.
#[test]
fn invalid_identities_are_refused() {
    let server = || Server::parse("https://10.96.0.1").unwrap();
    for identity in [
        Identity::token_request("Shop", "gateway"),
        Identity::token_request("shop", "../secrets"),
        Identity::token_request("shop", "gateway").expires_in(Duration::from_secs(599)),
    ] {
        let built = Tenant::builder(&RUNTIME, "test").server(server()).identity(identity).build();
        assert!(matches!(built, Err(Error::Identity(_))), "{built:?}");
    }
    let portable = Tenant::builder(&RUNTIME, "test").server(server()).identity(Identity::token_request("shop", "gateway"));
    assert!(matches!(portable.token_access(TokenAccess::Portable).build(), Err(Error::Identity(_))));
}
