//! Fuzz target for callers' arguments: a path, a namespace, selectors and the other texts in a list's options.

use crate::texts;
use http::uri::PathAndQuery;
use incluster_client::request::{self, Collection, JSON, Request};
use incluster_client::types::{ListOptions, WatchOptions};
use incluster_core::{Namespace, Namespaces};
use incluster_core::request_info::{RequestInfo, Verb};
use percent_encoding::percent_decode_str;

/// Makes requests. The input has a path for `get-json`, then the namespace, label selector, field selector, continue token and resource version of a list.
pub fn request(data: &[u8]) {
    let [path, namespace, label_selector, field_selector, continue_token, resource_version] = texts(data);
    if let Ok(request) = request::get_json(&path) {
        means_what_it_says(&request, &path);
    }
    let options = ListOptions {
        label_selector: Some(label_selector.clone()),
        field_selector: Some(field_selector.clone()),
        continue_token: Some(continue_token.clone()),
        resource_version: Some(resource_version.clone()),
        ..ListOptions::ALL
    };
    let sent = [
        ("labelSelector", &*label_selector),
        ("fieldSelector", &field_selector),
        ("continue", &continue_token),
        ("resourceVersion", &resource_version),
    ];
    if let Ok(collection) = Collection::at(&path) {
        let list = request::list(&collection, &options, JSON);
        let selected: Vec<_> = sent.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        assert!(list.path_and_query.starts_with(&path) && selected.is_empty() != list.path_and_query.contains('?'));
    }
    if let Ok(parsed) = Namespace::parse(&namespace) {
        let pods = Collection::pods(&Namespaces::One(parsed));
        let list = request::list(&pods, &options, JSON);
        let not_empty: Vec<_> = sent.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        is_for(&list, &namespace, &not_empty);
        let table = request::as_table(list);
        is_for(&table, &namespace, &[&not_empty[..], &[("includeObject", "None")]].concat());
        let watch = WatchOptions { label_selector: Some(label_selector.clone()), ..WatchOptions::ALL };
        let watch = request::watch(&pods, &watch, Some(&resource_version), None, JSON);
        let selector = (!label_selector.is_empty()).then_some(("labelSelector", &*label_selector));
        let rest = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", &*resource_version)];
        is_for(&watch, &namespace, &selector.into_iter().chain(rest).collect::<Vec<_>>());
    }
}

/// Asserts that a request stays below `/api` or `/apis`, however its path is decoded, and is not a watch.
fn means_what_it_says(request: &Request, path: &str) {
    assert_eq!(request.path_and_query, path);
    assert!(!request.is_watch);
    let parsed: PathAndQuery = path.parse().expect("an accepted path cannot be sent");
    assert_eq!(parsed.as_str(), path, "the path was changed");
    let once = percent_decode_str(parsed.path()).decode_utf8().expect("an accepted path does not decode to UTF-8");
    let twice = percent_decode_str(&once).decode_utf8_lossy();
    for path in [parsed.path(), &once, &twice] {
        assert!(path == "/api" || path == "/apis" || path.starts_with("/api/") || path.starts_with("/apis/"));
        assert!(path.split(['/', '\\']).skip(1).all(|segment| !matches!(segment, "" | "." | "..")));
        let segments: Vec<_> = path.split('/').collect();
        assert!(!matches!(segments[..], ["", "api", _, "watch", ..] | ["", "apis", _, _, "watch", ..]), "a watch was accepted");
    }
    for (key, value) in parsed.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        let [key, value] = [key, value].map(|text| percent_decode_str(text).decode_utf8_lossy().to_lowercase());
        let is_resource = parsed.path().split('/').count() > if parsed.path().starts_with("/apis/") { 4 } else { 3 };
        assert!(key != "watch" || !is_resource || value == "false" || value == "0", "a watch was accepted");
    }
    assert_ne!(RequestInfo::parse(path).expect("the door refuses a path that the guest sends").verb, Verb::Watch);
}

/// Asserts that a request is for the namespace's pods, with these parameters and no others.
fn is_for(request: &Request, namespace: &str, parameters: &[(&str, &str)]) {
    let parsed: PathAndQuery = request.path_and_query.parse().expect("the request cannot be sent");
    assert_eq!(parsed.path(), format!("/api/v1/namespaces/{namespace}/pods"));
    assert!(!namespace.is_empty() && !namespace.contains(['/', '.', '%', '?', '#']));
    let sent = parsed.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let sent: Vec<_> = sent
        .map(|pair| {
            let (key, value) = pair.split_once('=').expect("a parameter has no value");
            (key, percent_decode_str(value).decode_utf8().expect("a parameter is not UTF-8"))
        })
        .collect();
    let sent: Vec<_> = sent.iter().map(|(key, value)| (*key, &**value)).collect();
    assert_eq!(sent, parameters);
}
