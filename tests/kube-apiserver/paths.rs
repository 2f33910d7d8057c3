//! Compares how the door reads paths with how the API server reads them, as its audit log shows.

use crate::{kubectl, variable};
use incluster_core::request_info::{RequestInfo, Target, Verb};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// How many random paths to try.
const PATHS: usize = 3000;

/// How long an event may take to appear in the audit log.
const LOGGED_IN: Duration = Duration::from_secs(60);

/// The prefix of each request's `User-Agent`, which ends with the request's number.
const AGENT: &str = "incluster-path-";

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % below
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.next(among.len())]
    }

    fn is_one_of(&mut self, many: usize) -> bool {
        self.next(many) == 0
    }
}

/// Makes a random path with a query: mostly plausible parts in a plausible order, then changed here and there.
fn path(random: &mut Random) -> String {
    let prefix = random.pick(&[
        "/api/v1",
        "/api/v1",
        "/apis/apps/v1",
        "/apis/rbac.authorization.k8s.io/v1",
        "/api",
        "/apis",
        "/apis/batch",
        "/version",
        "",
    ]);
    let mut segments: Vec<&str> = Vec::new();
    if random.is_one_of(12) {
        segments.push(random.pick(&["watch", "proxy", "namespaces", "v1"]));
    }
    if !random.is_one_of(3) {
        segments.extend(["namespaces", random.pick(&["default", "kube-system", "none", "status", "pods", "a.b", "watch"])]);
    }
    segments.push(random.pick(&[
        "pods",
        "deployments",
        "services",
        "nodes",
        "secrets",
        "clusterroles",
        "namespaces",
        "status",
        "finalize",
        "watch",
        "x-y",
    ]));
    for parts in [
        &["web-0", "system:node", "a%20b", "web:80", "default", "status", "watch", "~", "a+b", "%2A"][..],
        &["log", "status", "proxy", "exec", "scale", "token", "finalize"],
        &["x", "metrics", "y:1", "%61"],
    ] {
        if random.is_one_of(2) {
            break;
        }
        segments.push(random.pick(parts));
    }
    let mut path = format!("{prefix}/{}", segments.join("/"));
    for _ in 0..random.next(8).saturating_sub(5) {
        let at = random.next(path.len() + 1);
        match random.next(7) {
            0 => path.insert(at, '/'),
            1 => path.insert_str(
                at,
                random.pick(&["%2F", "%2f", "%2e", "%00", "%252f", "..", "/..", "/.", "%C3%A4", ";", "%5C", "%"]),
            ),
            2 if at < path.len() => path = format!("{}%{:02x}{}", &path[..at], path.as_bytes()[at], &path[at + 1..]),
            3 if at < path.len() => path = format!("{}{}{}", &path[..at], path[at..=at].to_uppercase(), &path[at + 1..]),
            4 if at < path.len() => path = format!("{}{}", &path[..at], &path[at + 1..]),
            5 => path.push('/'),
            _ => path.insert_str(at, random.pick(&["pods/", "namespaces/", "watch/", "api/"])),
        }
    }
    let query = (0..random.next(4)).map(|_| {
        random.pick(&[
            "watch=1",
            "watch=0",
            "watch=true",
            "watch=false",
            "watch",
            "watch=",
            "Watch=1",
            "w%61tch=1",
            "watch=%30",
            "watch=no",
            "watch=FALSE",
            "watch=1;limit=1",
            "limit=5",
            "timeoutSeconds=1",
            "fieldSelector=metadata.name%3Dweb-0",
            "labelSelector=a%26watch%3D1",
            "watch%00=1",
            "=1",
            "watch=0%26",
            "watch=1%00",
            "continue=x+y",
            "pretty",
            "fieldSelector=metadata.name=web-0",
            "watch==1",
            "allowWatchBookmarks=true",
        ])
    });
    let query: Vec<&str> = query.collect();
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// The attributes of a request: verb, group, resource, subresource, namespace.
type Asked = (String, String, String, String, String);

fn of_door(info: &RequestInfo<'_>) -> Asked {
    let owned = |text: &str| text.to_string();
    match info.target {
        Target::Resource { api_group, resource, subresource, namespace } => (
            info.verb.to_string(),
            owned(api_group),
            owned(resource),
            owned(subresource.unwrap_or_default()),
            owned(namespace.unwrap_or_default()),
        ),
        Target::NonResource(_) => (info.verb.to_string(), String::new(), String::new(), String::new(), String::new()),
    }
}

fn of_server(event: &Value) -> Asked {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let object = &event["objectRef"];
    (
        text(&event["verb"]),
        text(&object["apiGroup"]),
        text(&object["resource"]),
        text(&object["subresource"]),
        text(&object["namespace"]),
    )
}

/// A client that sends paths unchanged, which no HTTP client does.
struct Raw {
    tls: Arc<rustls::ClientConfig>,
    authority: String,
    token: String,
}

impl Raw {
    fn new(token: &str) -> Raw {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(variable("REAL_CA")).unwrap() {
            roots.add(ca.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        let authority = variable("REAL_SERVER").strip_prefix("https://").unwrap().trim_end_matches('/').to_string();
        Raw { tls, authority, token: token.into() }
    }

    /// Sends a request. Returns the status code, if the answer has one.
    fn get(&self, path_and_query: &str, agent: &str) -> io::Result<Option<u16>> {
        let (host, _) = self.authority.rsplit_once(':').unwrap();
        let name = rustls::pki_types::ServerName::try_from(host.to_string()).unwrap();
        let tcp = TcpStream::connect(&self.authority)?;
        tcp.set_read_timeout(Some(LOGGED_IN))?;
        let connection = rustls::ClientConnection::new(self.tls.clone(), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, tcp);
        let (authority, token) = (&self.authority, &self.token);
        let head = format!(
            "GET {path_and_query} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\nUser-Agent: {agent}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        Ok(std::str::from_utf8(&first).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok()))
    }
}

/// Reads the events of these requests from the audit log, by the requests' numbers.
fn events(log: &str) -> BTreeMap<usize, Value> {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    let ours = text.lines().filter(|line| line.contains(AGENT)).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    ours.filter_map(|event| Some((event["userAgent"].as_str()?.strip_prefix(AGENT)?.parse().ok()?, event))).collect()
}

/// The paths of all resources that discovery lists: of the collection and of one object.
fn discovered() -> Vec<String> {
    let json = |path: &str| serde_json::from_str::<Value>(&kubectl(&["get", "--raw", path])).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut versions = vec!["/api/v1".to_string()];
    for group in list(&json("/apis")["groups"]) {
        versions.extend(
            list(&group["versions"]).iter().map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap())),
        );
    }
    let mut paths = vec!["/api".to_string(), "/apis".into()];
    for version in versions {
        let resources = list(&json(&version)["resources"]);
        paths.push(version.clone());
        for resource in resources {
            let place = if resource["namespaced"] == true { "/namespaces/default" } else { "" };
            let name = resource["name"].as_str().unwrap();
            paths.push(match name.split_once('/') {
                Some((resource, subresource)) => format!("{version}{place}/{resource}/some-name/{subresource}"),
                None => format!("{version}{place}/{name}"),
            });
            if !name.contains('/') {
                paths.extend([format!("{version}/{name}"), format!("{version}{place}/{name}/some-name")]);
            }
        }
    }
    paths
}

/// The door reads each path that it accepts as the API server does, and it accepts many of the random paths.
#[test]
#[ignore = "it needs the audit log of a cluster of one's own"]
fn the_door_reads_a_path_as_the_api_server_does() {
    let log = variable("REAL_AUDIT_LOG");
    let mut random = Random(20);
    let listed = discovered();
    let mut paths: Vec<String> = (0..PATHS).map(|_| path(&mut random)).collect();
    paths.extend(listed.iter().cloned());
    let paths: Vec<String> = paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    for path in &listed {
        assert!(RequestInfo::parse(path).is_ok(), "{path} is in discovery, and the door refuses it");
    }
    let raw = Raw::new(&variable("REAL_TOKEN"));
    let parts = paths.len().div_ceil(4);
    thread::scope(|scope| {
        for (part, paths) in paths.chunks(parts).enumerate() {
            let raw = &raw;
            scope.spawn(move || {
                for (number, path) in paths.iter().enumerate() {
                    // The server does not log what it rejects as invalid HTTP.
                    let _ = raw.get(path, &format!("{AGENT}{}", part * parts + number));
                }
            });
        }
    });
    let decided: Vec<(usize, RequestInfo<'_>)> =
        paths.iter().enumerate().filter_map(|(number, path)| Some((number, RequestInfo::parse(path).ok()?))).collect();
    let begun = Instant::now();
    let mut events = events(&log);
    while decided.iter().any(|(number, _)| !events.contains_key(number)) && begun.elapsed() < LOGGED_IN {
        thread::yield_now();
        events = self::events(&log);
    }
    let mut kinds = BTreeMap::<Verb, usize>::new();
    for (number, info) in &decided {
        let event = events.get(number).unwrap_or_else(|| panic!("no audit event for {}", paths[*number]));
        assert_eq!(of_door(info), of_server(event), "{}: {event}", paths[*number]);
        *kinds.entry(info.verb).or_default() += 1;
    }
    println!("{} paths, {} in the audit log; the door accepted: {kinds:?}", paths.len(), events.len());
    assert!(decided.len() > PATHS / 5 && kinds.values().all(|count| *count > 50) && kinds.len() == 3, "{kinds:?}");
}
