//! A server as far as a watch sees it: pods that come, change and go, and what it answers.

use crate::response::Head;
use crate::types::ChangeKind;
use k8s_pb::api::core::v1::{Pod, PodList};
use k8s_pb::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, Status, StatusDetails};
use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
use prost::Message;
use std::collections::BTreeMap;

/// So many pods come on a page.
const PAGE: usize = 2;

/// Names of pods, and at which version each is.
pub type Pods = BTreeMap<u8, u64>;

/// A change, and the version that it made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    pub version: u64,
    pub kind: ChangeKind,
    pub pod: u8,
}

/// All that there has ever been.
pub struct Server {
    pub log: Vec<Logged>,
    /// Changes up to this version are forgotten.
    pub forgotten: u64,
    /// Whether it can send what there is as events.
    pub knows_watch_list: bool,
}

impl Server {
    pub fn version(&self) -> u64 {
        self.log.last().map_or(1, |last| last.version)
    }

    /// What there was at a version.
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

    /// Something happens to one of a few pods.
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

    /// A page of the list as of a version, after a pod; and what is there to go on with.
    pub fn page(&self, at: u64, after: Option<u8>) -> Vec<u8> {
        let pods = self.pods(at);
        let mut rest = pods.iter().filter(|(pod, _)| after.is_none_or(|after| **pod > after));
        let items: Vec<Pod> = rest.by_ref().take(PAGE).map(|(pod, version)| object(*pod, *version)).collect();
        let last = pods.iter().filter(|(pod, _)| after.is_none_or(|after| **pod > after)).nth(PAGE - 1).map(|(pod, _)| *pod);
        let go_on = rest.next().and(last).map(|last| format!("{at}:{last}"));
        let metadata = ListMeta { resource_version: Some(at.to_string()), r#continue: go_on, ..ListMeta::default() };
        unknown("PodList", &PodList { metadata: Some(metadata), items })
    }
}

fn object(pod: u8, version: u64) -> Pod {
    let (name, resource_version) = (Some(pod.to_string()), Some(version.to_string()));
    Pod { metadata: Some(ObjectMeta { name, resource_version, ..ObjectMeta::default() }), ..Pod::default() }
}

/// As an answer's body, or an event's object.
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

/// A change as a watch sends it.
pub fn event(Logged { version, kind, pod }: Logged) -> Vec<u8> {
    let name = match kind {
        ChangeKind::Added => "ADDED",
        ChangeKind::Modified => "MODIFIED",
        ChangeKind::Deleted => "DELETED",
    };
    frame(name, unknown("Pod", &object(pod, version)))
}

/// That nothing else changed up to a version; perhaps that all there was has come.
pub fn bookmark(version: u64, ends_initial_events: bool) -> Vec<u8> {
    let mut pod = object(0, version);
    if let Some(metadata) = &mut pod.metadata {
        metadata.name = None;
        if ends_initial_events {
            metadata.annotations.insert("k8s.io/initial-events-end".into(), "true".into());
        }
    }
    frame("BOOKMARK", unknown("Pod", &pod))
}

/// What a failure says, as a body.
pub fn failure(code: u16, retry_after_seconds: Option<i32>) -> Vec<u8> {
    let details = StatusDetails { retry_after_seconds, ..StatusDetails::default() };
    let status = Status { status: Some("Failure".into()), code: Some(code.into()), details: Some(details), ..Status::default() };
    unknown("Status", &status)
}

/// The same, as an event of a watch.
pub fn error_event(code: u16) -> Vec<u8> {
    frame("ERROR", failure(code, None))
}

/// An answer's head.
pub fn head(status: u16) -> Head {
    Head { status, content_type: Some("application/vnd.kubernetes.protobuf".into()), ..Head::default() }
}

/// An event that means nothing.
pub fn garbage() -> Vec<u8> {
    frame("FORMATTED", unknown("Pod", &object(0, 1)))
}
