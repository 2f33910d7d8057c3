//! Inputs for tests: recorded answers of a real API server, and a pod with every field.

use crate::response::Head;
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use prost::Message as _;
use serde_json::Value;

/// A recorded answer.
pub struct Exchange {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Exchange {
    pub fn read(name: &str) -> Exchange {
        let path = format!("{}/../../tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let exchange: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let response = &exchange["response"];
        let header = |name: &str| {
            let headers = response["headers"].as_array().unwrap();
            headers.iter().find(|h| h[0] == name).map(|h| h[1].as_str().unwrap().to_string())
        };
        let body = match response["body-base64"].as_str() {
            Some(base64) => data_encoding::BASE64.decode(base64.as_bytes()).unwrap(),
            None => response["body"].as_str().unwrap().as_bytes().to_vec(),
        };
        Exchange {
            head: Head {
                status: response["status"].as_u64().unwrap() as u16,
                content_type: header("Content-Type"),
                content_encoding: header("Content-Encoding"),
                retry_after: header("Retry-After"),
                location: header("Location"),
                date: header("Date"),
                warnings: Vec::new(),
            },
            body,
        }
    }
}

pub fn full_pod_json() -> String {
    include_str!("../../../../tests/fixtures/full-pod-list.json").into()
}

/// The list of [`full_pod_json`] in protobuf, by the crate `k8s-pb`, which is generated from Kubernetes's own definitions.
pub fn full_pod_protobuf() -> Vec<u8> {
    let list = core::PodList {
        metadata: Some(meta::ListMeta {
            resource_version: s("77"),
            r#continue: s("next"),
            remaining_item_count: Some(3),
            ..Default::default()
        }),
        items: vec![full_pod()],
    };
    let unknown = k8s_pb::apimachinery::pkg::runtime::Unknown {
        type_meta: Some(k8s_pb::apimachinery::pkg::runtime::TypeMeta { api_version: s("v1"), kind: s("PodList") }),
        raw: Some(list.encode_to_vec()),
        content_encoding: s(""),
        content_type: s(""),
    };
    [super::schema::MAGIC, &unknown.encode_to_vec()].concat()
}

fn s(text: &str) -> Option<String> {
    Some(text.into())
}

fn time(seconds: i64) -> Option<meta::Time> {
    Some(meta::Time { seconds: Some(seconds), nanos: Some(0) })
}

fn map(key: &str, value: &str) -> std::collections::BTreeMap<String, String> {
    [(key.to_string(), value.to_string())].into()
}

fn quantities(key: &str, quantity: &str) -> std::collections::BTreeMap<String, Quantity> {
    [(key.to_string(), Quantity { string: s(quantity) })].into()
}

fn resources() -> core::ResourceRequirements {
    core::ResourceRequirements { limits: quantities("memory", "1Gi"), requests: quantities("cpu", "500m"), claims: Vec::new() }
}

fn full_pod() -> core::Pod {
    let port = core::ContainerPort {
        name: s("http"),
        host_port: Some(30080),
        container_port: Some(8080),
        protocol: s("UDP"),
        host_ip: s("192.0.2.9"),
    };
    let container = |name: &str| core::Container {
        name: s(name),
        image: s("image:1"),
        ports: vec![port.clone()],
        restart_policy: s("Always"),
        resources: Some(resources()),
        ..Default::default()
    };
    let debug = core::EphemeralContainerCommon {
        name: s("debug"),
        image: s("image:1"),
        ports: vec![port.clone()],
        restart_policy: s("Always"),
        resources: Some(resources()),
        ..Default::default()
    };
    let terminated = core::ContainerStateTerminated {
        exit_code: Some(137),
        signal: Some(9),
        reason: s("OOMKilled"),
        message: s("out of memory"),
        started_at: time(1_700_000_005),
        finished_at: time(1_700_000_006),
        container_id: s("containerd://1"),
    };
    let waiting = core::ContainerStateWaiting { reason: s("CrashLoopBackOff"), message: s("back-off") };
    let running = core::ContainerStateRunning { started_at: time(1_700_000_007) };
    let container_status = |name: &str, state: core::ContainerState| core::ContainerStatus {
        name: s(name),
        ready: Some(true),
        started: Some(true),
        restart_count: Some(4),
        image: s("image:1"),
        image_id: s("sha256:1"),
        container_id: s("containerd://2"),
        resources: Some(resources()),
        state: Some(state),
        last_state: Some(core::ContainerState { terminated: Some(terminated.clone()), ..Default::default() }),
        ..Default::default()
    };
    core::Pod {
        metadata: Some(meta::ObjectMeta {
            name: s("web-0"),
            generate_name: s("web-"),
            namespace: s("shop"),
            uid: s("uid-1"),
            resource_version: s("42"),
            generation: Some(2),
            creation_timestamp: time(1_700_000_001),
            deletion_timestamp: time(1_700_000_002),
            deletion_grace_period_seconds: Some(9),
            labels: map("app", "web"),
            annotations: map("note", "text"),
            owner_references: vec![meta::OwnerReference {
                api_version: s("apps/v1"),
                kind: s("StatefulSet"),
                name: s("web"),
                uid: s("uid-2"),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            finalizers: vec!["example.com/a".into(), "example.com/b".into()],
            ..Default::default()
        }),
        spec: Some(core::PodSpec {
            node_name: s("node-1"),
            service_account_name: s("web"),
            host_network: Some(true),
            priority_class_name: s("high"),
            priority: Some(-5),
            restart_policy: s("OnFailure"),
            termination_grace_period_seconds: Some(45),
            hostname: s("host"),
            subdomain: s("sub"),
            scheduling_gates: vec![core::PodSchedulingGate { name: s("example.com/quota") }],
            resources: Some(resources()),
            ephemeral_containers: vec![core::EphemeralContainer {
                ephemeral_container_common: Some(debug),
                target_container_name: s("main"),
            }],
            containers: vec![container("main")],
            init_containers: vec![container("sidecar")],
            readiness_gates: vec![core::PodReadinessGate { condition_type: s("example.com/gate") }],
            node_selector: map("disk", "ssd"),
            ..Default::default()
        }),
        status: Some(core::PodStatus {
            phase: s("Running"),
            reason: s("Evicted"),
            message: s("node was low on memory"),
            conditions: vec![core::PodCondition {
                r#type: s("Ready"),
                status: s("True"),
                reason: s("Because"),
                message: s("it is"),
                last_probe_time: time(1_700_000_003),
                last_transition_time: time(1_700_000_004),
                observed_generation: Some(2),
            }],
            pod_ip: s("10.1.0.1"),
            pod_ips: ["10.1.0.1", "fd00::1"].map(|ip| core::PodIp { ip: s(ip) }).into(),
            host_ip: s("10.0.0.1"),
            host_ips: vec![core::HostIp { ip: s("10.0.0.1") }],
            nominated_node_name: s("node-2"),
            start_time: time(1_700_000_008),
            qos_class: s("Burstable"),
            container_statuses: vec![
                container_status("main", core::ContainerState { waiting: Some(waiting), ..Default::default() }),
                container_status("other", core::ContainerState { running: Some(running), ..Default::default() }),
            ],
            init_container_statuses: vec![container_status(
                "sidecar",
                core::ContainerState { terminated: Some(terminated.clone()), ..Default::default() },
            )],
            ephemeral_container_statuses: vec![container_status(
                "debug",
                core::ContainerState { terminated: Some(terminated.clone()), ..Default::default() },
            )],
            observed_generation: Some(2),
            ..Default::default()
        }),
    }
}
