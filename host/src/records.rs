//! Writes pods and events as the JSON of the Kubernetes API.

use crate::types;
use incluster_core::calendar::SECONDS_OF_2000_YEARS;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// A pod as the API server's JSON: in camel case, with labels as a map and times in RFC 3339, and without fields that are absent or empty.
/// Other types that read this JSON can be built from it, such as `k8s_openapi`'s: `serde_json::from_value(serde_json::to_value(&pod)?)`.
impl Serialize for types::Pod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = pod(self);
        document.insert("apiVersion".into(), "v1".into());
        document.insert("kind".into(), "Pod".into());
        document.serialize(serializer)
    }
}

/// A list of pods as the API server's JSON: a `PodList`.
impl Serialize for types::PodList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metadata = object([
            ("resourceVersion", Some(json!(self.resource_version))),
            ("continue", value(&self.continue_token)),
            ("remainingItemCount", value(&self.remaining_item_count)),
        ]);
        let items: Vec<_> = self.items.iter().map(pod).collect();
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": items}).serialize(serializer)
    }
}

/// An event of a watch as the API server's JSON: its `type` and its `object`. `Synced` is a bookmark with the annotation for the end of the
/// initial events. `Ended`, and what later versions add, have no such form: they become `null`.
impl Serialize for types::PodEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bookmark = |version: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": version}});
        let (kind, object) = match self {
            types::PodEvent::Changed(change) => {
                let kind = match change.kind {
                    types::ChangeKind::Added => "ADDED",
                    types::ChangeKind::Modified => "MODIFIED",
                    types::ChangeKind::Deleted => "DELETED",
                };
                (kind, json!(change.pod))
            }
            types::PodEvent::Bookmark(version) => ("BOOKMARK", bookmark(version)),
            types::PodEvent::Synced(version) => {
                let mut object = bookmark(version);
                object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                ("BOOKMARK", object)
            }
            types::PodEvent::Ended | types::PodEvent::Other(_) => return serializer.serialize_unit(),
        };
        json!({"type": kind, "object": object}).serialize(serializer)
    }
}

type Object = Map<String, Value>;

/// An object of the fields that are present.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Object {
    fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect()
}

fn value(of: &Option<impl Serialize>) -> Option<Value> {
    of.as_ref().map(|value| json!(value))
}

fn time(seconds: &Option<i64>) -> Option<Value> {
    let (shifted, years) =
        if (*seconds)? < 0 { ((*seconds)?.checked_add(SECONDS_OF_2000_YEARS)?, 2000) } else { ((*seconds)?, 0) };
    let since_1970 = Duration::from_secs(u64::try_from(shifted).ok()?);
    // humantime writes years with four digits.
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_seconds(UNIX_EPOCH.checked_add(since_1970)?)).ok()?;
    let year: u32 = text.get(..4)?.parse().ok()?;
    Some(format!("{:04}{}", year.checked_sub(years)?, text.get(4..)?).into())
}

fn texts(of: &[String]) -> Option<Value> {
    list(of, Clone::clone)
}

fn resources(of: &types::ResourceRequirements) -> Option<Value> {
    let types::ResourceRequirements { limits, requests } = of;
    let resources = object([("limits", map(limits)), ("requests", map(requests))]);
    (!resources.is_empty()).then(|| resources.into())
}

fn map(pairs: &[(String, String)]) -> Option<Value> {
    let map: Object = pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    (!map.is_empty()).then(|| map.into())
}

/// A list, unless it is empty.
fn list<T, U: Into<Value>>(of: &[T], each: impl Fn(&T) -> U) -> Option<Value> {
    (!of.is_empty()).then(|| of.iter().map(|item| each(item).into()).collect::<Vec<Value>>().into())
}

fn yes(is: bool) -> Option<Value> {
    is.then(|| true.into())
}

fn text(of: &str) -> Option<Value> {
    (!of.is_empty()).then(|| of.into())
}

fn pod(pod: &types::Pod) -> Object {
    let types::Pod { metadata, spec, status } = pod;
    object([
        ("metadata", Some(meta(metadata).into())),
        ("spec", Some(specification(spec).into())),
        ("status", Some(state(status).into())),
    ])
}

fn meta(metadata: &types::ObjectMeta) -> Object {
    object([
        ("name", text(&metadata.name)),
        ("generateName", value(&metadata.generate_name)),
        ("namespace", text(&metadata.namespace)),
        ("uid", text(&metadata.uid)),
        ("resourceVersion", text(&metadata.resource_version)),
        ("generation", value(&metadata.generation)),
        ("creationTimestamp", time(&metadata.creation_timestamp)),
        ("deletionTimestamp", time(&metadata.deletion_timestamp)),
        ("deletionGracePeriodSeconds", value(&metadata.deletion_grace_period_seconds)),
        ("labels", map(&metadata.labels)),
        ("annotations", map(&metadata.annotations)),
        ("ownerReferences", list(&metadata.owner_references, owner)),
        ("finalizers", texts(&metadata.finalizers)),
    ])
}

fn owner(owner: &types::OwnerReference) -> Object {
    object([
        ("apiVersion", text(&owner.api_version)),
        ("kind", text(&owner.kind)),
        ("name", text(&owner.name)),
        ("uid", text(&owner.uid)),
        ("controller", yes(owner.controller)),
        ("blockOwnerDeletion", yes(owner.block_owner_deletion)),
    ])
}

fn specification(spec: &types::PodSpec) -> Object {
    object([
        ("nodeName", value(&spec.node_name)),
        ("serviceAccountName", value(&spec.service_account_name)),
        ("hostNetwork", yes(spec.host_network)),
        ("priorityClassName", value(&spec.priority_class_name)),
        ("priority", value(&spec.priority)),
        ("restartPolicy", value(&spec.restart_policy)),
        ("terminationGracePeriodSeconds", value(&spec.termination_grace_period_seconds)),
        ("hostname", value(&spec.hostname)),
        ("subdomain", value(&spec.subdomain)),
        ("schedulingGates", list(&spec.scheduling_gates, |gate| json!({"name": gate}))),
        ("resources", resources(&spec.resources)),
        ("containers", Some(list(&spec.containers, container).unwrap_or_else(|| json!([])))),
        ("initContainers", list(&spec.init_containers, container)),
        ("ephemeralContainers", list(&spec.ephemeral_containers, container)),
        ("readinessGates", list(&spec.readiness_gates, |gate| json!({"conditionType": gate}))),
        ("nodeSelector", map(&spec.node_selector)),
    ])
}

fn container(container: &types::Container) -> Object {
    object([
        ("name", text(&container.name)),
        ("image", value(&container.image)),
        ("ports", list(&container.ports, port)),
        ("restartPolicy", value(&container.restart_policy)),
        ("resources", resources(&container.resources)),
    ])
}

fn port(port: &types::ContainerPort) -> Object {
    object([
        ("name", value(&port.name)),
        ("containerPort", Some(port.container_port.into())),
        ("hostPort", value(&port.host_port)),
        ("hostIP", value(&port.host_ip)),
        ("protocol", text(&port.protocol)),
    ])
}

fn state(status: &types::PodStatus) -> Object {
    let ip = |ip: &String| json!({"ip": ip});
    object([
        ("phase", value(&status.phase)),
        ("reason", value(&status.reason)),
        ("message", value(&status.message)),
        ("conditions", list(&status.conditions, condition)),
        ("podIP", value(&status.pod_ips.first())),
        ("podIPs", list(&status.pod_ips, ip)),
        ("hostIP", value(&status.host_ips.first())),
        ("hostIPs", list(&status.host_ips, ip)),
        ("nominatedNodeName", value(&status.nominated_node_name)),
        ("startTime", time(&status.start_time)),
        ("qosClass", value(&status.qos_class)),
        ("containerStatuses", list(&status.container_statuses, container_status)),
        ("initContainerStatuses", list(&status.init_container_statuses, container_status)),
        ("ephemeralContainerStatuses", list(&status.ephemeral_container_statuses, container_status)),
        ("observedGeneration", value(&status.observed_generation)),
    ])
}

fn condition(condition: &types::PodCondition) -> Object {
    object([
        ("type", text(&condition.condition_type)),
        ("status", text(&condition.status)),
        ("reason", value(&condition.reason)),
        ("message", value(&condition.message)),
        ("lastProbeTime", time(&condition.last_probe_time)),
        ("lastTransitionTime", time(&condition.last_transition_time)),
        ("observedGeneration", value(&condition.observed_generation)),
    ])
}

fn container_status(status: &types::ContainerStatus) -> Object {
    object([
        ("name", text(&status.name)),
        ("ready", Some(status.ready.into())),
        ("started", value(&status.started)),
        ("restartCount", Some(status.restart_count.into())),
        ("image", Some(status.image.clone().unwrap_or_default().into())),
        ("imageID", Some(status.image_id.clone().unwrap_or_default().into())),
        ("containerID", value(&status.container_id)),
        ("resources", resources(&status.resources)),
        ("state", status.state.as_ref().map(|state| container_state(state).into())),
        ("lastState", status.last_state.as_ref().map(|state| container_state(state).into())),
    ])
}

fn container_state(state: &types::ContainerState) -> Object {
    match state {
        types::ContainerState::Waiting(waiting) => {
            object([("waiting", Some(object([("reason", value(&waiting.reason)), ("message", value(&waiting.message))]).into()))])
        }
        types::ContainerState::Running(running) => {
            object([("running", Some(object([("startedAt", time(&running.started_at))]).into()))])
        }
        types::ContainerState::Terminated(terminated) => object([(
            "terminated",
            Some(
                object([
                    ("exitCode", Some(terminated.exit_code.into())),
                    ("signal", value(&terminated.signal)),
                    ("reason", value(&terminated.reason)),
                    ("message", value(&terminated.message)),
                    ("startedAt", time(&terminated.started_at)),
                    ("finishedAt", time(&terminated.finished_at)),
                    ("containerID", value(&terminated.container_id)),
                ])
                .into(),
            ),
        )]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_written_too() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (-2_203_891_200, "1900-03-01T00:00:00Z"),
            (-62_135_596_799, "0001-01-01T00:00:01Z"),
            (1_700_000_001, "2023-11-14T22:13:21Z"),
        ] {
            assert_eq!(time(&Some(seconds)), Some(text.into()));
        }
        assert_eq!((time(&None), time(&Some(i64::MIN))), (None, None));
    }
}
