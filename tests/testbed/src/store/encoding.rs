//! The encodings of responses.

use super::error_status::ErrorStatus;
use super::pod::Pod;
use crate::answer::Answer;
use crate::recording::Recording;
use crate::request::Request;
use bytes::Bytes;
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
use prost::Message;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// The first bytes of Kubernetes's protobuf encoding.
pub(super) const MAGIC: &[u8] = b"k8s\0";

/// An encoding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Protobuf,
    Table(Include),
}

/// What a table's rows contain besides their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    None,
    Metadata,
    Object,
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) version: u64,
    pub(super) pods: Vec<Arc<Pod>>,
    /// The token of the next page, and how many pods remain.
    pub(super) next: Option<(String, i64)>,
}

/// An event of a watch.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Pod(Change, Arc<Pod>),
    Bookmark { version: u64, ends_initial_events: bool },
    ErrorStatus(Arc<ErrorStatus>),
}

/// The kind of a change to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Encoding {
    /// Returns the encoding that the client prefers.
    pub(super) fn asked_for(request: &Request) -> Encoding {
        let accept = request.header("accept").unwrap_or_default();
        match request.query("includeObject").as_deref() {
            _ if accept.starts_with("application/vnd.kubernetes.protobuf") => Encoding::Protobuf,
            Some("None") if accept.contains("as=Table") => Encoding::Table(Include::None),
            Some("Object") if accept.contains("as=Table") => Encoding::Table(Include::Object),
            _ if accept.contains("as=Table") => Encoding::Table(Include::Metadata),
            _ => Encoding::Json,
        }
    }

    /// Adds this encoding's headers to an answer.
    pub(super) fn headers(self, answer: Answer, watch: bool) -> Answer {
        let content_type = match self {
            Encoding::Protobuf if watch => "application/vnd.kubernetes.protobuf;stream=watch",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
            Encoding::Json | Encoding::Table(_) => "application/json",
        };
        answer.header("Cache-Control", "no-cache, private").header("Content-Type", content_type)
    }

    pub(super) fn failure(self, failure: &ErrorStatus) -> Answer {
        let body = match self {
            Encoding::Protobuf => unknown("Status", &failure.protobuf()),
            Encoding::Json | Encoding::Table(_) => format!("{}\n", failure.json()).into_bytes(),
        };
        self.headers(Answer::new(failure.code, body), false)
    }

    pub(super) fn list(self, page: &Page) -> Answer {
        let body = match self {
            Encoding::Json => {
                let pods: Vec<String> = page.pods.iter().map(|pod| pod.json()).collect();
                let (metadata, pods) = (page.json_metadata(), pods.join(","));
                format!("{{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{metadata},\"items\":[{pods}]}}\n").into()
            }
            Encoding::Protobuf => unknown("PodList", &page.protobuf()),
            Encoding::Table(include) => {
                let rows: Vec<String> = page.pods.iter().map(|pod| row(pod, include)).collect();
                format!("{}\n", table(&page.json_metadata(), &COLUMNS, &rows.join(","))).into()
            }
        };
        self.headers(Answer::new(200, body), false)
    }

    /// Encodes an answer that is one pod.
    pub(super) fn pod(self, pod: &Pod) -> Answer {
        let body = match self {
            Encoding::Json => format!("{}\n", pod.json_object()).into(),
            Encoding::Protobuf => unknown("Pod", &pod.protobuf()),
            Encoding::Table(include) => {
                let metadata = json!({ "resourceVersion": pod.version.to_string() }).to_string();
                format!("{}\n", table(&metadata, &COLUMNS, &row(pod, include))).into()
            }
        };
        self.headers(Answer::new(200, body), false)
    }

    /// Encodes a frame of a watch. Only the first table has the column definitions.
    pub(super) fn event(self, event: &Event, first: bool) -> Bytes {
        let kind = event.kind();
        let object = match (self, event) {
            (Encoding::Protobuf, Event::Pod(_, pod)) => return frame(kind, unknown("Pod", &pod.protobuf())),
            (Encoding::Protobuf, Event::Bookmark { version, ends_initial_events }) => {
                return frame(kind, unknown("Pod", &protobuf_bookmark(*version, *ends_initial_events)));
            }
            (Encoding::Protobuf, Event::ErrorStatus(failure)) => return frame(kind, unknown("Status", &failure.protobuf())),
            (_, Event::ErrorStatus(failure)) => failure.json(),
            (Encoding::Json, Event::Pod(_, pod)) => pod.json_object(),
            (Encoding::Json, Event::Bookmark { version, ends_initial_events }) => {
                let metadata = json_bookmark_metadata(*version, *ends_initial_events);
                format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{metadata},"spec":{{"containers":null}},"status":{{}}}}"#)
            }
            (Encoding::Table(include), _) => {
                let (version, row) = match event {
                    Event::Pod(_, pod) => (pod.version, row(pod, include)),
                    Event::Bookmark { version, ends_initial_events } => (*version, bookmark_row(*version, *ends_initial_events)),
                    Event::ErrorStatus(_) => unreachable!("a failure is not encoded as a table"),
                };
                let metadata = json!({ "resourceVersion": version.to_string() }).to_string();
                table(&metadata, if first { &COLUMNS } else { "null" }, &row)
            }
        };
        format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
    }
}

impl Page {
    fn json_metadata(&self) -> String {
        let next = self.next.as_ref().map_or(String::new(), |(token, remaining)| {
            format!(r#","continue":{},"remainingItemCount":{remaining}"#, Value::from(token.as_str()))
        });
        format!(r#"{{"resourceVersion":"{}"{next}}}"#, self.version)
    }

    fn protobuf(&self) -> core::PodList {
        let (token, remaining) = self.next.clone().unzip();
        core::PodList {
            metadata: Some(meta::ListMeta {
                self_link: Some(String::new()),
                resource_version: Some(self.version.to_string()),
                r#continue: Some(token.unwrap_or_default()),
                remaining_item_count: remaining,
            }),
            items: self.pods.iter().map(|pod| pod.protobuf()).collect(),
        }
    }
}

impl Event {
    fn kind(&self) -> &'static str {
        match self {
            Event::Pod(Change::Added, _) => "ADDED",
            Event::Pod(Change::Modified, _) => "MODIFIED",
            Event::Pod(Change::Deleted, _) => "DELETED",
            Event::Bookmark { .. } => "BOOKMARK",
            Event::ErrorStatus(_) => "ERROR",
        }
    }
}

/// Writes JSON as Go does, with these characters escaped.
pub(super) fn go_json(value: impl Into<Value>) -> String {
    value.into().to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The recorded column definitions.
static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    let body = Recording::read("list-table").answer.body;
    let text = std::str::from_utf8(&body).expect("text");
    let (_, after) = text.split_once("\"columnDefinitions\":").expect("columns");
    after.split_once(",\"rows\":").expect("rows").0.to_string()
});

fn table(metadata: &str, columns: &str, rows: &str) -> String {
    format!(
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"columnDefinitions":{columns},"rows":[{rows}]}}"#
    )
}

fn row(pod: &Pod, include: Include) -> String {
    let object = match include {
        Include::None => "null".into(),
        Include::Metadata => partial_object(&pod.json_metadata()),
        Include::Object => pod.json_object(),
    };
    format!(r#"{{"cells":{},"object":{object}}}"#, go_json(pod.cells()))
}

fn bookmark_row(version: u64, ends_initial_events: bool) -> String {
    let cells = go_json(json!(["", "0/0", "", "0", "<unknown>", "<none>", "<none>", "<none>", "<none>"]));
    format!(r#"{{"cells":{cells},"object":{}}}"#, partial_object(&json_bookmark_metadata(version, ends_initial_events)))
}

fn partial_object(metadata: &str) -> String {
    format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#)
}

fn json_bookmark_metadata(version: u64, ends_initial_events: bool) -> String {
    let annotations = if ends_initial_events { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    format!(r#"{{"resourceVersion":"{version}","creationTimestamp":null{annotations}}}"#)
}

fn protobuf_bookmark(version: u64, ends_initial_events: bool) -> core::Pod {
    let annotation = ("k8s.io/initial-events-end".to_string(), "true".to_string());
    let metadata = meta::ObjectMeta {
        resource_version: Some(version.to_string()),
        annotations: ends_initial_events.then_some(annotation).into_iter().collect(),
        ..meta::ObjectMeta::default()
    };
    core::Pod { metadata: Some(metadata), spec: Some(core::PodSpec::default()), status: Some(core::PodStatus::default()) }
}

fn unknown(kind: &str, message: &impl Message) -> Vec<u8> {
    let unknown = Unknown {
        type_meta: Some(TypeMeta { api_version: Some("v1".into()), kind: Some(kind.into()) }),
        raw: Some(message.encode_to_vec()),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    [MAGIC, &unknown.encode_to_vec()].concat()
}

/// Encodes a frame: a length, then a bare WatchEvent around an object as it is encoded on its own.
fn frame(kind: &str, object: Vec<u8>) -> Bytes {
    let event = meta::WatchEvent { r#type: Some(kind.into()), object: Some(RawExtension { raw: Some(object) }) };
    let event = event.encode_to_vec();
    [&(event.len() as u32).to_be_bytes(), &*event].concat().into()
}
