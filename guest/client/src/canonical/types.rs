//! The contract's types: their fields and cases, in the contract's order.

use super::{Laid, Lower, align_to, largest, size_of_fields};
use crate::types::*;

/// Implements the layout of records, from their fields in the contract's order.
macro_rules! records {
    ($($record:ident { $($field:ident: $kind:ty,)* })*) => {$(
        // SAFETY: this is the canonical ABI's layout.
        unsafe impl Laid for $record {
            const SIZE: usize = align_to(size_of_fields(&[$((<$kind as Laid>::SIZE, <$kind as Laid>::ALIGN)),*]), Self::ALIGN);
            const ALIGN: usize = largest(&[$(<$kind as Laid>::ALIGN),*]);
        }

        // SAFETY: each field begins at a multiple of its alignment, after the one before it.
        unsafe impl Lower for $record {
            #[inline(never)]
            unsafe fn lower(self, at: *mut u8) {
                let $record { $($field),* } = self;
                let mut place = 0;
                $(
                    place = align_to(place, <$kind as Laid>::ALIGN);
                    // SAFETY: the caller keeps the contract of `lower`.
                    unsafe { <$kind as Lower>::lower($field, at.add(place)) };
                    place += <$kind as Laid>::SIZE;
                )*
                let _ = place;
            }

            #[inline(never)]
            unsafe fn free(at: *mut u8) {
                let mut place = 0;
                $(
                    place = align_to(place, <$kind as Laid>::ALIGN);
                    // SAFETY: the caller keeps the contract of `free`.
                    unsafe { <$kind as Lower>::free(at.add(place)) };
                    place += <$kind as Laid>::SIZE;
                )*
                let _ = place;
            }
        }
    )*};
}

records! {
    Pod { metadata: ObjectMeta, spec: PodSpec, status: PodStatus, }
    ObjectMeta {
        name: String,
        generate_name: Option<String>,
        namespace: String,
        uid: String,
        resource_version: String,
        generation: Option<i64>,
        creation_timestamp: Option<i64>,
        deletion_timestamp: Option<i64>,
        deletion_grace_period_seconds: Option<i64>,
        labels: Vec<(String, String)>,
        annotations: Vec<(String, String)>,
        owner_references: Vec<OwnerReference>,
        finalizers: Vec<String>,
    }
    OwnerReference {
        api_version: String,
        kind: String,
        name: String,
        uid: String,
        controller: bool,
        block_owner_deletion: bool,
    }
    PodSpec {
        node_name: Option<String>,
        service_account_name: Option<String>,
        host_network: bool,
        priority_class_name: Option<String>,
        priority: Option<i32>,
        restart_policy: Option<String>,
        termination_grace_period_seconds: Option<i64>,
        hostname: Option<String>,
        subdomain: Option<String>,
        scheduling_gates: Vec<String>,
        resources: ResourceRequirements,
        containers: Vec<Container>,
        init_containers: Vec<Container>,
        ephemeral_containers: Vec<Container>,
        readiness_gates: Vec<String>,
        node_selector: Vec<(String, String)>,
    }
    Container {
        name: String,
        image: Option<String>,
        ports: Vec<ContainerPort>,
        restart_policy: Option<String>,
        resources: ResourceRequirements,
    }
    ResourceRequirements { limits: Vec<(String, String)>, requests: Vec<(String, String)>, }
    ContainerPort {
        name: Option<String>,
        container_port: u16,
        host_port: Option<u16>,
        host_ip: Option<String>,
        protocol: String,
    }
    PodStatus {
        phase: Option<String>,
        reason: Option<String>,
        message: Option<String>,
        conditions: Vec<PodCondition>,
        pod_ips: Vec<String>,
        host_ips: Vec<String>,
        nominated_node_name: Option<String>,
        start_time: Option<i64>,
        qos_class: Option<String>,
        container_statuses: Vec<ContainerStatus>,
        init_container_statuses: Vec<ContainerStatus>,
        ephemeral_container_statuses: Vec<ContainerStatus>,
        observed_generation: Option<i64>,
    }
    PodCondition {
        condition_type: String,
        status: String,
        reason: Option<String>,
        message: Option<String>,
        last_probe_time: Option<i64>,
        last_transition_time: Option<i64>,
        observed_generation: Option<i64>,
    }
    ContainerStatus {
        name: String,
        ready: bool,
        started: Option<bool>,
        restart_count: u32,
        image: Option<String>,
        image_id: Option<String>,
        container_id: Option<String>,
        resources: ResourceRequirements,
        state: Option<ContainerState>,
        last_state: Option<ContainerState>,
    }
    ContainerStateWaiting { reason: Option<String>, message: Option<String>, }
    ContainerStateRunning { started_at: Option<i64>, }
    ContainerStateTerminated {
        exit_code: i32,
        signal: Option<i32>,
        reason: Option<String>,
        message: Option<String>,
        started_at: Option<i64>,
        finished_at: Option<i64>,
        container_id: Option<String>,
    }
    PodList {
        items: Vec<Pod>,
        resource_version: String,
        continue_token: Option<String>,
        remaining_item_count: Option<u64>,
    }
    PodPage {
        items: Vec<Pod>,
        resource_version: String,
        remaining_item_count: Option<u64>,
        inconsistent: bool,
        restarted: bool,
    }
    JsonPage {
        api_version: String,
        kind: String,
        items: Vec<Vec<u8>>,
        resource_version: String,
        remaining_item_count: Option<u64>,
        inconsistent: bool,
        restarted: bool,
    }
    PodChange { kind: ChangeKind, pod: Pod, }
    JsonChange { kind: ChangeKind, object: Vec<u8>, }
    Failure { error: Error, attempts: u32, elapsed: u32, }
    Expired { message: String, continue_token: Option<String>, }
    Status {
        code: u16,
        reason: Option<String>,
        message: String,
        details: Option<StatusDetails>,
        retry_after_seconds: Option<u32>,
    }
    StatusDetails {
        name: Option<String>,
        group: Option<String>,
        kind: Option<String>,
        uid: Option<String>,
        causes: Vec<StatusCause>,
    }
    StatusCause { reason: Option<String>, message: Option<String>, field: Option<String>, }
    UnreadableFile { path: String, reason: String, }
}

/// Names the payload in a pattern.
macro_rules! named {
    ($name:ident $kind:ty) => {
        $name
    };
}

/// Implements the layout of variants, from the numbers and payloads of their cases in the contract's order.
macro_rules! variants {
    ($($variant:ident { $($number:literal $case:ident $(($kind:ty))?,)* })*) => {$(
        // SAFETY: this is the canonical ABI's layout.
        unsafe impl Laid for $variant {
            const SIZE: usize = align_to(Self::ALIGN + largest(&[0 $($(, <$kind as Laid>::SIZE)?)*]), Self::ALIGN);
            const ALIGN: usize = largest(&[1 $($(, <$kind as Laid>::ALIGN)?)*]);
        }

        // SAFETY: the payload begins at a multiple of its alignment, and ends before `SIZE`.
        unsafe impl Lower for $variant {
            #[inline(never)]
            unsafe fn lower(self, at: *mut u8) {
                // SAFETY: the caller keeps the contract of `lower`.
                unsafe {
                    match self {
                        $($variant::$case $((named!(payload $kind)))? => {
                            at.write($number);
                            $(<$kind as Lower>::lower(payload, at.add(Self::ALIGN));)?
                        })*
                    }
                }
            }

            #[inline(never)]
            unsafe fn free(at: *mut u8) {
                // SAFETY: `lower` has written the payload of the case that the first byte names.
                unsafe {
                    match at.read() {
                        $($($number => <$kind as Lower>::free(at.add(Self::ALIGN)),)?)*
                        _ => {}
                    }
                }
            }
        }
    )*};
}

variants! {
    ContainerState {
        0 Waiting(ContainerStateWaiting),
        1 Running(ContainerStateRunning),
        2 Terminated(ContainerStateTerminated),
    }
    PodEvent {
        0 Changed(PodChange),
        1 Synced(String),
        2 Bookmark(String),
        3 Ended,
        4 Other(String),
    }
    JsonEvent {
        0 Changed(JsonChange),
        1 Synced(String),
        2 Bookmark(String),
        3 Ended,
        4 Other(String),
    }
    ChangeKind {
        0 Added,
        1 Modified,
        2 Deleted,
    }
    Error {
        0 Api(Status),
        1 Expired(Expired),
        2 Config(ConfigError),
        3 Transport(TransportError),
        4 Denied(String),
        5 InvalidArgument(String),
        6 MalformedResponse(String),
        7 LimitExceeded(String),
        8 Other(String),
    }
    ConfigError {
        0 EnvironmentMissing(String),
        1 EnvironmentEmpty(String),
        2 InvalidHost(String),
        3 InvalidPort(String),
        4 FileMissing(String),
        5 FileEmpty(String),
        6 FileUnreadable(UnreadableFile),
        7 FileNotText(String),
        8 FileTooLarge(String),
        9 InvalidToken(String),
        10 NoCertificate(String),
        11 InvalidNamespace(String),
        12 TokenExpired(UnreadableFile),
        13 Other(String),
    }
    TransportError {
        0 NameNotResolved(String),
        1 ConnectionRefused(String),
        2 Unreachable(String),
        3 Timeout(String),
        4 ConnectionLost(String),
        5 Certificate(String),
        6 Tls(String),
        7 HttpProtocol(String),
        8 Redirected(String),
        9 Other(String),
    }
}
