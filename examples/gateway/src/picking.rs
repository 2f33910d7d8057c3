//! Decides to which pods a request goes: by the route's extension, or in turn.

use crate::config::RouteConfig;
use crate::loading::Problem;
use crate::picker::{Choice, Refusal, Request as Head};
use crate::pods::{Pod, Snapshot};
use crate::routes::Route;
use http::{HeaderName, HeaderValue, StatusCode};
use incluster::input;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// How long a request waits for the route's pods to be known, after the start.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// Why a request goes to no pod.
#[derive(Debug)]
pub struct Failed {
    /// The outcome, as a word for the metric.
    pub outcome: &'static str,
    /// The status code of the response.
    pub status: StatusCode,
    /// Why, in words, for the client.
    pub reason: String,
}

impl Failed {
    pub(crate) fn new(outcome: &'static str, status: StatusCode, reason: String) -> Failed {
        Failed { outcome, status, reason }
    }
}

/// Counts a request by its outcome.
pub fn count(route: &str, tenant: &str, outcome: &'static str) {
    let labels = [("route", route.to_string()), ("tenant", tenant.to_string()), ("outcome", outcome.to_string())];
    metrics::counter!("gateway_requests_total", &labels).increment(1);
}

/// The host in `host:port`.
pub fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq)]
pub struct Picked {
    /// The pods' addresses, in the order in which to try them; at least one, and at most [`MOST_TRIES`].
    pub addresses: Vec<SocketAddr>,
    /// The headers that the extension has set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The maximum number of pods to try for a request.
pub const MOST_TRIES: usize = 3;

/// How many bytes the headers that an extension sets may have together.
const MOST_HEADER_BYTES: usize = 8 << 10;

/// Decides where a request goes, within `limit`. After the pods that the extension has picked, the other ready pods follow in turn if the
/// route has no extension or goes on without it (`failOpen`). `head` has all headers; the extension sees those that the route shows.
///
/// # Errors
///
/// The request goes to no pod.
pub async fn pick_for(route: &Route, mut head: Head, limit: Duration) -> Result<Picked, Failed> {
    head.headers.retain(|(name, _)| route.config.shows(name));
    let begun = Instant::now();
    let unknown = || Failed::new("unknown", StatusCode::SERVICE_UNAVAILABLE, "the route's pods are not known yet".into());
    let pods = route.pods.ready(limit.min(FIRST_LIST)).await.ok_or_else(unknown)?;
    let asked = ask(route, &head, &pods, limit.saturating_sub(begun.elapsed())).await;
    let (mut picked, headers) = match asked {
        // A request that a working extension refuses stays refused.
        Err(failed) if route.config.fail_open && matches!(failed.outcome, EXTENSION_FAILED | NO_EXTENSION) => {
            let labels = [("route", route.config.to_string()), ("tenant", route.config.tenant.clone())];
            metrics::counter!("gateway_failed_open_total", &labels).increment(1);
            (Vec::new(), Vec::new())
        }
        asked => asked?,
    };
    if route.config.extension.is_none() || route.config.fail_open {
        let turn = route.turn();
        let others = (0..pods.pods.len()).map(|place| &pods.pods[(turn + place) % pods.pods.len()]);
        let others: Vec<_> = others.filter(|pod| !picked.iter().any(|before| before.name == pod.name)).take(MOST_TRIES).collect();
        picked.extend(others);
    }
    if picked.is_empty() {
        return Err(Failed::new("no_pod", StatusCode::SERVICE_UNAVAILABLE, "no pod is ready".into()));
    }
    let addresses = picked.iter().take(MOST_TRIES).map(|pod| (pod.ip, route.config.port).into()).collect();
    Ok(Picked { addresses, headers })
}

const EXTENSION_FAILED: &str = "extension_failed";
const NO_EXTENSION: &str = "no_extension";

/// The pods that the extension picks, and the headers that it sets; nothing, if the route has no extension.
type Asked<'a> = (Vec<&'a Pod>, Vec<(HeaderName, HeaderValue)>);

async fn ask<'a>(route: &Route, head: &Head, pods: &'a Arc<Snapshot>, limit: Duration) -> Result<Asked<'a>, Failed> {
    let Some(picker) = &route.picker else {
        // Do not treat this like a route without an extension: the extension may decide who may reach which pod.
        return match &route.problem {
            None => Ok((Vec::new(), Vec::new())),
            Some(problem) => {
                let is_loading = *problem == Problem::Loading;
                let text =
                    if is_loading { "the route's extension is being loaded" } else { "the route's extension cannot be used" };
                tell(route, &text);
                Err(Failed::new(NO_EXTENSION, StatusCode::SERVICE_UNAVAILABLE, text.into()))
            }
        };
    };
    let failed = |why: &dyn fmt::Display| {
        tell(route, &format_args!("the extension failed: {why}"));
        Failed::new(EXTENSION_FAILED, StatusCode::BAD_GATEWAY, "the route's extension failed".into())
    };
    let limit = route.config.pick_timeout.min(limit);
    match timeout(limit, picker.pick(head, pods)).await {
        Ok(Ok(Ok(choice))) => taken(&route.config, choice, pods).map_err(|why| failed(&why)),
        Ok(Ok(Err(Refusal { status, reason }))) => {
            let status = StatusCode::from_u16(status).ok().filter(|s| s.is_client_error() || s.is_server_error());
            Err(Failed::new("refused", status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), reason))
        }
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(failed(&format_args!(
            "it took longer than {} (pickTimeout, or what was left of the time for a decision)",
            humantime::format_duration(limit)
        ))),
    }
}

/// Logs what went wrong with a request: at most one line a second for each route.
fn tell(route: &Route, what: &dyn fmt::Display) {
    if let Some(suppressed) = route.told.tell(Instant::now()) {
        let goes_on = if route.config.fail_open { "; the request goes to a pod in turn (failOpen)" } else { "" };
        warn!(route = %route.config, tenant = route.config.tenant, suppressed, "{what}{goes_on}");
    }
}

/// Checks an extension's choice. Returns the pods and headers, or what is wrong with the choice.
fn taken<'a>(config: &RouteConfig, choice: Choice, pods: &'a Snapshot) -> Result<Asked<'a>, String> {
    if choice.pods.is_empty() {
        return Err("it picked no pod".into());
    }
    let pod =
        |name: &String| pods.pod(name).ok_or_else(|| format!("it picked a pod that is not ready: {}", input::printable(name)));
    let mut picked = choice.pods.iter().map(pod).collect::<Result<Vec<_>, _>>()?;
    // An extension may name one pod a million times.
    picked.truncate(MOST_TRIES);
    if choice.set_headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_HEADER_BYTES {
        return Err(format!("it set headers of more than {MOST_HEADER_BYTES} bytes"));
    }
    let header = |(name, value): (String, Vec<u8>)| {
        let permitted = name.parse::<HeaderName>().ok().filter(|name| config.may_set(name));
        let header = permitted
            .ok_or_else(|| format!("it set a header that the route's setHeaders does not permit: {}", input::printable(&name)))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| "it set a header to a value that HTTP does not allow")?;
        Ok((header, value))
    };
    let headers = choice.set_headers.into_iter().map(header).collect::<Result<_, String>>()?;
    Ok((picked, headers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use std::net::Ipv4Addr;
    use std::path::Path;

    /// What is taken from a choice of these pods and of one header, among pods `a`, `b`, `c` and `d`.
    fn take(pods: &[&str], header: (&str, &[u8])) -> Result<(Vec<String>, usize), String> {
        let sample = Config::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.yaml"))).unwrap();
        let config = RouteConfig { set_headers: vec!["x-model".into()], ..sample.routes[0].clone() };
        let pod = |name: &str| Pod { name: name.into(), ip: Ipv4Addr::LOCALHOST.into(), node_name: None };
        let ready = Snapshot { generation: 1, pods: ["a", "b", "c", "d"].map(pod).into() };
        let set_headers = vec![(header.0.into(), header.1.into())];
        let choice = Choice { pods: pods.iter().map(ToString::to_string).collect(), set_headers };
        let (picked, headers) = taken(&config, choice, &ready)?;
        Ok((picked.into_iter().map(|pod| pod.name.clone()).collect(), headers.len()))
    }

    #[test]
    fn a_choice_has_at_most_three_ready_pods_and_permitted_headers() {
        let header: (&str, &[u8]) = ("X-Model", b"large");
        assert_eq!(take(&["d", "b"], header), Ok((vec!["d".into(), "b".into()], 1)));
        assert_eq!(take(&["a"; 100_000], header), Ok((vec!["a".into(); 3], 1)));
        let long = vec![b'x'; MOST_HEADER_BYTES];
        for (pods, header, why) in [
            (&[][..], header, "it picked no pod"),
            (&["a", "e"], header, "it picked a pod that is not ready: e"),
            (&["a"], ("x-other", b"1"), "it set a header that the route's setHeaders does not permit: x-other"),
            (&["a"], ("not a name", b"1"), "it set a header that the route's setHeaders does not permit: not a name"),
            (&["a"], ("x-model", b"a\r\nhost: b"), "it set a header to a value that HTTP does not allow"),
            (&["a"], ("x-model", &long), "it set headers of more than 8192 bytes"),
        ] {
            assert_eq!(take(pods, header), Err(why.into()));
        }
    }

    #[test]
    fn a_host_is_without_its_port() {
        for (authority, host) in [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")] {
            assert_eq!(host_of(authority), host);
        }
    }
}
