//! A pod's record, from the fields of either encoding.

use super::schema;
use crate::types::*;

/// Fails only where a number has no place in the record, which names the field.
pub fn record(pod: schema::Pod) -> Result<Pod, String> {
    Ok(Pod {
        metadata: metadata(pod.metadata.unwrap_or_default()),
        spec: spec(pod.spec.unwrap_or_default())?,
        status: status(pod.status.unwrap_or_default())?,
    })
}

fn metadata(meta: schema::ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.unwrap_or_default(),
        generate_name: present(meta.generate_name),
        namespace: meta.namespace.unwrap_or_default(),
        uid: meta.uid.unwrap_or_default(),
        resource_version: meta.resource_version.unwrap_or_default(),
        // The API's generations begin at 1; 0 is Go's way to say none in protobuf.
        generation: meta.generation.filter(|g| *g != 0),
        creation_timestamp: seconds(meta.creation_timestamp),
        deletion_timestamp: seconds(meta.deletion_timestamp),
        labels: meta.labels.into_iter().collect(),
        annotations: meta.annotations.into_iter().collect(),
        owner_references: meta.owner_references.into_iter().map(owner_reference).collect(),
    }
}

fn owner_reference(owner: schema::OwnerReference) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.unwrap_or_default(),
        kind: owner.kind.unwrap_or_default(),
        name: owner.name.unwrap_or_default(),
        uid: owner.uid.unwrap_or_default(),
        controller: owner.controller.unwrap_or_default(),
        block_owner_deletion: owner.block_owner_deletion.unwrap_or_default(),
    }
}

fn spec(spec: schema::PodSpec) -> Result<PodSpec, String> {
    Ok(PodSpec {
        node_name: present(spec.node_name),
        service_account_name: present(spec.service_account_name),
        host_network: spec.host_network.unwrap_or_default(),
        priority_class_name: present(spec.priority_class_name),
        containers: spec.containers.into_iter().map(container).collect::<Result<_, _>>()?,
        init_containers: spec.init_containers.into_iter().map(container).collect::<Result<_, _>>()?,
        readiness_gates: spec.readiness_gates.into_iter().filter_map(|gate| present(gate.condition_type)).collect(),
        node_selector: spec.node_selector.into_iter().collect(),
    })
}

fn container(container: schema::Container) -> Result<Container, String> {
    Ok(Container {
        name: container.name.unwrap_or_default(),
        image: present(container.image),
        ports: container.ports.into_iter().map(container_port).collect::<Result<_, _>>()?,
        restart_policy: present(container.restart_policy),
    })
}

fn container_port(port: schema::ContainerPort) -> Result<ContainerPort, String> {
    let number = |field: &str, n: i32| match u16::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => Err(format!("{field} {n} is not a port")),
    };
    Ok(ContainerPort {
        name: present(port.name),
        container_port: number("containerPort", port.container_port.unwrap_or_default())?,
        host_port: port.host_port.filter(|n| *n != 0).map(|n| number("hostPort", n)).transpose()?,
        host_ip: present(port.host_ip),
        protocol: present(port.protocol).unwrap_or_else(|| "TCP".into()),
    })
}

fn status(status: schema::PodStatus) -> Result<PodStatus, String> {
    let statuses = |list: Vec<schema::ContainerStatus>| list.into_iter().map(container_status).collect::<Result<_, _>>();
    Ok(PodStatus {
        phase: present(status.phase),
        reason: present(status.reason),
        message: present(status.message),
        conditions: status.conditions.into_iter().map(condition).collect(),
        pod_ips: addresses(status.pod_ips, status.pod_ip),
        host_ips: addresses(status.host_ips, status.host_ip),
        nominated_node_name: present(status.nominated_node_name),
        start_time: seconds(status.start_time),
        qos_class: present(status.qos_class),
        container_statuses: statuses(status.container_statuses)?,
        init_container_statuses: statuses(status.init_container_statuses)?,
    })
}

fn addresses(all: Vec<schema::Ip>, main: Option<String>) -> Vec<String> {
    let all: Vec<_> = all.into_iter().filter_map(|ip| present(ip.ip)).collect();
    if all.is_empty() { present(main).into_iter().collect() } else { all }
}

fn condition(condition: schema::PodCondition) -> PodCondition {
    PodCondition {
        condition_type: condition.r#type.unwrap_or_default(),
        status: condition.status.unwrap_or_default(),
        reason: present(condition.reason),
        message: present(condition.message),
        last_probe_time: seconds(condition.last_probe_time),
        last_transition_time: seconds(condition.last_transition_time),
    }
}

fn container_status(status: schema::ContainerStatus) -> Result<ContainerStatus, String> {
    let restarts = status.restart_count.unwrap_or_default();
    Ok(ContainerStatus {
        name: status.name.unwrap_or_default(),
        ready: status.ready.unwrap_or_default(),
        started: status.started,
        restart_count: u32::try_from(restarts).map_err(|_| format!("restartCount {restarts} is negative"))?,
        image: present(status.image),
        image_id: present(status.image_id),
        state: status.state.and_then(container_state),
        last_state: status.last_state.and_then(container_state),
    })
}

fn container_state(state: schema::ContainerState) -> Option<ContainerState> {
    let schema::ContainerState { waiting, running, terminated } = state;
    let waiting = waiting
        .map(|w| ContainerState::Waiting(ContainerStateWaiting { reason: present(w.reason), message: present(w.message) }));
    let running = running.map(|r| ContainerState::Running(ContainerStateRunning { started_at: seconds(r.started_at) }));
    let terminated = terminated.map(|t| {
        ContainerState::Terminated(ContainerStateTerminated {
            exit_code: t.exit_code.unwrap_or_default(),
            signal: t.signal.filter(|s| *s != 0),
            reason: present(t.reason),
            message: present(t.message),
            started_at: seconds(t.started_at),
            finished_at: seconds(t.finished_at),
        })
    });
    waiting.or(running).or(terminated)
}

fn seconds(time: Option<schema::Time>) -> Option<i64> {
    time.and_then(|t| t.seconds).filter(|seconds| *seconds >= 0)
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}
