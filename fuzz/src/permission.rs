//! Fuzz targets for a guest's requests and an operator's policies.

use crate::policy::{Policy, Rule, Verb};
use crate::texts;
use incluster_core::request_info::{RequestInfo, Target};
use incluster_core::{dns, text};
use percent_encoding::percent_decode_str;

/// Parses a path and query as the door does.
pub fn request_info(data: &[u8]) {
    let [path_and_query] = texts(data);
    let Ok(info) = RequestInfo::parse(&path_and_query) else { return };
    let shown = info.to_string();
    assert!(shown.len() < 1_000 && !shown.contains(text::is_control), "{shown:?}");
    let path = path_and_query.split('?').next().unwrap_or_default();
    assert!(path == "/" || path.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | "..")), "{path}");
    let decoded = percent_decode_str(path).decode_utf8().expect("an accepted path does not decode to UTF-8");
    assert!(decoded.split('/').count() == path.split('/').count() && !decoded.contains(['%', '\\']), "{decoded}");
    assert!(!path.contains('#'), "a path with a fragment was accepted");
    if let Target::Resource { namespace, resource, .. } = info.target {
        assert!(namespace.is_none_or(dns::is_label));
        assert!(resource.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
    // An empty policy denies everything. A rule for one verb of one resource in one namespace permits exactly that.
    assert!(Policy::deny_all().check(&path_and_query).is_err());
    let rule = Rule {
        verbs: vec![Verb::List],
        api_groups: vec![String::new()],
        resources: vec!["pods".into()],
        namespaces: vec!["shop".into()],
        non_resource_urls: Vec::new(),
    };
    let pods = Policy::new(vec![rule]).expect("a valid rule was refused");
    if pods.check(&path_and_query).is_ok() {
        assert_eq!(path, "/api/v1/namespaces/shop/pods".replacen("v1", path.split('/').nth(2).unwrap_or_default(), 1));
        assert_eq!(info.verb, Verb::List);
    }
}

/// Checks a path against a policy in YAML.
pub fn policy(data: &[u8]) {
    let [path, yaml] = texts(data);
    match crate::input::yaml::<Policy>(yaml.as_bytes()) {
        Ok(policy) => {
            if policy.check(&path).is_ok() {
                assert!(RequestInfo::parse(&path).is_ok(), "a malformed path is permitted");
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() < 5_000 && !error.contains(text::is_control), "{error:?}");
        }
    }
}
