//! The fields of a pod that its record is made of.
//!
//! There is one field per line: its protobuf number, its JSON name, its place in the record, and its kind. The numbers are from
//! `generated.proto` in `k8s.io/api/core/v1` and `k8s.io/apimachinery/pkg/apis/meta/v1`; the names are the API's. All other fields are
//! skipped.

use super::message::{
    Flag, Int32, Int64, Known, Many, ManyAs, Map, Message, One, OneAs, Pointer, Put, Quantities, Text, Texts, Time, decode,
    messages,
};
use super::transcode::Field;
use super::wire::{Invalid, Value, bytes};
use crate::types::*;

messages! {
    Pod {
        1 "metadata" => metadata: One<ObjectMeta>,
        2 "spec" => spec: One<PodSpec>,
        3 "status" => status: OneAs<Observed>,
    }
    ObjectMeta {
        1 "name" => name: Text,
        2 "generateName" => generate_name: Text,
        3 "namespace" => namespace: Text,
        5 "uid" => uid: Text,
        6 "resourceVersion" => resource_version: Text,
        // The API's generations begin at 1.
        7 "generation" => generation: Int64,
        8 "creationTimestamp" => creation_timestamp: Time,
        9 "deletionTimestamp" => deletion_timestamp: Time,
        10 "deletionGracePeriodSeconds" => deletion_grace_period_seconds: Pointer<Int64>,
        11 "labels" => labels: Map,
        12 "annotations" => annotations: Map,
        13 "ownerReferences" => owner_references: Many<OwnerReference>,
        14 "finalizers" => finalizers: Texts,
    }
    OwnerReference {
        1 "kind" => kind: Text,
        3 "name" => name: Text,
        4 "uid" => uid: Text,
        5 "apiVersion" => api_version: Text,
        6 "controller" => controller: Flag,
        7 "blockOwnerDeletion" => block_owner_deletion: Flag,
    }
    PodSpec {
        2 "containers" => containers: Many<Container>,
        3 "restartPolicy" => restart_policy: Text,
        4 "terminationGracePeriodSeconds" => termination_grace_period_seconds: Pointer<Int64>,
        7 "nodeSelector" => node_selector: Map,
        8 "serviceAccountName" => service_account_name: Text,
        10 "nodeName" => node_name: Text,
        11 "hostNetwork" => host_network: Flag,
        16 "hostname" => hostname: Text,
        17 "subdomain" => subdomain: Text,
        20 "initContainers" => init_containers: Many<Container>,
        24 "priorityClassName" => priority_class_name: Text,
        25 "priority" => priority: Pointer<Int32>,
        28 "readinessGates" => readiness_gates: ManyAs<ReadinessGate>,
        34 "ephemeralContainers" => ephemeral_containers: ManyAs<EphemeralContainer>,
        38 "schedulingGates" => scheduling_gates: ManyAs<SchedulingGate>,
        40 "resources" => resources: One<ResourceRequirements>,
    }
    SchedulingGate {
        1 "name" => name: Text,
    }
    EphemeralContainer {
        // In JSON, these fields are the ephemeral container's own.
        1 "" => common: One<Container>,
    }
    ResourceRequirements {
        1 "limits" => limits: Quantities,
        2 "requests" => requests: Quantities,
    }
    ReadinessGate {
        1 "conditionType" => condition_type: Text,
    }
    Container {
        1 "name" => name: Text,
        2 "image" => image: Text,
        6 "ports" => ports: Many<ContainerPort>,
        8 "resources" => resources: One<ResourceRequirements>,
        24 "restartPolicy" => restart_policy: Text,
    }
    ContainerPort {
        1 "name" => name: Text,
        2 "hostPort" => host_port: Int32,
        3 "containerPort" => container_port: Int32,
        4 "protocol" => protocol: Text,
        5 "hostIP" => host_ip: Text,
        finally |port: &mut ContainerPort| {
            if port.protocol.is_empty() {
                port.protocol = "TCP".into();
            }
        }
    }
    Observed {
        1 "phase" => status.phase: Text,
        2 "conditions" => status.conditions: Many<PodCondition>,
        3 "message" => status.message: Text,
        4 "reason" => status.reason: Text,
        5 "hostIP" => host_ip: Text,
        6 "podIP" => pod_ip: Text,
        7 "startTime" => status.start_time: Time,
        8 "containerStatuses" => status.container_statuses: Many<ContainerStatus>,
        9 "qosClass" => status.qos_class: Text,
        10 "initContainerStatuses" => status.init_container_statuses: Many<ContainerStatus>,
        11 "nominatedNodeName" => status.nominated_node_name: Text,
        12 "podIPs" => status.pod_ips: ManyAs<Ip>,
        13 "ephemeralContainerStatuses" => status.ephemeral_container_statuses: Many<ContainerStatus>,
        16 "hostIPs" => status.host_ips: ManyAs<Ip>,
        17 "observedGeneration" => status.observed_generation: Int64,
        finally |observed: &mut Observed| {
            default_to(&mut observed.status.pod_ips, observed.pod_ip.take());
            default_to(&mut observed.status.host_ips, observed.host_ip.take());
        }
    }
    Ip {
        1 "ip" => ip: Text,
    }
    PodCondition {
        1 "type" => condition_type: Text,
        2 "status" => status: Text,
        3 "lastProbeTime" => last_probe_time: Time,
        4 "lastTransitionTime" => last_transition_time: Time,
        5 "reason" => reason: Text,
        6 "message" => message: Text,
        7 "observedGeneration" => observed_generation: Int64,
    }
    ContainerStatus {
        1 "name" => name: Text,
        2 "state" => state: One<Option<ContainerState>>,
        3 "lastState" => last_state: One<Option<ContainerState>>,
        4 "ready" => ready: Flag,
        5 "restartCount" => restart_count: Int32,
        6 "image" => image: Text,
        7 "imageID" => image_id: Text,
        8 "containerID" => container_id: Text,
        9 "started" => started: Flag,
        11 "resources" => resources: One<ResourceRequirements>,
    }
    ContainerStateWaiting {
        1 "reason" => reason: Text,
        2 "message" => message: Text,
    }
    ContainerStateRunning {
        1 "startedAt" => started_at: Time,
    }
    ContainerStateTerminated {
        1 "exitCode" => exit_code: Int32,
        2 "signal" => signal: Int32,
        3 "reason" => reason: Text,
        4 "message" => message: Text,
        5 "startedAt" => started_at: Time,
        6 "finishedAt" => finished_at: Time,
        7 "containerID" => container_id: Text,
    }
}

/// `PodStatus`, with the addresses that the record has in another form.
#[derive(Default)]
struct Observed {
    status: PodStatus,
    pod_ip: Option<String>,
    host_ip: Option<String>,
}

impl From<Observed> for PodStatus {
    fn from(observed: Observed) -> PodStatus {
        observed.status
    }
}

/// Makes the main address the list if there is no list.
fn default_to(addresses: &mut Vec<String>, main: Option<String>) {
    addresses.retain(|address| !address.is_empty());
    if addresses.is_empty() {
        addresses.extend(main);
    }
}

/// `PodIP` and `HostIP`.
#[derive(Default)]
struct Ip {
    ip: String,
}

impl From<Ip> for String {
    fn from(Ip { ip }: Ip) -> String {
        ip
    }
}

/// `PodReadinessGate`.
#[derive(Default)]
struct ReadinessGate {
    condition_type: String,
}

impl From<ReadinessGate> for String {
    fn from(ReadinessGate { condition_type }: ReadinessGate) -> String {
        condition_type
    }
}

/// `PodSchedulingGate`.
#[derive(Default)]
struct SchedulingGate {
    name: String,
}

impl From<SchedulingGate> for String {
    fn from(SchedulingGate { name }: SchedulingGate) -> String {
        name
    }
}

/// `EphemeralContainer`: the fields that it shares with a container (`EphemeralContainerCommon`).
#[derive(Default)]
struct EphemeralContainer {
    common: Container,
}

impl From<EphemeralContainer> for Container {
    fn from(EphemeralContainer { common }: EphemeralContainer) -> Container {
        common
    }
}

/// One of the fields is present. If there were several, the first of them would count.
impl Message for Option<ContainerState> {
    const FIELDS: &'static [Field] = &[
        Field { json: "waiting", number: 1, kind: <One<ContainerStateWaiting> as Known>::KIND },
        Field { json: "running", number: 2, kind: <One<ContainerStateRunning> as Known>::KIND },
        Field { json: "terminated", number: 3, kind: <One<ContainerStateTerminated> as Known>::KIND },
    ];

    fn take(&mut self, number: u32, value: Value<'_>) -> Result<(), Invalid> {
        let before = match self {
            Some(ContainerState::Waiting(_)) => 1,
            Some(ContainerState::Running(_)) => 2,
            _ => 3,
        };
        let state = match number {
            1 => ContainerState::Waiting(decode(bytes(value)?)?),
            2 => ContainerState::Running(decode(bytes(value)?)?),
            3 => ContainerState::Terminated(decode(bytes(value)?)?),
            _ => return Ok(()),
        };
        if number <= before {
            *self = Some(state);
        }
        Ok(())
    }

    fn finish(&mut self) {}
}
