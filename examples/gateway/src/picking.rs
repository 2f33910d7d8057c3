//! Which pod a request goes to: what the route's extension says, and what becomes of a request where it says nothing.

use crate::picker::{Refusal, Request as Head};
use crate::pods::{Pod, Snapshot};
use crate::routes::{Problem, Route};
use http::StatusCode;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// For so long a request waits for pods to be known, after the start.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// Why a request goes to no pod.
#[derive(Debug)]
pub struct Failed {
    /// A word for the metric.
    pub outcome: &'static str,
    /// What the client is told.
    pub status: StatusCode,
    /// The same in words.
    pub reason: String,
}

impl Failed {
    pub(crate) fn new(outcome: &'static str, status: StatusCode, reason: String) -> Failed {
        Failed { outcome, status, reason }
    }
}

/// Counts a request, by what came of it.
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

/// The addresses of the pods that a request is to go to: the one that is picked, and those to try after it. These are the other ready pods in turn,
/// where no extension decides, or the route goes on without it (`failOpen`). It takes no longer than `limit`. It has the whole head of the request: the
/// extension sees of it what the route shows.
///
/// # Errors
///
/// It goes to no pod.
pub async fn pick_for(route: &Route, mut head: Head, limit: Duration) -> Result<Vec<IpAddr>, Failed> {
    head.headers.retain(|(name, _)| route.config.shows(name));
    let begun = Instant::now();
    let pods = known(route, limit).await?;
    let first = pick(route, &head, &pods, limit.saturating_sub(begun.elapsed())).await?;
    if route.config.extension.is_some() && !route.config.fail_open {
        return Ok(vec![first.ip]);
    }
    let next = route.turn();
    let others = (0..pods.pods.len()).map(|place| &pods.pods[(next + place) % pods.pods.len()]);
    Ok(std::iter::once(first).chain(others.filter(|pod| pod.name != first.name)).map(|pod| pod.ip).collect())
}

/// The route's ready pods.
pub(crate) async fn known(route: &Route, limit: Duration) -> Result<Arc<Snapshot>, Failed> {
    let unknown = || Failed::new("unknown", StatusCode::SERVICE_UNAVAILABLE, "the route's pods are not known yet".into());
    route.pods.ready(limit.min(FIRST_LIST)).await.ok_or_else(unknown)
}

/// The pod that a request goes to first.
pub(crate) async fn pick<'a>(route: &Route, head: &Head, pods: &'a Arc<Snapshot>, limit: Duration) -> Result<&'a Pod, Failed> {
    match ask(route, head, pods, limit).await {
        // Whoever is refused by an extension that works, is refused.
        Err(failed) if route.config.fail_open && matches!(failed.outcome, EXTENSION_FAILED | NO_EXTENSION) => {
            warn!(route = %route.config, failed.reason, "the request goes to a pod whose turn it is (failOpen)");
            in_turn(route, pods)
        }
        picked => picked,
    }
}

const EXTENSION_FAILED: &str = "extension_failed";
const NO_EXTENSION: &str = "no_extension";

/// The pod whose turn it is.
fn in_turn<'a>(route: &Route, pods: &'a Arc<Snapshot>) -> Result<&'a Pod, Failed> {
    let place = route.turn().checked_rem(pods.pods.len());
    let none = || Failed::new("no_pod", StatusCode::SERVICE_UNAVAILABLE, "no pod is ready".into());
    place.and_then(|place| pods.pods.get(place)).ok_or_else(none)
}

async fn ask<'a>(route: &Route, head: &Head, pods: &'a Arc<Snapshot>, limit: Duration) -> Result<&'a Pod, Failed> {
    let Some(picker) = &route.picker else {
        // It must not be taken for a route without an extension: who may reach which pod is the extension's to say.
        if let Some(problem) = &route.problem {
            let is_loading = *problem == Problem::Loading;
            let text = if is_loading { "the route's extension is being loaded" } else { "the route's extension cannot be used" };
            return Err(Failed::new(NO_EXTENSION, StatusCode::SERVICE_UNAVAILABLE, text.into()));
        }
        return in_turn(route, pods);
    };
    let failed = || Failed::new(EXTENSION_FAILED, StatusCode::BAD_GATEWAY, "the route's extension failed".into());
    match timeout(route.config.pick_timeout.min(limit), picker.pick(head, pods)).await {
        Ok(Ok(Ok(name))) => pods.pod(&name).ok_or_else(|| {
            warn!(route = %route.config, "the extension picked what is no ready pod");
            failed()
        }),
        Ok(Ok(Err(Refusal { status, reason }))) => {
            let status = StatusCode::from_u16(status).ok().filter(|s| s.is_client_error() || s.is_server_error());
            Err(Failed::new("refused", status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), reason))
        }
        Ok(Err(error)) => {
            warn!(route = %route.config, %error, "the extension failed");
            Err(failed())
        }
        Err(_) => {
            warn!(route = %route.config, "the extension took longer than pickTimeout");
            Err(failed())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_without_its_port() {
        for (authority, host) in [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")] {
            assert_eq!(host_of(authority), host);
        }
    }
}
