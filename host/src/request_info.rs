//! What a request asks of the API server, read as the API server itself reads it (its `RequestInfo`).
//!
//! A policy is decided on this, so that it is strict: what the server could read in another way is malformed here.

use crate::dns;
use crate::policy::Verb;
use crate::text;
use form_urlencoded::parse as parse_query;
use std::fmt;

/// No request that makes sense is longer.
const MAX_BYTES: usize = 8 << 10;

/// What a GET asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestInfo<'a> {
    pub(crate) verb: Verb,
    pub(crate) target: Target<'a>,
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// An object, or a list of objects.
    Resource {
        /// Empty for the core group, where pods are.
        api_group: &'a str,
        resource: &'a str,
        subresource: Option<&'a str>,
        namespace: Option<&'a str>,
    },
    /// Any other path.
    NonResource(&'a str),
}

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request {}", self.0)
    }
}

impl<'a> RequestInfo<'a> {
    pub(crate) fn parse(path_and_query: &'a str) -> Result<RequestInfo<'a>, Malformed> {
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
        let segments: Vec<&str> = inner.split('/').collect();
        if let Some(problem) = segments.iter().find_map(|segment| problem(segment)) {
            return Err(Malformed(problem));
        }
        let (api_group, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", named(version, rest)?),
            ["apis", group, version, rest @ ..] if !rest.is_empty() && dns::is_host_name(group) && is_lower(group) => {
                (*group, named(version, rest)?)
            }
            ["apis", _, _, _, ..] => return Err(Malformed("names no API group")),
            _ => return get(Target::NonResource(path)),
        };
        let (namespace, rest) = match rest {
            ["watch" | "proxy", ..] => return Err(Malformed("has a prefix of old, watch or proxy")),
            ["namespaces", namespace] | ["namespaces", namespace, "status" | "finalize"] => (Some(*namespace), rest),
            ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
            rest => (None, rest),
        };
        if namespace.is_some_and(|namespace| !dns::is_label(namespace)) {
            return Err(Malformed("names a namespace that is no DNS-1123 label"));
        }
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, None, None),
            [resource, name] => (*resource, Some(*name), None),
            [resource, name, subresource] => (*resource, Some(*name), Some(*subresource)),
            [resource, name, "proxy", ..] => (*resource, Some(*name), Some("proxy")),
            _ => return Err(Malformed("goes deeper than a subresource")),
        };
        if !is_resource(resource) || !subresource.is_none_or(is_resource) {
            return Err(Malformed("names a resource that is not in lower case"));
        }
        let verb = match (name, is_watch) {
            (Some(_), true) => return Err(Malformed("watches one object by its path, which the API server does not")),
            (Some(_), false) => Verb::Get,
            (None, true) => Verb::Watch,
            (None, false) => Verb::List,
        };
        Ok(RequestInfo { verb, target: Target::Resource { api_group, resource, subresource, namespace } })
    }
}

fn named<'s, 'a>(version: &str, rest: &'s [&'a str]) -> Result<&'s [&'a str], Malformed> {
    if version.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        Ok(rest)
    } else {
        Err(Malformed("names no API version"))
    }
}

/// What is wrong with a part of a path. No name of Kubernetes's needs to be percent-encoded.
fn problem(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("has an empty segment in its path"),
        "." | ".." => Some("has a segment `.` or `..` in its path"),
        other => other
            .bytes()
            .any(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b':')))
            .then_some("has a character in its path that no name has, or an encoded one"),
    }
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether this can be the name of a resource or subresource.
pub(crate) fn is_resource(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether the query asks for a watch. The API server reads any value but `false` and `0` as true.
fn is_watch(query: &str) -> Result<bool, Malformed> {
    let bytes = query.as_bytes();
    if bytes.iter().any(|b| !b.is_ascii_graphic() || matches!(b, b';' | b'#' | b'\\')) {
        return Err(Malformed("has a character in its query that is to be encoded"));
    }
    let is_escape = |place: usize| bytes.get(place + 1..place + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(place, b)| *b == b'%' && !is_escape(place)) {
        return Err(Malformed("has a % in its query that encodes nothing"));
    }
    let mut values = parse_query(bytes).filter(|(name, _)| name == "watch").map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(value), None) => Ok(!value.eq_ignore_ascii_case("false") && value != "0"),
        (Some(_), Some(_)) => Err(Malformed("has the parameter watch more than once")),
    }
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
            ("/api/v1/namespaces/shop/pods?Watch=1", "`list pods` in namespace `shop`"),
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
            "/api/v1/namespaces/shop/pods?limit=%zz",
            "/api/v1/namespaces/shop/pods?limit=%2",
            "/api/v1/namespaces/shop/pods?limit=1#watch=1",
        ] {
            assert!(RequestInfo::parse(path).is_err(), "{path}");
        }
        assert!(RequestInfo::parse(&format!("/{}", "a".repeat(MAX_BYTES))).is_err());
    }
}
