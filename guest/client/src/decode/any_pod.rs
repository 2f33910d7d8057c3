//! Pods of every shape for tests, made with the crates `k8s-openapi` and `k8s-pb`, both generated from Kubernetes's own definitions.

use super::transcode::{Field, Kind};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// The bytes that a pod is made from, one for each choice. When they run out, everything else is absent, so fewer bytes make a simpler pod.
pub struct Choices<'a>(pub &'a [u8]);

const TEXTS: [&str; 8] =
    ["", "web-0", "10.0.0.1", "ä€😀\u{2028}", "a\"b\\c/\n\t\u{1}\u{7f}", "null", "}],{[", "2026-11-23T19:04:12Z"];

/// Times before 1970, at its beginning, and after it.
const TIMES: [i64; 6] = [1_700_000_000, 0, 59, -1, -62_135_596_800, 253_402_000_000];

const NUMBERS: [i32; 8] = [0, 1, 80, 65_535, 65_536, -1, i32::MAX, i32::MIN];

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        (*first).into()
    }

    /// Makes a value half of the time.
    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.next() & 1 == 1).then(|| make(self))
    }

    /// Makes no list, an empty one, or one of up to two values.
    fn several<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Option<Vec<T>> {
        let count = self.next() % 4;
        (count > 0).then(|| (1..count).map(|_| make(self)).collect())
    }

    fn flag(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn text(&mut self) -> String {
        match self.next() {
            n if n % 8 == 7 => TEXTS[1].repeat(n),
            n => TEXTS[n / 8 % TEXTS.len()].into(),
        }
    }

    /// Makes a number, mostly one that a pod can have.
    fn number(&mut self) -> i32 {
        match self.next() {
            n if n % 32 == 31 => NUMBERS[self.next() % NUMBERS.len()],
            n => NUMBERS[n % 4],
        }
    }

    fn time(&mut self) -> meta::Time {
        meta::Time(Timestamp::from_second(TIMES[self.next() % TIMES.len()]).unwrap())
    }

    fn map(&mut self) -> Option<BTreeMap<String, String>> {
        self.several(|c| (c.text(), c.text())).map(|pairs| pairs.into_iter().collect())
    }

    /// Makes a list's metadata.
    pub fn list_meta(&mut self) -> meta::ListMeta {
        meta::ListMeta {
            resource_version: self.maybe(Self::text),
            continue_: self.maybe(Self::text),
            remaining_item_count: self.maybe(|c| c.number().into()),
            ..Default::default()
        }
    }

    /// Makes some pods; their number is a choice, too.
    pub fn pods(&mut self) -> Vec<core::Pod> {
        self.several(Self::pod).unwrap_or_default()
    }

    fn pod(&mut self) -> core::Pod {
        core::Pod { metadata: self.metadata(), spec: self.maybe(Self::spec), status: self.maybe(Self::status) }
    }

    fn metadata(&mut self) -> meta::ObjectMeta {
        let not_wanted = |c: &mut Self| meta::ManagedFieldsEntry {
            manager: c.maybe(Self::text),
            fields_v1: Some(meta::FieldsV1(serde_json::json!({"f:spec": {"k:{\"name\":\"a\"}": {".": {}}}}))),
            ..Default::default()
        };
        meta::ObjectMeta {
            name: self.maybe(Self::text),
            resource_version: self.maybe(Self::text),
            generate_name: self.maybe(Self::text),
            namespace: self.maybe(Self::text),
            uid: self.maybe(Self::text),
            generation: self.maybe(|c| i64::from(c.number()) << (c.next() % 33)),
            creation_timestamp: self.maybe(Self::time),
            deletion_timestamp: self.maybe(Self::time),
            labels: self.map(),
            annotations: self.map(),
            owner_references: self.several(|c| meta::OwnerReference {
                api_version: c.text(),
                block_owner_deletion: c.maybe(Self::flag),
                controller: c.maybe(Self::flag),
                kind: c.text(),
                name: c.text(),
                uid: c.text(),
            }),
            managed_fields: self.several(not_wanted),
            finalizers: self.several(Self::text),
            deletion_grace_period_seconds: self.maybe(|c| c.number().into()),
            ..Default::default()
        }
    }

    fn spec(&mut self) -> core::PodSpec {
        core::PodSpec {
            node_name: self.maybe(Self::text),
            service_account_name: self.maybe(Self::text),
            host_network: self.maybe(Self::flag),
            priority_class_name: self.maybe(Self::text),
            containers: self.several(Self::container).unwrap_or_default(),
            init_containers: self.several(Self::container),
            readiness_gates: self.several(|c| core::PodReadinessGate { condition_type: c.text() }),
            node_selector: self.map(),
            hostname: self.maybe(Self::text),
            subdomain: self.maybe(Self::text),
            priority: self.maybe(Self::number),
            restart_policy: self.maybe(Self::text),
            termination_grace_period_seconds: self.maybe(|c| c.number().into()),
            scheduling_gates: self.several(|c| core::PodSchedulingGate { name: c.text() }),
            resources: self.maybe(Self::resources),
            ephemeral_containers: self.several(Self::ephemeral_container),
            ..Default::default()
        }
    }

    fn quantities(&mut self) -> Option<BTreeMap<String, Quantity>> {
        self.several(|c| (c.text(), Quantity(c.text()))).map(|pairs| pairs.into_iter().collect())
    }

    fn resources(&mut self) -> core::ResourceRequirements {
        core::ResourceRequirements { limits: self.quantities(), requests: self.quantities(), claims: None }
    }

    fn ephemeral_container(&mut self) -> core::EphemeralContainer {
        core::EphemeralContainer {
            name: self.text(),
            image: self.maybe(Self::text),
            restart_policy: self.maybe(Self::text),
            resources: self.maybe(Self::resources),
            target_container_name: self.maybe(Self::text),
            ..Default::default()
        }
    }

    fn container(&mut self) -> core::Container {
        core::Container {
            name: self.text(),
            image: self.maybe(Self::text),
            ports: self.several(|c| core::ContainerPort {
                name: c.maybe(Self::text),
                container_port: c.number(),
                host_port: c.maybe(Self::number),
                host_ip: c.maybe(Self::text),
                protocol: c.maybe(Self::text),
            }),
            restart_policy: self.maybe(Self::text),
            resources: self.maybe(Self::resources),
            args: self.several(Self::text),
            ..Default::default()
        }
    }

    fn status(&mut self) -> core::PodStatus {
        core::PodStatus {
            phase: self.maybe(Self::text),
            reason: self.maybe(Self::text),
            message: self.maybe(Self::text),
            conditions: self.several(|c| core::PodCondition {
                type_: c.text(),
                status: c.text(),
                reason: c.maybe(Self::text),
                message: c.maybe(Self::text),
                last_probe_time: c.maybe(Self::time),
                last_transition_time: c.maybe(Self::time),
                observed_generation: c.maybe(|c| c.number().into()),
            }),
            pod_ip: self.maybe(Self::text),
            pod_ips: self.several(|c| core::PodIP { ip: c.text() }),
            host_ip: self.maybe(Self::text),
            host_ips: self.several(|c| core::HostIP { ip: c.text() }),
            nominated_node_name: self.maybe(Self::text),
            start_time: self.maybe(Self::time),
            qos_class: self.maybe(Self::text),
            container_statuses: self.several(Self::container_status),
            init_container_statuses: self.several(Self::container_status),
            ephemeral_container_statuses: self.several(Self::container_status),
            observed_generation: self.maybe(|c| c.number().into()),
            ..Default::default()
        }
    }

    fn container_status(&mut self) -> core::ContainerStatus {
        core::ContainerStatus {
            name: self.text(),
            ready: self.flag(),
            started: self.maybe(Self::flag),
            restart_count: self.number(),
            image: self.text(),
            image_id: self.text(),
            state: self.maybe(Self::container_state),
            last_state: self.maybe(Self::container_state),
            container_id: self.maybe(Self::text),
            resources: self.maybe(Self::resources),
            ..Default::default()
        }
    }

    /// Makes one state, none, or more than one, which no server sends.
    fn container_state(&mut self) -> core::ContainerState {
        core::ContainerState {
            running: self.maybe(|c| core::ContainerStateRunning { started_at: c.maybe(Self::time) }),
            waiting: self.maybe(|c| core::ContainerStateWaiting { reason: c.maybe(Self::text), message: c.maybe(Self::text) }),
            terminated: self.maybe(|c| core::ContainerStateTerminated {
                exit_code: c.number(),
                signal: c.maybe(Self::number),
                reason: c.maybe(Self::text),
                message: c.maybe(Self::text),
                started_at: c.maybe(Self::time),
                finished_at: c.maybe(Self::time),
                container_id: c.maybe(Self::text),
            }),
        }
    }

    /// Puts `null` in the place of some absent fields, and removes some that are `null` or empty.
    pub fn vary(&mut self, object: &mut Value, fields: &[Field]) {
        let Some(object) = object.as_object_mut() else { return };
        for Field { json, kind, .. } in fields {
            let said = object.get(*json).is_some_and(|v| !v.is_null() && *v != "" && *v != false && *v != Value::Array(vec![]));
            match (said, object.get_mut(*json), kind) {
                (true, Some(value), Kind::One(fields)) => self.vary(value, fields),
                (true, Some(Value::Array(values)), Kind::Many(fields)) => values.iter_mut().for_each(|v| self.vary(v, fields)),
                (true, ..) => {}
                // Only for `started`, absent differs from `false`.
                (false, Some(Value::Bool(_)), _) if *json == "started" => {}
                (false, ..) => match self.next() % 4 {
                    2 => drop(object.insert(json.to_string(), Value::Null)),
                    3 => drop(object.remove(*json)),
                    _ => {}
                },
            }
        }
    }
}
