//! Authentication and authorization by a real API server.

use crate::{changes, kubectl, kubernetes, list_as, namespace, status, tenant, variable, volume};
use incluster::policy::Policy;
use incluster::types::{Error as Kubernetes, ListOptions, PagingOptions, PodList, Status, TransportError, WatchOptions};
use incluster::{Identity, Runtime, Server, Tenant, TokenRequest};
use std::time::{Duration, Instant};

/// How long the API server may go on accepting a token that it has accepted before: it caches the result for 10 s.
const MEMORY: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(500);

fn assert_forbidden(status: &Status, verb: &str) {
    assert_eq!((status.code, status.reason.as_deref()), (403, Some("Forbidden")));
    assert!(status.message.contains(&format!("cannot {verb} resource \"pods\"")), "{}", status.message);
    assert_eq!(status.details.as_ref().and_then(|details| details.kind.as_deref()), Some("pods"));
}

#[tokio::test]
async fn what_rbac_does_not_allow_is_forbidden() {
    let volume = volume(&variable("REAL_TOKEN"));
    let tenant = tenant(&volume);
    let other = "kube-system";
    let list = tenant.list_namespaced_pods(other, &ListOptions::ALL).await;
    assert_forbidden(&status(kubernetes(list)), "list");
    let mut pages = tenant.page_namespaced_pods(other, &ListOptions::ALL, &PagingOptions::DEFAULT).await.unwrap();
    assert_forbidden(&status(kubernetes(pages.next().await)), "list");
    let mut watch = tenant.watch_namespaced_pods(other, &WatchOptions::ALL).await.unwrap();
    assert_forbidden(&status(kubernetes(watch.next().await)), "watch");
    let json = tenant.get_json("/api/v1/namespaces/kube-system/secrets").await;
    assert_eq!(status(kubernetes(json)).code, 403);
}

/// In the namespace with the many pods, the role permits `list` and not `watch`.
#[tokio::test]
async fn a_list_is_allowed_where_a_watch_is_not() {
    let volume = volume(&variable("REAL_TOKEN"));
    let (tenant, load) = (tenant(&volume), format!("{}-load", namespace()));
    let options = ListOptions { limit: Some(1), ..ListOptions::ALL };
    let list = tenant.list_namespaced_pods(&load, &options).await.unwrap();
    let options = WatchOptions { resource_version: Some(list.resource_version), ..WatchOptions::ALL };
    let mut watch = tenant.watch_namespaced_pods(&load, &options).await.unwrap();
    assert_forbidden(&status(kubernetes(watch.next().await)), "watch");
}

#[tokio::test]
async fn the_token_of_a_deleted_service_account_is_refused() {
    let namespace = namespace();
    kubectl(&["--namespace", &namespace, "create", "serviceaccount", "leaver"]);
    let account = format!("{namespace}:leaver");
    kubectl(&["--namespace", &namespace, "create", "rolebinding", "leaver", "--role=lister", "--serviceaccount", &account]);
    let token = changes::token("leaver");
    let ask = async || -> Result<PodList, Kubernetes> {
        list_as(&token, &namespace, ListOptions { limit: Some(1), ..ListOptions::ALL }).await
    };
    assert_eq!(ask().await.unwrap().items.len(), 1);
    kubectl(&["--namespace", &namespace, "delete", "serviceaccount", "leaver"]);
    let deadline = Instant::now() + MEMORY;
    let refused = loop {
        match ask().await {
            Ok(_) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            answer => break status(answer),
        }
    };
    assert_eq!((refused.code, refused.reason.as_deref()), (401, Some("Unauthorized")));
}

#[tokio::test]
async fn a_refused_token_is_read_again_once() {
    let volume = volume("bad");
    // Beginning a list reads the token, and sends no request yet.
    let begin = async || {
        let options = ListOptions { limit: Some(10), ..ListOptions::ALL };
        tenant(&volume).page_namespaced_pods(&namespace(), &options, &PagingOptions::DEFAULT).await.unwrap()
    };
    let (mut one, mut two) = (begin().await, begin().await);
    volume.set("token", b"also bad");
    assert_eq!(status(kubernetes(one.next().await)).code, 401);
    volume.set("token", variable("REAL_TOKEN").as_bytes());
    assert_eq!(two.next().await.unwrap().unwrap().items.len(), 10);
    assert_eq!(one.next().await.unwrap().unwrap().items.len(), 10);
}

/// Each tenant's requests come from its own account, for RBAC and in the audit log. The account that requests tokens can do so only for the
/// accounts that its role names.
#[tokio::test]
async fn each_tenant_is_an_account_of_its_own() {
    let namespace = namespace();
    let kubectl = |args: &[&str]| kubectl(&[&["--namespace", &namespace], args].concat());
    for account in ["first", "second", "third"] {
        kubectl(&["create", "serviceaccount", account]);
    }
    let named = ["--verb=create", "--resource=serviceaccounts/token", "--resource-name=first", "--resource-name=second"];
    kubectl(&[&["create", "role", "issuer"], &named[..]].concat());
    kubectl(&["create", "rolebinding", "issuer", "--role=issuer", &format!("--serviceaccount={namespace}:lister")]);
    kubectl(&["create", "rolebinding", "first", "--role=lister", &format!("--serviceaccount={namespace}:first")]);
    kubectl(&["create", "secret", "generic", "bound"]);

    let volume = volume(&variable("REAL_TOKEN"));
    let (server, runtime) = (Server::parse(&variable("REAL_SERVER")).unwrap(), Runtime::new().unwrap());
    let list = async |identity: TokenRequest| -> Result<PodList, Kubernetes> {
        let tenant = Tenant::builder(&runtime, "real").server(server.clone()).identity(identity.asked_by(volume.path()));
        let tenant = tenant.policy(Policy::allow_all()).build().unwrap();
        kubernetes(tenant.list_namespaced_pods(&namespace, &ListOptions { limit: Some(1), ..ListOptions::ALL }).await)
    };
    let account = |name: &str| Identity::token_request(&namespace, name);
    assert_eq!(list(account("first")).await.unwrap().items.len(), 1);
    assert_eq!(list(account("first").bound_to_secret("bound", None)).await.unwrap().items.len(), 1);
    let second = status(list(account("second")).await);
    assert_forbidden(&second, "list");
    assert!(second.message.contains(&format!("system:serviceaccount:{namespace}:second")), "{}", second.message);
    for (identity, says) in [(account("third"), "HTTP 403"), (account("first").bound_to_secret("none", None), "HTTP 404")] {
        let Err(Kubernetes::Transport(TransportError::Other(text))) = list(identity).await else { panic!("{says}") };
        assert!(text.contains(says) && text.contains("serviceaccounts/token"), "{text}");
    }

    // The audit log of somebody else's cluster is not available.
    if let Ok(log) = std::env::var("REAL_AUDIT_LOG") {
        let log = std::fs::read_to_string(log).unwrap();
        let of_pods =
            |line: &&str| line.contains("\"resource\":\"pods\"") && line.contains(&format!("\"namespace\":\"{namespace}\""));
        for name in ["first", "second"] {
            let user = format!("\"username\":\"system:serviceaccount:{namespace}:{name}\"");
            assert!(log.lines().filter(of_pods).any(|line| line.contains(&user)), "{name}");
        }
    }
}
