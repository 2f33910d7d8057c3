//! Which pods a Service would send traffic to.

use super::table::Snapshot;
use crate::types::Pod;
use std::sync::Arc;

impl Snapshot<Pod> {
    /// The pods that a Service with these selectors would send traffic to: those that are ready and are not being deleted; if there are
    /// none, those that are being deleted but are still ready.
    ///
    /// This follows Kubernetes's EndpointSlice controller and kube-proxy (`conditions.ready`, `serving` and `terminating` of an endpoint):
    /// a pod has an address, its `phase` is neither `Succeeded` nor `Failed`, and its condition `Ready` is `True`. The kubelet has already
    /// taken `spec.readinessGates` into account in that condition.
    pub fn ready(&self) -> Vec<Arc<Pod>> {
        let serving = || self.objects.iter().filter(|pod| is_serving(pod));
        let ready: Vec<_> = serving().filter(|pod| !is_terminating(pod)).cloned().collect();
        if ready.is_empty() { serving().cloned().collect() } else { ready }
    }
}

/// Whether a pod is an endpoint that is `serving`, by the rules of the EndpointSlice controller.
fn is_serving(pod: &Pod) -> bool {
    // A kubelet that shuts down leaves behind failed pods whose condition is still Ready.
    let has_ended = matches!(pod.status.phase.as_deref(), Some("Failed" | "Succeeded"));
    let is_ready = pod.status.conditions.iter().any(|c| c.condition_type == "Ready" && c.status == "True");
    is_ready && !has_ended && !pod.status.pod_ips.is_empty()
}

/// Whether the pod is being deleted.
fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PodCondition;

    fn pod(name: &str) -> Pod {
        let mut pod = super::super::object::tests::pod(name);
        pod.status.phase = Some("Running".into());
        pod.status.pod_ips = vec!["10.0.0.1".into()];
        pod.metadata.deletion_timestamp = None;
        set(&mut pod, "Ready", "True");
        pod
    }

    fn set(pod: &mut Pod, condition_type: &str, status: &str) {
        pod.status.conditions.retain(|condition| condition.condition_type != condition_type);
        pod.status.conditions.push(PodCondition {
            condition_type: condition_type.into(),
            status: status.into(),
            reason: None,
            message: None,
            last_probe_time: None,
            last_transition_time: None,
            observed_generation: None,
        });
    }

    fn ready(pods: Vec<Pod>) -> Vec<String> {
        let objects = pods.into_iter().map(Arc::new).collect();
        let snapshot = Snapshot { generation: 1, resource_version: "1".into(), objects };
        snapshot.ready().iter().map(|pod| pod.metadata.name.clone()).collect()
    }

    #[test]
    fn a_pod_is_ready_while_its_condition_is_true() {
        assert_eq!(ready(vec![pod("a")]), ["a"]);
        for status in ["False", "Unknown", ""] {
            let mut pod = pod("a");
            set(&mut pod, "Ready", status);
            assert!(ready(vec![pod]).is_empty(), "{status}");
        }
        let mut without = pod("a");
        without.status.conditions.clear();
        assert!(ready(vec![without]).is_empty());
    }

    #[test]
    fn a_readiness_gate_counts_by_the_condition_that_the_kubelet_makes_of_it() {
        let mut gated = pod("a");
        gated.spec.readiness_gates = vec!["example.com/registered".into()];
        set(&mut gated, "ContainersReady", "True");
        set(&mut gated, "Ready", "False");
        assert!(ready(vec![gated.clone()]).is_empty(), "its containers are ready, and it is not");
        set(&mut gated, "example.com/registered", "True");
        set(&mut gated, "Ready", "True");
        assert_eq!(ready(vec![gated]), ["a"]);
    }

    #[test]
    fn a_pod_that_has_ended_is_not_ready_whatever_its_condition_says() {
        for (phase, is_ready) in [
            (Some("Running"), true),
            (Some("Pending"), true),
            (Some("Unknown"), true),
            (None, true),
            (Some("Failed"), false),
            (Some("Succeeded"), false),
        ] {
            let mut pod = pod("a");
            pod.status.phase = phase.map(Into::into);
            assert_eq!(ready(vec![pod]).len(), usize::from(is_ready), "{phase:?}");
        }
    }

    #[test]
    fn a_pod_without_an_address_is_not_ready() {
        let mut pod = pod("a");
        pod.status.pod_ips.clear();
        assert!(ready(vec![pod]).is_empty());
    }

    #[test]
    fn a_pod_that_is_being_deleted_serves_where_no_other_does() {
        let mut leaving = pod("leaving");
        leaving.metadata.deletion_timestamp = Some(1_700_000_000);
        assert_eq!(ready(vec![leaving.clone(), pod("a")]), ["a"]);
        assert_eq!(ready(vec![leaving.clone()]), ["leaving"]);
        set(&mut leaving, "Ready", "False");
        assert!(ready(vec![leaving]).is_empty());
    }
}
