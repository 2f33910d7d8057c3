use super::policy::{Policy, Rule};
use super::*;
use crate::files::read_file;
use crate::limits::TenantLimits;

fn door(policy: Policy, limits: TenantLimits, bearer: Bearer) -> Door {
    let server = Server::new("10.0.0.1", 443).unwrap();
    let connections =
        Connections::new(server.clone(), "ca.crt".into(), Box::new(|| Ok(Vec::new())), &RequestLimits::DEFAULT, Arc::default());
    Door {
        lists_first: Arc::default(),
        tenant: "test".into(),
        permission: Arc::new(Permission::new(policy)),
        quota: Arc::new(RequestQuota::new(&limits)),
        telling: Arc::default(),
        server,
        limits: RequestLimits::DEFAULT,
        bearer,
        connections,
    }
}

fn asked(door: &Door, request: http::request::Builder) -> Result<Admitted, Refusal> {
    door.admit(&request.body(()).unwrap().into_parts().0)
}

fn admitted(request: http::request::Builder) -> Option<Request<Full<Bytes>>> {
    asked(&door(Policy::allow_all(), TenantLimits::default(), Bearer::Sandbox), request).ok().map(|admitted| admitted.request)
}

fn admit(request: http::request::Builder) -> bool {
    admitted(request).is_some()
}

fn good() -> http::request::Builder {
    Request::get("https://10.0.0.1:443/api/v1/pods?limit=1").header("authorization", "Bearer x").header("accept", "a")
}

#[test]
fn what_the_client_sends_may_leave() {
    assert!(admit(good()));
    let other_spelling = admitted(good().uri("https://10.0.0.1/api").header("host", "evil")).unwrap();
    assert_eq!(other_spelling.uri(), "https://10.0.0.1:443/api");
    assert_eq!(other_spelling.headers().get("host"), None);
}

/// The name is passed on as the guest encoded it; the attempt's number is for the door alone.
#[test]
fn an_encoded_name_may_leave_and_the_attempt_does_not() {
    let uri = "https://10.0.0.1:443/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode";
    let sent = admitted(good().uri(uri).header(ATTEMPT_HEADER, "3")).unwrap();
    assert_eq!((sent.uri().to_string().as_str(), sent.headers().get(ATTEMPT_HEADER)), (uri, None));
    let said = |value: &str| attempt(&HeaderMap::from_iter([(ATTEMPT, HeaderValue::from_str(value).unwrap())]));
    assert_eq!([said("3"), said("x"), said("-1"), said("0"), said("4294967295"), attempt(&HeaderMap::new())], [3, 1, 1, 1, 1, 1]);
    assert!(admit(good().uri("https://10.0.0.1:0443/api")));
}

#[test]
fn nothing_else_may_leave() {
    for uri in ["http://10.0.0.1:443/api", "https://10.0.0.2/api", "https://10.0.0.1:8443/", "https://x@10.0.0.1/", "/api"] {
        assert!(!admit(good().uri(uri)), "{uri}");
    }
    for method in ["POST", "DELETE", "CONNECT", "HEAD", "OPTIONS", "get"] {
        assert!(!admit(good().method(method)), "{method}");
    }
    for header in ["impersonate-user", "cookie", "proxy-authorization", "x-forwarded-for", "range", "expect", "upgrade"] {
        assert!(!admit(good().header(header, "x")), "{header}");
    }
}

#[test]
fn nothing_leaves_without_credentials() {
    let bare = || Request::get("https://10.0.0.1/api");
    assert!(!admit(bare()));
    for value in ["", "Bearer", "Bearer ", "Bearer   ", "bearer x", "Basic eDp5"] {
        assert!(!admit(bare().header("authorization", value)), "{value:?}");
    }
    assert!(!admit(good().header("authorization", "Bearer y")));
}

#[test]
fn what_the_policy_does_not_permit_does_not_leave() {
    let pods = Policy::new(vec![Rule {
        verbs: vec![Verb::List],
        api_groups: vec![String::new()],
        resources: vec!["pods".into()],
        namespaces: vec!["shop".into()],
        non_resource_urls: Vec::new(),
    }]);
    let door = door(pods.unwrap(), TenantLimits::default(), Bearer::Sandbox);
    let ask = |path: &str| asked(&door, good().uri(format!("https://10.0.0.1{path}")));
    assert!(ask("/api/v1/namespaces/shop/pods?limit=1").unwrap().verb != Verb::Watch);
    for path in ["/api/v1/pods", "/api/v1/namespaces/shop/secrets", "/api/v1/namespaces/shop/pods?watch=1", "/version"] {
        let Err(Refusal::Policy(why)) = ask(path) else { panic!("{path}") };
        assert!(why.starts_with("the policy does not permit `"), "{why}");
    }
}

#[test]
fn a_watch_is_distinguished_from_a_list() {
    let door = door(Policy::allow_all(), TenantLimits::default(), Bearer::Sandbox);
    for (query, expected) in [("?watch=true", true), ("?w%61tch", true), ("?watch=0", false), ("", false)] {
        let request = good().uri(format!("https://10.0.0.1/api/v1/pods{query}"));
        assert_eq!(asked(&door, request).unwrap().verb == Verb::Watch, expected, "{query}");
    }
}

#[test]
fn a_tenant_asks_no_faster_and_reads_no_more_at_once_than_its_limits() {
    let slow = door(
        Policy::allow_all(),
        TenantLimits { requests_per_second: 1, request_burst: 2, ..TenantLimits::default() },
        Bearer::Sandbox,
    );
    assert!(asked(&slow, good()).is_ok() && asked(&slow, good()).is_ok());
    assert!(matches!(asked(&slow, good()), Err(Refusal::Rate(1))));

    let narrow = door(Policy::allow_all(), TenantLimits { open_streams: 1, ..TenantLimits::default() }, Bearer::Sandbox);
    let open = asked(&narrow, good()).unwrap();
    assert!(matches!(asked(&narrow, good()), Err(Refusal::Streams(1))));
    drop(open);
    assert!(asked(&narrow, good()).is_ok());
}

async fn authorize(door: &Door, headers: &mut HeaderMap) -> Result<Option<Guard>, Error> {
    let token = door.bearer.token(Instant::now() + FAR).await?;
    door.authorize(headers, token.as_deref())
}

#[tokio::test]
async fn a_brokered_token_takes_the_place_of_the_placeholder_and_of_nothing_else() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "the-real-token").unwrap();
    let credentials = Arc::new(Credentials::new(file.path().to_str().unwrap().into(), read_file));
    let brokering = door(Policy::allow_all(), TenantLimits::default(), Bearer::File(credentials));
    let with = |token: &str| Request::get("https://10.0.0.1/api").header("authorization", format!("Bearer {token}"));

    let mut admitted = asked(&brokering, with(PLACEHOLDER)).unwrap().request;
    assert_eq!(admitted.headers()["authorization"], format!("Bearer {PLACEHOLDER}"));
    authorize(&brokering, admitted.headers_mut()).await.unwrap();
    assert_eq!(admitted.headers()["authorization"], "Bearer the-real-token");
    assert!(admitted.headers()["authorization"].is_sensitive());
    for other in ["the-real-token", "x", "incluster-brokered-token ", "INCLUSTER-BROKERED-TOKEN"] {
        assert!(matches!(asked(&brokering, with(other)), Err(Refusal::Credentials)), "{other}");
    }

    std::fs::remove_file(file.path()).unwrap();
    let without =
        door(Policy::allow_all(), TenantLimits::default(), Bearer::File(Arc::new(Credentials::new("/none".into(), read_file))));
    let mut admitted = asked(&without, with(PLACEHOLDER)).unwrap().request;
    assert!(authorize(&without, admitted.headers_mut()).await.is_err());
}
