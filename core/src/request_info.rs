//! What a request asks of the API server, parsed as the API server itself parses it (its `RequestInfo`).
//!
//! Policies are applied to the result, so parsing is strict: a request that the server could read in another way is malformed here. The
//! client never sends a malformed request.

use crate::{dns, text};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest request that is accepted; no sensible request is longer. (Go drops the whole of a query with more than 10,000 parameters,
/// which no query of this length has.)
const MAX_BYTES: usize = 8 << 10;

/// An action on a resource. No verb changes anything: a sandbox cannot send such requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// One object by its name, a subresource, or a path that is not a resource's.
    Get,
    /// All objects, or those of a namespace.
    List,
    /// The changes of objects.
    Watch,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
        })
    }
}

/// What a GET asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestInfo<'a> {
    /// The action.
    pub verb: Verb,
    /// The object of the action.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// An object, or a list of objects.
    Resource {
        /// The API group; empty for the core group, which has the pods.
        api_group: &'a str,
        /// The resource in the plural, for example `pods`.
        resource: &'a str,
        /// The subresource, for example `log`.
        subresource: Option<&'a str>,
        /// The namespace; `None` for an object without a namespace, and for all namespaces.
        namespace: Option<&'a str>,
    },
    /// Any other path.
    NonResource(&'a str),
}

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl<'a> RequestInfo<'a> {
    /// Parses a path with its query, as it is sent: percent-encoded. In the path, only the name of an object may have encoded characters,
    /// such as the `:` of `system:node`, which may also stand as it is. Encoding elsewhere in the path is malformed.
    pub fn parse(path_and_query: &'a str) -> Result<RequestInfo<'a>, Malformed> {
        if path_and_query.len() > MAX_BYTES {
            return Err(Malformed("is longer than 8 KiB"));
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let is_watch = is_watch(query)?;
        let inner = path.strip_prefix('/').ok_or(Malformed("has no absolute path"))?;
        let get = |target| Ok(RequestInfo { verb: Verb::Get, target });
        if inner.is_empty() {
            return get(Target::NonResource(path));
        }
        for segment in inner.split('/') {
            check(segment)?;
        }
        let mut segments = inner.split('/');
        let (prefix, mut rest) = (segments.next(), segments.clone());
        let (api_group, version) = match (prefix, rest.next(), rest.next()) {
            (Some("api"), Some(version), Some(_)) => ("", version),
            (Some("apis"), Some(group), Some(version)) if rest.next().is_some() => (group, version),
            _ => {
                plain(path)?;
                return get(Target::NonResource(path));
            }
        };
        if prefix == Some("apis") && !(dns::is_host_name(api_group) && is_lower(api_group)) {
            return Err(Malformed("names no valid API group"));
        }
        if !is_lower(version) || !version.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Malformed("names no valid API version"));
        }
        let mut rest = segments.skip(if api_group.is_empty() { 1 } else { 2 });
        let (first, second, third) = (rest.next(), rest.next(), rest.next());
        if matches!(first, Some("watch" | "proxy")) {
            return Err(Malformed("has the old prefix watch or proxy"));
        }
        let namespace = second.filter(|_| first == Some("namespaces"));
        if namespace.is_some_and(|namespace| !dns::is_label(namespace)) {
            return Err(Malformed("has a namespace that is not a DNS-1123 label"));
        }
        // A namespace itself has these two parts. Otherwise, what follows is in the namespace.
        let (resource, name, subresource) = match (namespace, third) {
            (Some(_), Some(resource)) if !matches!(resource, "status" | "finalize") => (Some(resource), rest.next(), rest.next()),
            _ => (first, second, third),
        };
        if rest.clone().next().is_some() && subresource != Some("proxy") {
            return Err(Malformed("goes deeper than a subresource"));
        }
        rest.try_for_each(plain)?;
        let resource = resource.unwrap_or_default();
        if !is_resource(resource) || !subresource.is_none_or(is_resource) {
            return Err(Malformed("names a resource that is not in lower case"));
        }
        let verb = match (name, is_watch) {
            (Some(_), true) => return Err(Malformed("watches one object by its path, which no API server supports")),
            (Some(_), false) => Verb::Get,
            (None, true) => Verb::Watch,
            (None, false) => Verb::List,
        };
        Ok(RequestInfo { verb, target: Target::Resource { api_group, resource, subresource, namespace } })
    }
}

/// Rejects a segment, anywhere in a path, that could stand for more than one segment, or for another place.
fn check(segment: &str) -> Result<(), Malformed> {
    let is_segment = |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9') || b"-._~!$&'()*+,;=:@%".contains(&b);
    if !segment.bytes().all(is_segment) || !escapes_are_whole(segment) {
        return Err(Malformed("has a character that must be encoded"));
    }
    let decoded = || percent_decode_str(segment);
    if segment.is_empty() || decoded().eq(*b".") || decoded().eq(*b"..") {
        return Err(Malformed("has a segment that is empty, `.` or `..`"));
    }
    match decoded().all(|b| matches!(b, b' '..=b'~') && !b"/\\%".contains(&b)) {
        true => Ok(()),
        false => Err(Malformed("has an encoded slash, backslash, percent sign, control character or non-ASCII character")),
    }
}

/// Rejects a path that the server might not read exactly as it is written.
fn plain(path: &str) -> Result<(), Malformed> {
    match path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b)) {
        true => Ok(()),
        false => Err(Malformed("has an encoded or forbidden character in its path")),
    }
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether `text` can be the name of a resource or subresource.
pub fn is_resource(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether the query asks for a watch. The API server reads any value but `false` and `0` as true.
fn is_watch(query: &str) -> Result<bool, Malformed> {
    if query.bytes().any(|b| !b.is_ascii_graphic() || b"\"#<>;\\".contains(&b)) || !escapes_are_whole(query) {
        return Err(Malformed("has a character that must be encoded"));
    }
    let mut watch = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !means(name, "watch") {
            continue;
        }
        let is_plain = percent_decode_str(name).eq(*b"watch");
        if watch.replace(!means(value, "false") && !means(value, "0")).is_some() || !is_plain {
            return Err(Malformed("has the parameter watch in capitals, or more than once"));
        }
    }
    Ok(watch.unwrap_or(false))
}

/// Whether a part of a query decodes to `lower`, in upper or lower case.
fn means(encoded: &str, lower: &str) -> bool {
    percent_decode_str(encoded).map(|byte| byte.to_ascii_lowercase()).eq(lower.bytes())
}

/// Whether each `%` begins an encoded byte.
fn escapes_are_whole(text: &str) -> bool {
    let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    text.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        is_hex(bytes.next()) && is_hex(bytes.next())
    })
}

impl fmt::Display for RequestInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target::Resource { api_group, resource, subresource, namespace } = self.target else {
            let Target::NonResource(path) = self.target else { return Ok(()) };
            return write!(f, "`{} {}`", self.verb, text::name(path));
        };
        write!(f, "`{} {}", self.verb, text::name(resource))?;
        if !api_group.is_empty() {
            write!(f, ".{}", text::name(api_group))?;
        }
        if let Some(subresource) = subresource {
            write!(f, "/{}", text::name(subresource))?;
        }
        match namespace {
            Some(namespace) => write!(f, "` in namespace `{namespace}`"),
            None => write!(f, "` in all namespaces"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path_and_query: &str) -> String {
        RequestInfo::parse(path_and_query).unwrap_or_else(|e| panic!("{path_and_query}: {e}")).to_string()
    }

    #[test]
    fn requests_are_read_as_the_api_server_reads_them() {
        for (path, expected) in [
            ("/api/v1/namespaces/shop/pods", "`list pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods?limit=5&watch=0", "`list pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods?watch=False", "`list pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods?watch", "`watch pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods?w%61tch=1", "`watch pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods?labelSelector=watch%3Dtrue", "`list pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods/web-0", "`get pods` in namespace `shop`"),
            ("/api/v1/namespaces/shop/pods/web-0/log", "`get pods/log` in namespace `shop`"),
            ("/api/v1/namespaces/shop/services/web:80/proxy/a/b", "`get services/proxy` in namespace `shop`"),
            ("/api/v1/namespaces/shop", "`get namespaces` in namespace `shop`"),
            ("/api/v1/namespaces/shop/status", "`get namespaces/status` in namespace `shop`"),
            ("/api/v1/namespaces", "`list namespaces` in all namespaces"),
            ("/api/v1/pods?watch=true", "`watch pods` in all namespaces"),
            ("/apis/apps/v1/namespaces/shop/deployments", "`list deployments.apps` in namespace `shop`"),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
                "`get clusterroles.rbac.authorization.k8s.io` in all namespaces",
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode?x=y%26watch",
                "`get clusterroles.rbac.authorization.k8s.io` in all namespaces",
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%20b@c+d%7e",
                "`get clusterroles.rbac.authorization.k8s.io` in all namespaces",
            ),
            ("/version", "`get /version`"),
            ("/apis/apps/v1", "`get /apis/apps/v1`"),
            ("/API/v1/namespaces/shop/pods", "`get /API/v1/namespaces/shop/pods`"),
            ("/", "`get /`"),
        ] {
            assert_eq!(shown(path), expected, "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for path in [
            "",
            "api/v1/pods",
            "https://10.0.0.1/api/v1/pods",
            "//api/v1/pods",
            "/api//v1/pods",
            "/api/v1/pods/",
            "/api/v1/namespaces//pods",
            "/api/v1/namespaces/shop/../kube-system/pods",
            "/api/v1/./pods",
            "/api/v1/namespaces/shop%2Fsecrets",
            "/api/v1/namespaces/%2e%2e/pods",
            "/api/v1/namespaces/shop/p%6fds",
            "/api/v1/namespaces/shop;x/pods",
            "/api/v1/namespaces/shop\\pods",
            "/api/v1/namespaces/shöp/pods",
            "/api/v1/namespaces/shop/pods\0",
            "/api/v1/namespaces/SHOP/pods",
            "/api/v1/namespaces/shop/PODS",
            "/api/V1/pods",
            "/apis/Apps/v1/deployments",
            "/api/v1/watch/namespaces/shop/pods",
            "/api/v1/proxy/namespaces/shop/pods/x",
            "/api/v1/namespaces/shop/pods/x/log/deeper",
            "/api/v1/namespaces/shop/pods/x?watch=1",
            "/api/v1/namespaces/shop/pods?watch=0&watch=1",
            "/api/v1/namespaces/shop/pods?watch=0&w%61tch=1",
            "/api/v1/namespaces/shop/pods?limit=1;watch=1",
            "/api/v1/namespaces/shop/pods?Watch=1",
            "/api/v1/namespaces/sh%6fp/pods/web",
            "/api/v1/nam%65spaces/shop/pods/web",
            "/api/v1/namespaces/shop/pods/web/l%6fg",
            "/api/v1/namespaces/shop/pods/web/proxy/%61",
            "/%61pi/v1/pods",
            "/apis/%61pps/v1/deployments",
            "/apis/apps/v%31/deployments",
            "/v%65rsion",
            "/healthz;x",
            "/api/v1/nodes/%2e%2E",
            "/api/v1/nodes/.%2e",
            "/api/v1/nodes/%2f",
            "/api/v1/nodes/a%5Cb",
            "/api/v1/nodes/a%252fb",
            "/api/v1/nodes/a%00",
            "/api/v1/nodes/a%E2%80%AE",
            "/api/v1/nodes/a%C3%A4",
            "/api/v1/nodes/a%ff",
            "/api/v1/nodes/a%",
            "/api/v1/nodes/a%4",
            "/api/v1/nodes/a%zz",
            "/api/v1/namespaces/shop/pods?limit=%zz",
            "/api/v1/namespaces/shop/pods?limit=%2",
            "/api/v1/namespaces/shop/pods?limit=1#watch=1",
            "/api/v1/namespaces/shop/pods?limit=\"1\"",
            "/api/v1/namespaces/shop/pods?limit=<1>",
        ] {
            assert!(RequestInfo::parse(path).is_err(), "{path}");
        }
        assert!(RequestInfo::parse(&format!("/{}", "a".repeat(MAX_BYTES))).is_err());
    }
}
