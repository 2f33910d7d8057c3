//! Requests as values: the path and query that the API server is asked for, and what it may answer with.

use crate::types::{Error, ListOptions, ResourceVersionMatch, WatchOptions};
use incluster_core::Namespaces;
use incluster_core::request_info::{RequestInfo, Target, Verb};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The absolute, percent-encoded path and query, which follow the server's authority.
    pub path_and_query: String,
    /// The header `Accept`.
    pub accept: &'static str,
    /// Whether this is a watch, whose answer has no end.
    pub is_watch: bool,
}

impl Request {
    /// The path alone, for messages.
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

/// Protobuf, or JSON if the server has no protobuf. Failures come in the same encodings.
pub const PROTOBUF_OR_JSON: &str = "application/vnd.kubernetes.protobuf,application/json";
/// JSON alone.
pub const JSON: &str = "application/json";
/// The server's table for printing.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// The characters that are encoded in a query's value: all but those that RFC 3986 (section 2.3) calls unreserved.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path of a collection, for lists and watches. It is unambiguous, and has no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection(String);

impl Collection {
    /// `/api/v1/namespaces/{namespace}/pods`, or `/api/v1/pods`.
    pub fn pods(namespaces: &Namespaces) -> Collection {
        Collection(match namespaces {
            Namespaces::All => "/api/v1/pods".into(),
            Namespaces::One(namespace) => format!("/api/v1/namespaces/{namespace}/pods"),
        })
    }

    /// Takes a path, if it is a collection's.
    pub fn at(path: &str) -> Result<Collection, String> {
        match readable(path)? {
            _ if path.contains('?') => Err(refusal(path, "it has a query: give options instead")),
            RequestInfo { verb: Verb::List, target: Target::Resource { subresource: None, .. } } => Ok(Collection(path.into())),
            _ => Err(refusal(path, "it is not a collection")),
        }
    }
}

/// A list: `GET {collection}`.
pub fn list(collection: &Collection, options: &ListOptions, accept: &'static str) -> Request {
    // Each field has its name here, so that a new one is not forgotten.
    let ListOptions {
        label_selector,
        field_selector,
        limit,
        continue_token,
        resource_version,
        resource_version_match,
        timeout_seconds,
    } = options;
    let mut query = Query(collection.0.clone());
    query.text("labelSelector", label_selector);
    query.text("fieldSelector", field_selector);
    query.number("limit", *limit);
    query.text("continue", continue_token);
    query.text("resourceVersion", resource_version);
    if let Some(versions) = resource_version_match {
        query.add(
            "resourceVersionMatch",
            match versions {
                ResourceVersionMatch::Exact => "Exact",
                ResourceVersionMatch::NotOlderThan => "NotOlderThan",
            },
        );
    }
    query.number("timeoutSeconds", *timeout_seconds);
    Request { path_and_query: query.0, accept, is_watch: false }
}

/// A watch: `GET {collection}?watch=true`, for a number of seconds. It begins with the initial objects, or with a resource version.
pub fn watch(
    collection: &Collection,
    options: &WatchOptions,
    from: Option<&str>,
    seconds: Option<u32>,
    accept: &'static str,
) -> Request {
    let selection = ListOptions {
        label_selector: options.label_selector.clone(),
        field_selector: options.field_selector.clone(),
        ..ListOptions::ALL
    };
    let mut query = Query(list(collection, &selection, accept).path_and_query);
    query.add("watch", "true");
    query.add("allowWatchBookmarks", "true");
    match from {
        Some(version) => query.add("resourceVersion", version),
        None => {
            query.add("sendInitialEvents", "true");
            query.add("resourceVersionMatch", "NotOlderThan");
        }
    }
    query.number("timeoutSeconds", seconds);
    Request { path_and_query: query.0, accept, is_watch: true }
}

/// Turns a request into one for the server's table for printing, without the pods themselves in its rows.
pub fn as_table(request: Request) -> Request {
    table_with("None", request)
}

/// Turns a request into one for the server's table for printing, with the pods' metadata in its rows: their namespaces and labels.
pub fn as_table_with_metadata(request: Request) -> Request {
    table_with("Metadata", request)
}

fn table_with(objects: &str, request: Request) -> Request {
    let mut query = Query(request.path_and_query);
    query.add("includeObject", objects);
    Request { path_and_query: query.0, accept: TABLE, ..request }
}

/// A GET of any API path, if the path is unambiguous.
pub fn get_json(path_and_query: &str) -> Result<Request, Error> {
    readable(path_and_query).map_err(Error::InvalidArgument)?;
    Ok(Request { path_and_query: path_and_query.into(), accept: JSON, is_watch: false })
}

/// Parses an API path. It must be unambiguous, and its answer must have an end.
fn readable(path_and_query: &str) -> Result<RequestInfo<'_>, String> {
    match RequestInfo::parse(path_and_query) {
        Err(malformed) => Err(refusal(path_and_query, &malformed.to_string())),
        Ok(RequestInfo { verb: Verb::Watch, .. }) => Err(refusal(path_and_query, "it is a watch, which would not end")),
        Ok(_) if !is_of_the_api(path_and_query) => Err(refusal(path_and_query, "it is not below /api or /apis")),
        Ok(info) => Ok(info),
    }
}

fn refusal(path: &str, why: &str) -> String {
    format!("path {path:?}: {why}")
}

fn is_of_the_api(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    matches!(path.split('/').nth(1), Some("api" | "apis"))
}

/// A path that parameters are added to.
struct Query(String);

impl Query {
    fn add(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(key);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, QUERY_VALUE));
    }

    fn text(&mut self, key: &str, value: &Option<String>) {
        if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
            self.add(key, value);
        }
    }

    fn number(&mut self, key: &str, value: Option<u32>) {
        if let Some(value) = value {
            self.add(key, &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Collection {
        Collection::pods(&Namespaces::parse("shop").unwrap())
    }

    fn list(options: &ListOptions) -> String {
        super::list(&shop(), options, JSON).path_and_query
    }

    #[test]
    fn a_collection_is_a_path_without_a_query_that_names_no_object() {
        assert_eq!(Collection::pods(&Namespaces::All).0, "/api/v1/pods");
        for path in ["/api/v1/services", "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", "/api/v1/namespaces"] {
            assert_eq!(Collection::at(path), Ok(Collection(path.into())));
        }
        for (path, says) in [
            ("/api/v1/pods?limit=1", "query"),
            ("/api/v1/namespaces/shop/pods/web-0", "collection"),
            ("/api/v1/namespaces/shop/pods/web-0/log", "collection"),
            ("/api/v1", "collection"),
            ("/apis", "collection"),
            ("/version", "/api or /apis"),
            ("/api/v1/watch/pods", "watch"),
            ("/api/v1//pods", "path"),
            ("", "path"),
        ] {
            let Err(why) = Collection::at(path) else { panic!("{path}") };
            assert!(why.contains(says), "{path}: {why}");
        }
    }

    #[test]
    fn no_options_no_query() {
        assert_eq!(list(&ListOptions::ALL), "/api/v1/namespaces/shop/pods");
    }

    #[test]
    fn every_option_is_spelled_as_kubernetes_spells_it() {
        let options = ListOptions {
            label_selector: Some("app=web,tier in (edge, cache),!old".into()),
            field_selector: Some("status.phase!=Running".into()),
            limit: Some(500),
            continue_token: Some("eyJ2IjoibWV0YSJ9==".into()),
            resource_version: Some("10487".into()),
            resource_version_match: Some(ResourceVersionMatch::Exact),
            timeout_seconds: Some(30),
        };
        assert_eq!(
            list(&options),
            "/api/v1/namespaces/shop/pods\
             ?labelSelector=app%3Dweb%2Ctier%20in%20%28edge%2C%20cache%29%2C%21old\
             &fieldSelector=status.phase%21%3DRunning&limit=500&continue=eyJ2IjoibWV0YSJ9%3D%3D\
             &resourceVersion=10487&resourceVersionMatch=Exact&timeoutSeconds=30"
        );
        let newer = ListOptions { resource_version_match: Some(ResourceVersionMatch::NotOlderThan), ..ListOptions::ALL };
        assert!(list(&newer).ends_with("?resourceVersionMatch=NotOlderThan"));
    }

    #[test]
    fn no_parameter_can_be_smuggled_into_another() {
        let options = ListOptions { label_selector: Some("a=b&watch=true#\r\n ?%26ä".into()), ..ListOptions::ALL };
        assert_eq!(list(&options), "/api/v1/namespaces/shop/pods?labelSelector=a%3Db%26watch%3Dtrue%23%0D%0A%20%3F%2526%C3%A4");
    }

    #[test]
    fn a_table_has_no_objects_or_only_their_metadata() {
        let options = ListOptions { limit: Some(1), ..ListOptions::ALL };
        let list = || super::list(&shop(), &options, JSON);
        let table = as_table(list());
        assert_eq!(table.path_and_query, "/api/v1/namespaces/shop/pods?limit=1&includeObject=None");
        assert_eq!(table.path(), "/api/v1/namespaces/shop/pods");
        let table = as_table_with_metadata(list());
        assert_eq!(table.path_and_query, "/api/v1/namespaces/shop/pods?limit=1&includeObject=Metadata");
        assert_eq!(table.accept, TABLE);
    }

    #[test]
    fn a_watch_begins_with_a_resource_version_or_with_the_initial_pods() {
        let options =
            WatchOptions { label_selector: Some("a=b".into()), field_selector: Some("c=d".into()), ..WatchOptions::ALL };
        let from = |version, seconds| watch(&shop(), &options, version, seconds, JSON);
        let selectors = "/api/v1/namespaces/shop/pods?labelSelector=a%3Db&fieldSelector=c%3Dd";
        assert_eq!(
            from(Some("7"), Some(30)).path_and_query,
            format!("{selectors}&watch=true&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=30")
        );
        assert_eq!(
            from(None, None).path_and_query,
            format!("{selectors}&watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")
        );
        assert!(from(None, None).is_watch);
    }

    #[test]
    fn get_json_takes_api_paths() {
        for path in [
            "/api",
            "/apis",
            "/api/v1/namespaces/shop/pods/web-0",
            "/apis/apps/v1/namespaces/shop/deployments?limit=5&labelSelector=a%3Db",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "/api/v1/pods?watch=false",
        ] {
            assert_eq!(get_json(path).unwrap().path_and_query, path);
        }
    }

    #[test]
    fn get_json_takes_nothing_else() {
        for path in [
            "",
            "api",
            "/",
            "/version",
            "/healthz",
            "/apix",
            "/API/v1",
            "//api",
            "/api/",
            "/api//v1",
            "/api/../metrics",
            "/api/./v1",
            "/api/%2e%2e/metrics",
            "/api/.%2E/x",
            "/api/a%2fb",
            "/api/a%2Fb",
            "/api/a%5cb",
            "/api/a\\b",
            "/api/a%00",
            "/api/%252e%252e/x",
            "/%61pi/v1",
            "/api/%",
            "/api/%4",
            "/api/%zz",
            "/api/%ff",
            "/api#x",
            "/api?x#y",
            "/api?a b",
            "/api?a=\"b\"",
            "/api?a=<",
            "/api?a=>",
            "/api?a\r\nX: y",
            "/api/ä",
            "https://other/api",
            "@other/api",
            "/api/v1/pods?watch=true",
            "/api/v1/pods?watch",
            "/api/v1/pods?limit=1&w%61tch=1",
            "/api/v1/pods?WATCH=1",
            "/api/v1/pods/web?watch=1",
            "/api?%",
            "/api/v1/watch/pods",
            "/apis/apps/v1/watch/deployments",
            "/api/v1/w%61tch",
            "/api?x=1;watch=1",
        ] {
            assert!(matches!(get_json(path), Err(Error::InvalidArgument(_))), "{path:?}");
        }
    }
}
