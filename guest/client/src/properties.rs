//! Property tests: whatever callers ask for and servers fail with, nothing panics, and what is accepted means what it says.

use crate::request::Collection;
use crate::request::{self, JSON};
use crate::response::{Head, failure, success};
use crate::retry;
use crate::types::{Error, ListOptions};
use incluster_core::Namespaces;
use percent_encoding::percent_decode_str;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::{Duration, SystemTime};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Paths and queries made of pieces that have a meaning somewhere.
fn path() -> impl Strategy<Value = String> {
    const BEGINNINGS: [&str; 6] = ["", "/api", "/apis", "/api/v1", "/apis/apps/v1", "http://api"];
    const SEGMENTS: [&str; 16] = [
        "/v1", "/pods", "/watch", "/w%61tch", "/..", "/.", "/%2e%2e", "/%2E.", "/", "/a%2fb", "/a%5cb", "/\\", "/%25", "/%00",
        "/%ff", "/%",
    ];
    const KEYS: [&str; 9] = ["limit", "watch", "w%61tch", "WATCH", "+watch", "a%3dwatch", "%", "", "#"];
    let segment = prop_oneof![4 => select(&SEGMENTS).prop_map(Into::into), 1 => "/?\\PC{0,3}"];
    let parameter = (select(&KEYS), select(&["", "=", "=1", "=true", "=a%26watch"][..]), select(&["&", ";", "?", "&&"][..]));
    let parameter = parameter.prop_map(|(key, value, end)| format!("{key}{value}{end}"));
    let query = proptest::option::of(vec(parameter, 0..3).prop_map(|parameters| format!("?{}", parameters.concat())));
    let parts = (select(&BEGINNINGS), vec(segment, 0..4), query);
    parts.prop_map(|(begin, segments, query)| format!("{begin}{}{}", segments.concat(), query.unwrap_or_default()))
}

/// Text that often has the form that is asked for.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z0-9.:-]{0,12}", "\\[?[0-9a-f:%]{0,12}\\]?", "[0-9+ -]{0,6}"]
}

fn content_type() -> impl Strategy<Value = Option<String>> {
    let known = ["application/json", "application/vnd.kubernetes.protobuf", "text/plain", "APPLICATION/JSON ; x", ";", ""];
    proptest::option::of(select(known.to_vec()).prop_map(Into::into))
}

fn header_time() -> impl Strategy<Value = Option<String>> {
    let date =
        any::<u32>().prop_map(|seconds| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into())));
    proptest::option::of(prop_oneof![any::<String>(), any::<u64>().prop_map(|n| n.to_string()), date])
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn a_path_that_is_taken_means_what_it_says(path in path()) {
        let Ok(request) = request::get_json(&path) else { return Ok(()) };
        prop_assert_eq!(&request.path_and_query, &path);
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let once = percent_decode_str(path).decode_utf8().unwrap();
        let twice = percent_decode_str(&once).decode_utf8_lossy();
        for path in [path, &once, &twice] {
            let segments: Vec<_> = path.split(['/', '\\']).collect();
            prop_assert!(matches!(segments[..], ["", "api" | "apis", ..]), "{path}");
            prop_assert!(!segments[1..].iter().any(|segment| matches!(*segment, "" | "." | "..")), "{path}");
            prop_assert!(!matches!(segments[..], ["", "api", _, "watch", ..] | ["", "apis", _, _, "watch", ..]), "{path}");
        }
        for pair in query.split(['&', ';']) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
            let value = percent_decode_str(value).decode_utf8_lossy().to_lowercase();
            let is_resource = path.split('/').nth(if path.starts_with("/apis/") { 4 } else { 3 }).is_some();
            prop_assert!(key != "watch" || !is_resource || value == "false" || value == "0");
        }
    }

    #[test]
    fn a_selector_is_sent_as_it_is(namespace in "[a-z0-9]{1,9}", label in any::<String>(), field in any::<String>()) {
        let options = ListOptions {
            label_selector: Some(label.clone()),
            field_selector: Some(field.clone()),
            limit: Some(7),
            ..ListOptions::ALL
        };
        let request = request::list(&Collection::pods(&Namespaces::parse(&namespace).unwrap()), &options, JSON);
        let (path, query) = request.path_and_query.split_once('?').unwrap();
        prop_assert_eq!(path, format!("/api/v1/namespaces/{namespace}/pods"));
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
        let decoded = |text| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let sent: Vec<_> = pairs.map(|(key, value)| (key, decoded(value))).collect();
        let mut expected = vec![("labelSelector", label), ("fieldSelector", field), ("limit", "7".into())];
        expected.retain(|(_, value)| !value.is_empty());
        prop_assert_eq!(sent, expected);
    }

    #[test]
    fn a_failure_is_a_status_whatever_it_says(
        code in any::<u16>(),
        content_type in content_type(),
        (retry_after, date) in (header_time(), header_time()),
        body in prop_oneof![
            vec(any::<u8>(), 0..200),
            (any::<i32>(), text()).prop_map(|(code, message)| {
                serde_json::json!({"status": "Failure", "code": code, "message": message}).to_string().into_bytes()
            }),
            vec(any::<u8>(), 0..100).prop_map(|bytes| [b"k8s\0", &bytes[..]].concat()),
        ],
        (now, random) in (any::<u32>(), any::<u64>()),
    ) {
        let head = Head { status: code, content_type, retry_after: retry_after.clone(), date, ..Head::default() };
        if let Ok(Some(_)) = success(&head) {
            prop_assert_eq!(code, 200);
        }
        let error = failure(&head, &body, SystemTime::UNIX_EPOCH + Duration::from_secs(now.into()));
        let Error::Api(status) = error else {
            prop_assert!(matches!(error, Error::Expired(_)) && code == 410);
            return Ok(());
        };
        prop_assert_eq!(status.code, code);
        if let Some(seconds) = retry_after.and_then(|text| text.parse::<u32>().ok()) {
            prop_assert_eq!(status.retry_after_seconds, Some(seconds));
        }
        let seconds = u64::from(status.retry_after_seconds.unwrap_or_default());
        let wait = retry::worth_it(&Error::Api(status.clone()));
        prop_assert!(wait.is_none_or(|wait| wait == Duration::from_secs(seconds)));
        prop_assert!(retry::backoff(now, random) <= Duration::from_secs(10));
        _ = retry::gave_up(Error::Api(status), now, Duration::from_secs(random));
    }
}
