//! What a tenant may request from the API server: nothing, unless a rule permits it, and never more than RBAC allows, which still
//! decides. The sandbox's door applies the policy to the request as the API server will read it, not to the text of a path.

use incluster_core::request_info::{RequestInfo, Target, is_resource};
use incluster_core::{dns, text};
use serde::{Deserialize, Serialize};
use std::fmt;

pub use incluster_core::request_info::Verb;

/// A rule for what may be requested, in the form of RBAC's `PolicyRule`, with namespaces. A request is permitted if one rule has its verb,
/// API group, resource and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The verbs: `get`, `list` and `watch`.
    pub verbs: Vec<Verb>,
    /// The API groups: `""` is the core group, where pods are; `*` is every group.
    #[serde(default)]
    pub api_groups: Vec<String>,
    /// The resources: `pods`; `pods/log`, a subresource; `pods/*`, all subresources of `pods`; `*`, every resource, but no subresource.
    /// (RBAC's `*` includes subresources. Some allow more than reading: `services/proxy` leads to any service of the cluster.)
    #[serde(default)]
    pub resources: Vec<String>,
    /// The namespaces: `shop`; `*`, every namespace, all of them at once, and objects without a namespace.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// The paths: `/version`; `/apis/*`, everything that begins with `/apis/`. Only for the verb `get`.
    #[serde(default, rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

/// Rules that have been checked. By default there are none, and everything is denied.
///
/// In a configuration file:
///
/// ```
/// # use incluster::policy::Policy;
/// let policy: Policy = serde_json::from_str(r#"{
///     "rules": [
///         {"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["shop"]},
///         {"verbs": ["get"], "nonResourceURLs": ["/version"]}
///     ]
/// }"#)?;
/// assert!(policy.check("/api/v1/namespaces/shop/pods?watch=true").is_ok());
/// assert!(policy.check("/api/v1/namespaces/shop/secrets").is_err());
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Document")]
pub struct Policy {
    rules: Vec<Rule>,
    /// Whether everything is permitted, without any rule.
    allows_all: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rules: Vec<Rule>,
}

/// Why rules cannot be a policy: which rule, counted from 0, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    rule: usize,
    problem: String,
}

/// Why a policy does not permit a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(String);

impl Policy {
    /// Makes a policy from these rules.
    ///
    /// # Errors
    ///
    /// A rule could never permit anything, or names something that does not exist.
    pub fn new(rules: Vec<Rule>) -> Result<Policy, PolicyError> {
        for (rule, content) in rules.iter().enumerate() {
            content.check().map_err(|problem| PolicyError { rule, problem })?;
        }
        Ok(Policy { rules, allows_all: false })
    }

    /// A policy that permits nothing.
    pub fn deny_all() -> Policy {
        Policy::default()
    }

    /// A policy that permits whatever RBAC allows, including subresources and all paths. Only for code that you trust as much as yourself.
    pub fn allow_all() -> Policy {
        Policy { rules: Vec::new(), allows_all: true }
    }

    /// Checks whether a GET of this path and query is permitted.
    ///
    /// # Errors
    ///
    /// The request is not permitted, or is malformed: no policy permits that.
    pub fn check(&self, path_and_query: &str) -> Result<(), Denied> {
        let request = RequestInfo::parse(path_and_query).map_err(|malformed| Denied(malformed.to_string()))?;
        if self.permits(&request) { Ok(()) } else { Err(Denied(self.refusal(&request))) }
    }

    /// Says that a request is not permitted.
    pub(crate) fn refusal(&self, request: &RequestInfo<'_>) -> String {
        let which = if self.rules.is_empty() { ", which has no rules," } else { "" };
        format!("the policy{which} does not permit {request}")
    }

    pub(crate) fn permits(&self, request: &RequestInfo<'_>) -> bool {
        self.allows_all || self.rules.iter().any(|rule| rule.permits(request))
    }
}

impl Rule {
    fn permits(&self, request: &RequestInfo<'_>) -> bool {
        if !self.verbs.contains(&request.verb) {
            return false;
        }
        match request.target {
            Target::NonResource(path) => self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == url,
            }),
            Target::Resource { api_group, resource, subresource, namespace } => {
                self.resources.iter().any(|pattern| matches_resource(pattern, resource, subresource))
                    && self.namespaces.iter().any(|pattern| pattern == "*" || namespace == Some(pattern.as_str()))
                    && self.api_groups.iter().any(|pattern| pattern == "*" || pattern == api_group)
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.verbs.is_empty() {
            return Err("names no verb: verbs are get, list and watch".into());
        }
        if self.resources.is_empty() && self.non_resource_urls.is_empty() {
            return Err("names neither resources nor nonResourceURLs".into());
        }
        if !self.resources.is_empty() && self.api_groups.is_empty() {
            return Err("names resources without apiGroups: `\"\"` is the core group, where pods are".into());
        }
        if !self.resources.is_empty() && self.namespaces.is_empty() {
            return Err("names resources without namespaces: `*` is all of them, and what is in none".into());
        }
        if !self.non_resource_urls.is_empty() && self.resources.is_empty() && self.verbs != [Verb::Get] {
            return Err("names nonResourceURLs with another verb than get".into());
        }
        let is_group = |group: &str| {
            group.is_empty() || group == "*" || (dns::is_host_name(group) && !group.bytes().any(|b| b.is_ascii_uppercase()))
        };
        let is_url = |url: &str| {
            let inner = url.strip_suffix('*').unwrap_or(url);
            inner.starts_with('/') && inner.bytes().all(|b| b.is_ascii_graphic() && b != b'*')
        };
        for (field, values, is_good, form) in [
            ("apiGroups", &self.api_groups, &is_group as &dyn Fn(&str) -> bool, "the name of a group, \"\", or `*`"),
            ("resources", &self.resources, &is_pattern, "a resource in lower case, `pods/log`, `pods/*`, or `*`"),
            ("namespaces", &self.namespaces, &|name| name == "*" || dns::is_label(name), "a namespace, or `*`"),
            ("nonResourceURLs", &self.non_resource_urls, &is_url, "a path from `/` in ASCII, with `*` at its end at most"),
        ] {
            if let Some(bad) = values.iter().find(|value| !is_good(value)) {
                return Err(format!("has `{}` in {field}, which is not {form}", text::name(bad)));
            }
        }
        Ok(())
    }
}

fn matches_resource(pattern: &str, resource: &str, subresource: Option<&str>) -> bool {
    match (pattern.split_once('/'), subresource) {
        (None, None) => pattern == "*" || pattern == resource,
        (Some((of, sub)), Some(subresource)) => of == resource && (sub == "*" || sub == subresource),
        _ => false,
    }
}

fn is_pattern(pattern: &str) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || is_resource(pattern),
        Some((resource, subresource)) => is_resource(resource) && (subresource == "*" || is_resource(subresource)),
    }
}

impl TryFrom<Document> for Policy {
    type Error = PolicyError;

    fn try_from(document: Document) -> Result<Policy, PolicyError> {
        Policy::new(document.rules)
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules[{}] {}", self.rule, self.problem)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Result<Policy, String> {
        serde_json::from_str(&format!(r#"{{"rules": [{rules}]}}"#)).map_err(|e| e.to_string())
    }

    const PODS: &str = r#"{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["shop"]}"#;

    #[test]
    fn a_rule_permits_what_it_names_and_nothing_else() {
        let pods = policy(PODS).unwrap();
        for path in ["/api/v1/namespaces/shop/pods", "/api/v1/namespaces/shop/pods?limit=5", "/api/v1/namespaces/shop/pods/web-0"]
        {
            assert_eq!(pods.check(path), Ok(()), "{path}");
        }
        for path in [
            "/api/v1/namespaces/shop/pods?watch=true",
            "/api/v1/namespaces/shop/pods?w%61tch=1",
            "/api/v1/namespaces/shop/pods/web-0/log",
            "/api/v1/namespaces/shop/pods/web-0/proxy/x",
            "/api/v1/namespaces/shop/secrets",
            "/api/v1/namespaces/shop",
            "/api/v1/namespaces/kube-system/pods",
            "/api/v1/pods",
            "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods",
            "/version",
            "/api/v1/namespaces/shop/../kube-system/pods",
            "/api/v1/namespaces/shop/pods%2f..%2fsecrets",
        ] {
            assert!(pods.check(path).is_err(), "{path}");
        }
        let denied = pods.check("/api/v1/namespaces/kube-system/secrets").unwrap_err();
        assert_eq!(denied.to_string(), "the policy does not permit `list secrets` in namespace `kube-system`");
    }

    #[test]
    fn without_rules_nothing_is_permitted_and_malformed_requests_never_are() {
        assert!(Policy::deny_all().check("/api/v1/namespaces/shop/pods").is_err());
        assert!(policy("").unwrap().check("/version").is_err());
        assert!(Policy::allow_all().check("/api/v1/nodes/n/proxy/x").is_ok());
        assert!(Policy::allow_all().check("/api/v1//pods").is_err());
    }

    #[test]
    fn wildcards_have_limits() {
        let all = policy(r#"{"verbs": ["get", "list"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}"#).unwrap();
        for path in ["/api/v1/nodes", "/api/v1/pods", "/apis/apps/v1/namespaces/shop/deployments/web", "/api/v1/namespaces"] {
            assert!(all.check(path).is_ok(), "{path}");
        }
        for path in ["/api/v1/namespaces/shop/pods/x/log", "/api/v1/nodes/n/proxy", "/version", "/api/v1/pods?watch=1"] {
            assert!(all.check(path).is_err(), "{path}");
        }
        let sub = policy(r#"{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/*"], "namespaces": ["shop"]}"#).unwrap();
        assert!(sub.check("/api/v1/namespaces/shop/pods/x/log").is_ok());
        assert!(sub.check("/api/v1/namespaces/shop/pods/x").is_err());
        assert!(sub.check("/api/v1/namespaces/shop/services/x/proxy").is_err());
        let urls = policy(r#"{"verbs": ["get"], "nonResourceURLs": ["/version", "/apis/*"]}"#).unwrap();
        for (path, permitted) in
            [("/version", true), ("/apis/apps/v1", true), ("/versions", false), ("/apis", false), ("/api", false)]
        {
            assert_eq!(urls.check(path).is_ok(), permitted, "{path}");
        }
    }

    #[test]
    fn a_mistake_is_reported_with_its_place() {
        let rule = |fields: &str| format!(r#"{PODS}, {{{fields}}}"#);
        for (fields, says) in [
            (r#""verbs": [], "resources": ["pods"]"#, "rules[1] names no verb"),
            (r#""resources": ["pods"]"#, "missing field `verbs`"),
            (r#""verbs": ["create"]"#, "unknown variant `create`, expected one of `get`, `list`, `watch`"),
            (r#""verbs": ["get"], "resource": ["pods"]"#, "unknown field `resource`"),
            (r#""verbs": ["get"]"#, "rules[1] names neither resources nor nonResourceURLs"),
            (r#""verbs": ["get"], "resources": ["pods"], "namespaces": ["a"]"#, "without apiGroups"),
            (r#""verbs": ["get"], "resources": ["pods"], "apiGroups": [""]"#, "without namespaces"),
            (r#""verbs": ["list"], "nonResourceURLs": ["/version"]"#, "another verb than get"),
            (r#""verbs": ["get"], "resources": ["Pods"], "apiGroups": [""], "namespaces": ["a"]"#, "`Pods` in resources"),
            (r#""verbs": ["get"], "resources": ["pods/a/b"], "apiGroups": [""], "namespaces": ["a"]"#, "in resources"),
            (r#""verbs": ["get"], "resources": ["pods"], "apiGroups": ["a/b"], "namespaces": ["a"]"#, "in apiGroups"),
            (r#""verbs": ["get"], "resources": ["pods"], "apiGroups": [""], "namespaces": ["A*"]"#, "in namespaces"),
            (r#""verbs": ["get"], "nonResourceURLs": ["version"]"#, "in nonResourceURLs"),
            (r#""verbs": ["get"], "nonResourceURLs": [""]"#, "in nonResourceURLs"),
            (r#""verbs": ["get"], "nonResourceURLs": ["/a*/b"]"#, "in nonResourceURLs"),
            (r#""verbs": ["get"], "nonResourceURLs": ["/versïoñ"]"#, "in nonResourceURLs"),
        ] {
            let error = policy(&rule(fields)).unwrap_err();
            assert!(error.contains(says), "{fields}: {error}");
        }
        assert!(serde_json::from_str::<Policy>(r#"{"rules": [], "rule": []}"#).is_err());
    }
}
