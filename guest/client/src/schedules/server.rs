//! A server as a watch sees it: pods that come, change and go, and answers.

use crate::decode::{Encoding, JsonObject, Object};
use crate::response::Head;
use crate::types::{self, ChangeKind};
use k8s_pb::api::core::v1::{Pod, PodList};
use k8s_pb::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, Status, StatusDetails};
use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The number of pods on a page.
const PAGE: usize = 2;

/// The names of pods, and the version of each.
pub type Pods = BTreeMap<u8, u64>;

/// A change, and the version that it made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    pub version: u64,
    pub kind: ChangeKind,
    pub pod: u8,
}

/// The type of the objects that are watched: they have a name and a version, and come in one encoding.
pub trait Watched: Object {
    /// The encoding of the server's answers.
    const ENCODING: Encoding;

    /// An object's name and version.
    fn seen(&self) -> (String, String);
}

impl Watched for types::Pod {
    const ENCODING: Encoding = Encoding::Protobuf;

    fn seen(&self) -> (String, String) {
        (self.metadata.name.clone(), self.metadata.resource_version.clone())
    }
}

impl Watched for JsonObject {
    const ENCODING: Encoding = Encoding::Json;

    fn seen(&self) -> (String, String) {
        let object: Value = serde_json::from_slice(&self.0).unwrap();
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
        (text("name"), text("resourceVersion"))
    }
}

/// A server, with everything that has ever been there.
pub struct Server {
    /// The encoding of the answers.
    pub encoding: Encoding,
    pub log: Vec<Logged>,
    /// Changes up to this version are forgotten.
    pub forgotten: u64,
    /// Whether the server can send the initial objects as events.
    pub knows_watch_list: bool,
}

impl Server {
    pub fn version(&self) -> u64 {
        self.log.last().map_or(1, |last| last.version)
    }

    /// The pods at a version.
    pub fn pods(&self, at: u64) -> Pods {
        let mut pods = Pods::new();
        for Logged { version, kind, pod } in self.log.iter().take_while(|logged| logged.version <= at) {
            match kind {
                ChangeKind::Deleted => pods.remove(pod),
                ChangeKind::Added | ChangeKind::Modified => pods.insert(*pod, *version),
            };
        }
        pods
    }

    /// The changes after a version.
    pub fn after(&self, version: u64) -> &[Logged] {
        &self.log[self.log.partition_point(|logged| logged.version <= version)..]
    }

    /// Changes one of a few pods.
    pub fn change(&mut self, choice: u8) {
        let pod = choice % 6;
        let kind = match self.pods(u64::MAX).contains_key(&pod) {
            false => ChangeKind::Added,
            true if choice >= 128 => ChangeKind::Deleted,
            true => ChangeKind::Modified,
        };
        // Other resources have versions, too.
        let version = self.version() + 1 + u64::from(choice % 3);
        self.log.push(Logged { version, kind, pod });
    }

    /// A page of the list at a version, after a pod, with a continue token if there is more.
    pub fn page(&self, at: u64, after: Option<u8>) -> Vec<u8> {
        let pods = self.pods(at);
        let mut rest = pods.iter().filter(|(pod, _)| after.is_none_or(|after| **pod > after));
        let items: Vec<Pod> = rest.by_ref().take(PAGE).map(|(pod, version)| object(*pod, *version)).collect();
        let last = pods.iter().filter(|(pod, _)| after.is_none_or(|after| **pod > after)).nth(PAGE - 1).map(|(pod, _)| *pod);
        let go_on = rest.next().and(last).map(|last| format!("{at}:{last}"));
        let (resource_version, go_on) = (Some(at.to_string()), go_on);
        match self.encoding {
            Encoding::Protobuf => {
                let metadata = ListMeta { resource_version, r#continue: go_on, ..ListMeta::default() };
                unknown("PodList", &PodList { metadata: Some(metadata), items })
            }
            Encoding::Json => {
                let items: Vec<_> = items.iter().map(json).collect();
                let metadata = json!({"resourceVersion": resource_version, "continue": go_on});
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string().into_bytes()
            }
        }
    }

    /// A change as a watch sends it.
    pub fn event(&self, Logged { version, kind, pod }: Logged) -> Vec<u8> {
        let name = match kind {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Deleted => "DELETED",
        };
        self.frame(name, &object(pod, version))
    }

    /// The event that nothing else changed up to a version, or that all initial objects have come.
    pub fn bookmark(&self, version: u64, ends_initial_events: bool) -> Vec<u8> {
        let mut pod = object(0, version);
        if let Some(metadata) = &mut pod.metadata {
            metadata.name = None;
            if ends_initial_events {
                metadata.annotations.insert("k8s.io/initial-events-end".into(), "true".into());
            }
        }
        self.frame("BOOKMARK", &pod)
    }

    /// A failure's body.
    pub fn failure(&self, code: u16, retry_after_seconds: Option<i32>) -> Vec<u8> {
        match self.encoding {
            Encoding::Protobuf => failure(code, retry_after_seconds),
            Encoding::Json => json_failure(code, retry_after_seconds).to_string().into_bytes(),
        }
    }

    /// A failure as an event of a watch.
    pub fn error_event(&self, code: u16) -> Vec<u8> {
        match self.encoding {
            Encoding::Protobuf => frame("ERROR", failure(code, None)),
            Encoding::Json => format!("{}\n", json!({"type": "ERROR", "object": json_failure(code, None)})).into_bytes(),
        }
    }

    /// A meaningless event.
    pub fn garbage(&self) -> Vec<u8> {
        self.frame("FORMATTED", &object(0, 1))
    }

    fn frame(&self, name: &str, pod: &Pod) -> Vec<u8> {
        match self.encoding {
            Encoding::Protobuf => frame(name, unknown("Pod", pod)),
            Encoding::Json => format!("{}\n", json!({"type": name, "object": json(pod)})).into_bytes(),
        }
    }

    /// An answer's head.
    pub fn head(&self, status: u16) -> Head {
        match self.encoding {
            Encoding::Protobuf => head(status),
            Encoding::Json => Head { content_type: Some("application/json".into()), ..head(status) },
        }
    }
}

fn json(pod: &Pod) -> Value {
    let Some(metadata) = &pod.metadata else { return json!({}) };
    let ObjectMeta { name, resource_version, annotations, .. } = metadata;
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": resource_version, "annotations": annotations}})
}

fn json_failure(code: u16, retry_after_seconds: Option<i32>) -> Value {
    json!({"kind": "Status", "status": "Failure", "message": message(code), "code": code, "details": {"retryAfterSeconds": retry_after_seconds}})
}

fn object(pod: u8, version: u64) -> Pod {
    let (name, resource_version) = (Some(pod.to_string()), Some(version.to_string()));
    Pod { metadata: Some(ObjectMeta { name, resource_version, ..ObjectMeta::default() }), ..Pod::default() }
}

/// An object as an answer's body, or as an event's object.
fn unknown(kind: &str, object: &impl Message) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: Some("v1".into()), kind: Some(kind.into()) };
    let unknown = Unknown { type_meta: Some(type_meta), raw: Some(object.encode_to_vec()), ..Unknown::default() };
    [b"k8s\0", &unknown.encode_to_vec()[..]].concat()
}

fn frame(name: &str, object: Vec<u8>) -> Vec<u8> {
    let event = k8s_pb::apimachinery::pkg::apis::meta::v1::WatchEvent {
        r#type: Some(name.into()),
        object: Some(RawExtension { raw: Some(object) }),
    };
    let event = event.encode_to_vec();
    [&u32::try_from(event.len()).unwrap().to_be_bytes()[..], &event].concat()
}

fn message(code: u16) -> Option<&'static str> {
    (code == 504).then_some("Too large resource version: 1200, current: 1000")
}

/// A failure's body in protobuf.
pub fn failure(code: u16, retry_after_seconds: Option<i32>) -> Vec<u8> {
    let details = StatusDetails { retry_after_seconds, ..StatusDetails::default() };
    let (status, message) = (Some("Failure".into()), message(code).map(String::from));
    let status = Status { status, message, code: Some(code.into()), details: Some(details), ..Status::default() };
    unknown("Status", &status)
}

/// The head of an answer in protobuf.
pub fn head(status: u16) -> Head {
    Head { status, content_type: Some("application/vnd.kubernetes.protobuf".into()), ..Head::default() }
}
