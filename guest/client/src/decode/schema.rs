//! The fields that the records are made of; all else is skipped.
//!
//! One line a field: its protobuf number, its JSON name, and what it is. Numbers are those of `generated.proto` in
//! `k8s.io/api/core/v1`, `k8s.io/apimachinery/pkg/apis/meta/v1` and `k8s.io/apimachinery/pkg/runtime`; names are the API's.
//! The macro makes of them a prost message, and the table by which [`super::transcode`] turns JSON into that message, so that
//! the two encodings cannot drift apart. (A serde implementation for each struct would do the same in 90 KB more.)

use super::transcode::{Field, Kind, Schema};
use prost::Message;
use std::collections::BTreeMap;

/// What a protobuf body begins with.
pub const MAGIC: &[u8] = b"k8s\0";

/// Declares messages. Kinds: `Text`, `Flag`, `Int32`, `Int64`, `Time` and `One<M>` are optional; `Map` is of text to text;
/// `Many<M>` is a list.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($fields:tt)* })*) => {
        $(messages!(@field [$(#[$doc])* $name] [] [] $($fields)*);)*
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Text, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(string, optional, tag = $number)] pub $field: Option<String>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Text },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Flag, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(bool, optional, tag = $number)] pub $field: Option<bool>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Flag },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Int32, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(int32, optional, tag = $number)] pub $field: Option<i32>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Int32 },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Int64, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(int64, optional, tag = $number)] pub $field: Option<i64>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Int64 },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Time, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(message, optional, tag = $number)] pub $field: Option<Time>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Time },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Map, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(btree_map = "string, string", tag = $number)] pub $field: BTreeMap<String, String>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Map },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: One<$of:ident>, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(message, optional, tag = $number)] pub $field: Option<$of>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::One($of::FIELDS) },] $($rest)*);
    };
    (@field $head:tt [$($struct:tt)*] [$($table:tt)*] $number:tt $json:tt $field:ident: Many<$of:ident>, $($rest:tt)*) => {
        messages!(@field $head
            [$($struct)* #[prost(message, repeated, tag = $number)] pub $field: Vec<$of>,]
            [$($table)* Field { json: $json, number: $number, kind: Kind::Many($of::FIELDS) },] $($rest)*);
    };
    (@field [$(#[$doc:meta])* $name:ident] [$($struct:tt)*] [$($table:tt)*]) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Message)]
        pub struct $name { $($struct)* }
        impl Schema for $name {
            const FIELDS: &'static [Field] = &[$($table)*];
        }
    };
}

messages! {
    /// What the list's own fields are.
    ListMeta {
        2 "resourceVersion" resource_version: Text,
        3 "continue" r#continue: Text,
        4 "remainingItemCount" remaining_item_count: Int64,
    }
    Pod {
        1 "metadata" metadata: One<ObjectMeta>,
        2 "spec" spec: One<PodSpec>,
        3 "status" status: One<PodStatus>,
    }
    ObjectMeta {
        1 "name" name: Text,
        2 "generateName" generate_name: Text,
        3 "namespace" namespace: Text,
        5 "uid" uid: Text,
        6 "resourceVersion" resource_version: Text,
        7 "generation" generation: Int64,
        8 "creationTimestamp" creation_timestamp: Time,
        9 "deletionTimestamp" deletion_timestamp: Time,
        11 "labels" labels: Map,
        12 "annotations" annotations: Map,
        13 "ownerReferences" owner_references: Many<OwnerReference>,
    }
    OwnerReference {
        1 "kind" kind: Text,
        3 "name" name: Text,
        4 "uid" uid: Text,
        5 "apiVersion" api_version: Text,
        6 "controller" controller: Flag,
        7 "blockOwnerDeletion" block_owner_deletion: Flag,
    }
    PodSpec {
        2 "containers" containers: Many<Container>,
        7 "nodeSelector" node_selector: Map,
        8 "serviceAccountName" service_account_name: Text,
        10 "nodeName" node_name: Text,
        11 "hostNetwork" host_network: Flag,
        20 "initContainers" init_containers: Many<Container>,
        24 "priorityClassName" priority_class_name: Text,
        28 "readinessGates" readiness_gates: Many<PodReadinessGate>,
    }
    PodReadinessGate {
        1 "conditionType" condition_type: Text,
    }
    Container {
        1 "name" name: Text,
        2 "image" image: Text,
        6 "ports" ports: Many<ContainerPort>,
        24 "restartPolicy" restart_policy: Text,
    }
    ContainerPort {
        1 "name" name: Text,
        2 "hostPort" host_port: Int32,
        3 "containerPort" container_port: Int32,
        4 "protocol" protocol: Text,
        5 "hostIP" host_ip: Text,
    }
    PodStatus {
        1 "phase" phase: Text,
        2 "conditions" conditions: Many<PodCondition>,
        3 "message" message: Text,
        4 "reason" reason: Text,
        5 "hostIP" host_ip: Text,
        6 "podIP" pod_ip: Text,
        7 "startTime" start_time: Time,
        8 "containerStatuses" container_statuses: Many<ContainerStatus>,
        9 "qosClass" qos_class: Text,
        10 "initContainerStatuses" init_container_statuses: Many<ContainerStatus>,
        11 "nominatedNodeName" nominated_node_name: Text,
        12 "podIPs" pod_ips: Many<Ip>,
        16 "hostIPs" host_ips: Many<Ip>,
    }
    /// `PodIP` and `HostIP`.
    Ip {
        1 "ip" ip: Text,
    }
    PodCondition {
        1 "type" r#type: Text,
        2 "status" status: Text,
        3 "lastProbeTime" last_probe_time: Time,
        4 "lastTransitionTime" last_transition_time: Time,
        5 "reason" reason: Text,
        6 "message" message: Text,
    }
    ContainerStatus {
        1 "name" name: Text,
        2 "state" state: One<ContainerState>,
        3 "lastState" last_state: One<ContainerState>,
        4 "ready" ready: Flag,
        5 "restartCount" restart_count: Int32,
        6 "image" image: Text,
        7 "imageID" image_id: Text,
        9 "started" started: Flag,
    }
    ContainerState {
        1 "waiting" waiting: One<ContainerStateWaiting>,
        2 "running" running: One<ContainerStateRunning>,
        3 "terminated" terminated: One<ContainerStateTerminated>,
    }
    ContainerStateWaiting {
        1 "reason" reason: Text,
        2 "message" message: Text,
    }
    ContainerStateRunning {
        1 "startedAt" started_at: Time,
    }
    ContainerStateTerminated {
        1 "exitCode" exit_code: Int32,
        2 "signal" signal: Int32,
        3 "reason" reason: Text,
        4 "message" message: Text,
        5 "startedAt" started_at: Time,
        6 "finishedAt" finished_at: Time,
    }
    Status {
        1 "metadata" metadata: One<ListMeta>,
        2 "status" status: Text,
        3 "message" message: Text,
        4 "reason" reason: Text,
        5 "details" details: One<StatusDetails>,
        6 "code" code: Int32,
    }
    StatusDetails {
        1 "name" name: Text,
        2 "group" group: Text,
        3 "kind" kind: Text,
        4 "causes" causes: Many<StatusCause>,
        5 "retryAfterSeconds" retry_after_seconds: Int32,
        6 "uid" uid: Text,
    }
    /// A watch's event in JSON, as far as it says what its object is.
    TypedEvent {
        1 "type" r#type: Text,
        2 "object" object: One<TypedObject>,
    }
    TypedObject {
        2 "kind" kind: Text,
    }
    StatusCause {
        1 "reason" reason: Text,
        2 "message" message: Text,
        3 "field" field: Text,
    }
}

/// A time: seconds since 1970, and no seconds at all for Go's zero time. In JSON it is text (RFC 3339).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Time {
    #[prost(int64, optional, tag = 1)]
    pub seconds: Option<i64>,
}

/// What wraps every protobuf body.
#[derive(Clone, PartialEq, Message)]
pub struct Unknown {
    #[prost(message, required, tag = 1)]
    pub type_meta: TypeMeta,
    #[prost(bytes = "vec", tag = 2)]
    pub raw: Vec<u8>,
}

/// `Unknown`'s first field: what `raw` is.
#[derive(Clone, PartialEq, Message)]
pub struct TypeMeta {
    #[prost(string, tag = 2)]
    pub kind: String,
}

/// A watch's event in protobuf.
#[derive(Clone, PartialEq, Message)]
pub struct WatchEvent {
    #[prost(string, tag = 1)]
    pub r#type: String,
    #[prost(message, required, tag = 2)]
    pub object: RawExtension,
}

/// An object in a `runtime.Unknown` of its own, as in a body.
#[derive(Clone, PartialEq, Message)]
pub struct RawExtension {
    #[prost(bytes = "vec", tag = 1)]
    pub raw: Vec<u8>,
}
