//! Converts a pod of `k8s-openapi` to the protobuf message of `k8s-pb`, for tests.

use k8s_openapi::api::core::v1 as from;
use k8s_openapi::apimachinery::pkg::api::resource as from_quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as from_meta;
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime;
use prost::Message as _;
use std::collections::BTreeMap;

/// The kind of writer of a message.
#[derive(Clone, Copy, Debug)]
pub enum Writer {
    /// The API server: a field that is not a pointer in Go is written even when it is empty.
    Go,
    /// A writer that leaves out empty fields.
    Terse,
}

/// An object as a body: `k8s\0`, then the object with its kind.
pub fn body(kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let unknown = runtime::Unknown {
        type_meta: Some(runtime::TypeMeta { api_version: Some("v1".into()), kind: Some(kind.into()) }),
        raw: Some(raw),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    [super::schema::MAGIC, &unknown.encode_to_vec()].concat()
}

/// An event of a watch, with its length before it.
pub fn event(name: &str, object: Vec<u8>) -> Vec<u8> {
    let object = Some(runtime::RawExtension { raw: Some(object) });
    let event = meta::WatchEvent { r#type: Some(name.into()), object }.encode_to_vec();
    [&u32::try_from(event.len()).unwrap().to_be_bytes()[..], &event].concat()
}

impl Writer {
    pub fn list(self, metadata: &from_meta::ListMeta, pods: &[from::Pod]) -> Vec<u8> {
        let list = core::PodList {
            metadata: Some(meta::ListMeta {
                resource_version: self.text(&metadata.resource_version),
                r#continue: self.text(&metadata.continue_),
                remaining_item_count: metadata.remaining_item_count,
                ..Default::default()
            }),
            items: pods.iter().map(|pod| self.pod(pod)).collect(),
        };
        body("PodList", list.encode_to_vec())
    }

    pub fn pod(self, pod: &from::Pod) -> core::Pod {
        let status = pod.status.as_ref().map(|status| self.status(status));
        core::Pod {
            metadata: Some(self.metadata(&pod.metadata)),
            spec: self.message(pod.spec.as_ref().map(|spec| self.spec(spec))),
            status: self.message(status),
        }
    }

    /// Writes a field that is not a pointer in Go.
    fn message<T: Default>(self, message: Option<T>) -> Option<T> {
        match self {
            Writer::Go => Some(message.unwrap_or_default()),
            Writer::Terse => message,
        }
    }

    fn text(self, text: &Option<String>) -> Option<String> {
        self.message(text.clone())
    }

    fn required(self, text: &str) -> Option<String> {
        self.message((!text.is_empty()).then(|| text.into()))
    }

    fn time(self, time: &Option<from_meta::Time>) -> Option<meta::Time> {
        self.message(pointer_to_time(time))
    }

    fn metadata(self, metadata: &from_meta::ObjectMeta) -> meta::ObjectMeta {
        let owner_reference = |owner: &from_meta::OwnerReference| meta::OwnerReference {
            api_version: self.required(&owner.api_version),
            kind: self.required(&owner.kind),
            name: self.required(&owner.name),
            uid: self.required(&owner.uid),
            controller: owner.controller,
            block_owner_deletion: owner.block_owner_deletion,
        };
        let managed_fields = |entry: &from_meta::ManagedFieldsEntry| meta::ManagedFieldsEntry {
            manager: self.text(&entry.manager),
            fields_v1: entry.fields_v1.as_ref().map(|f| meta::FieldsV1 { raw: Some(f.0.to_string().into_bytes()) }),
            ..Default::default()
        };
        meta::ObjectMeta {
            name: self.text(&metadata.name),
            generate_name: self.text(&metadata.generate_name),
            namespace: self.text(&metadata.namespace),
            uid: self.text(&metadata.uid),
            resource_version: self.text(&metadata.resource_version),
            generation: self.message(metadata.generation),
            creation_timestamp: self.time(&metadata.creation_timestamp),
            deletion_timestamp: pointer_to_time(&metadata.deletion_timestamp),
            labels: map(&metadata.labels),
            annotations: map(&metadata.annotations),
            owner_references: each(&metadata.owner_references, owner_reference),
            managed_fields: each(&metadata.managed_fields, managed_fields),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            deletion_grace_period_seconds: metadata.deletion_grace_period_seconds,
            ..Default::default()
        }
    }

    fn spec(self, spec: &from::PodSpec) -> core::PodSpec {
        core::PodSpec {
            node_name: self.text(&spec.node_name),
            service_account_name: self.text(&spec.service_account_name),
            host_network: self.message(spec.host_network),
            priority_class_name: self.text(&spec.priority_class_name),
            containers: spec.containers.iter().map(|container| self.container(container)).collect(),
            init_containers: each(&spec.init_containers, |container| self.container(container)),
            readiness_gates: each(&spec.readiness_gates, |gate| core::PodReadinessGate {
                condition_type: self.required(&gate.condition_type),
            }),
            node_selector: map(&spec.node_selector),
            hostname: self.text(&spec.hostname),
            subdomain: self.text(&spec.subdomain),
            priority: spec.priority,
            restart_policy: self.text(&spec.restart_policy),
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
            scheduling_gates: each(&spec.scheduling_gates, |gate| core::PodSchedulingGate { name: self.required(&gate.name) }),
            resources: spec.resources.as_ref().map(resources),
            ephemeral_containers: each(&spec.ephemeral_containers, |container| core::EphemeralContainer {
                ephemeral_container_common: Some(core::EphemeralContainerCommon {
                    name: self.required(&container.name),
                    image: self.text(&container.image),
                    restart_policy: container.restart_policy.clone(),
                    resources: self.message(container.resources.as_ref().map(resources)),
                    ..Default::default()
                }),
                target_container_name: self.text(&container.target_container_name),
            }),
            ..Default::default()
        }
    }

    fn container(self, container: &from::Container) -> core::Container {
        core::Container {
            name: self.required(&container.name),
            image: self.text(&container.image),
            ports: each(&container.ports, |port| core::ContainerPort {
                name: self.text(&port.name),
                host_port: self.message(port.host_port),
                container_port: Some(port.container_port),
                protocol: self.text(&port.protocol),
                host_ip: self.text(&port.host_ip),
            }),
            restart_policy: container.restart_policy.clone(),
            resources: self.message(container.resources.as_ref().map(resources)),
            args: container.args.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    fn status(self, status: &from::PodStatus) -> core::PodStatus {
        let condition = |condition: &from::PodCondition| core::PodCondition {
            r#type: self.required(&condition.type_),
            status: self.required(&condition.status),
            reason: self.text(&condition.reason),
            message: self.text(&condition.message),
            last_probe_time: self.time(&condition.last_probe_time),
            last_transition_time: self.time(&condition.last_transition_time),
            observed_generation: self.message(condition.observed_generation),
        };
        core::PodStatus {
            phase: self.text(&status.phase),
            reason: self.text(&status.reason),
            message: self.text(&status.message),
            conditions: each(&status.conditions, condition),
            pod_ip: self.text(&status.pod_ip),
            pod_ips: each(&status.pod_ips, |ip| core::PodIp { ip: self.required(&ip.ip) }),
            host_ip: self.text(&status.host_ip),
            host_ips: each(&status.host_ips, |ip| core::HostIp { ip: self.required(&ip.ip) }),
            nominated_node_name: self.text(&status.nominated_node_name),
            start_time: pointer_to_time(&status.start_time),
            qos_class: self.text(&status.qos_class),
            container_statuses: each(&status.container_statuses, |status| self.container_status(status)),
            init_container_statuses: each(&status.init_container_statuses, |status| self.container_status(status)),
            ephemeral_container_statuses: each(&status.ephemeral_container_statuses, |status| self.container_status(status)),
            observed_generation: self.message(status.observed_generation),
            ..Default::default()
        }
    }

    fn container_status(self, status: &from::ContainerStatus) -> core::ContainerStatus {
        let state = |state: &Option<from::ContainerState>| self.message(state.as_ref().map(|state| self.state(state)));
        core::ContainerStatus {
            name: self.required(&status.name),
            ready: self.message(status.ready.then_some(true)),
            started: status.started,
            restart_count: Some(status.restart_count),
            image: self.required(&status.image),
            image_id: self.required(&status.image_id),
            state: state(&status.state),
            last_state: state(&status.last_state),
            container_id: self.text(&status.container_id),
            resources: status.resources.as_ref().map(resources),
            ..Default::default()
        }
    }

    fn state(self, state: &from::ContainerState) -> core::ContainerState {
        core::ContainerState {
            waiting: state.waiting.as_ref().map(|waiting| core::ContainerStateWaiting {
                reason: self.text(&waiting.reason),
                message: self.text(&waiting.message),
            }),
            running: state
                .running
                .as_ref()
                .map(|running| core::ContainerStateRunning { started_at: self.time(&running.started_at) }),
            terminated: state.terminated.as_ref().map(|terminated| core::ContainerStateTerminated {
                exit_code: Some(terminated.exit_code),
                signal: self.message(terminated.signal),
                reason: self.text(&terminated.reason),
                message: self.text(&terminated.message),
                started_at: self.time(&terminated.started_at),
                finished_at: self.time(&terminated.finished_at),
                container_id: self.text(&terminated.container_id),
            }),
        }
    }
}

fn resources(resources: &from::ResourceRequirements) -> core::ResourceRequirements {
    let quantities = |of: &Option<BTreeMap<String, from_quantity::Quantity>>| {
        of.iter().flatten().map(|(name, quantity)| (name.clone(), Quantity { string: Some(quantity.0.clone()) })).collect()
    };
    core::ResourceRequirements {
        limits: quantities(&resources.limits),
        requests: quantities(&resources.requests),
        claims: Vec::new(),
    }
}

fn pointer_to_time(time: &Option<from_meta::Time>) -> Option<meta::Time> {
    time.as_ref().map(|time| meta::Time { seconds: Some(time.0.as_second()), nanos: Some(0) })
}

fn map(map: &Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    map.clone().unwrap_or_default()
}

fn each<T, U>(all: &Option<Vec<T>>, to: impl Fn(&T) -> U) -> Vec<U> {
    all.iter().flatten().map(to).collect()
}
