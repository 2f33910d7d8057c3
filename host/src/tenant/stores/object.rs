//! What stores hold: pods, as records, and all other objects, as JSON.

use super::super::Tenant;
use super::super::sessions::{JsonWatch, PodWatch};
use super::table::Event;
use crate::error::Error;
use crate::types::{JsonEvent, Pod, PodEvent, WatchOptions};
use incluster_core::text;
use serde::Deserialize;
use std::io;

/// An object that stores hold, and how to watch such objects. Other crates cannot name or implement this trait.
pub trait Object: PartialEq + Send + Sync + Sized + 'static {
    /// The name of this kind of object, which distinguishes its stores from those of other kinds.
    const KIND: &str;
    /// The watch that sends such objects.
    type Watch: Send + 'static;

    /// The object's place in its collection.
    fn key(&self) -> Key<'_>;
    /// `metadata.uid`: an object that was deleted and created again has another one.
    fn uid(&self) -> &str;
    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> &str;
    /// The size of the object's JSON text, in bytes.
    fn bytes(&self) -> usize;
    /// Begins to watch a place: a namespace, or a path.
    fn watch(tenant: &Tenant, place: &str, options: &WatchOptions) -> impl Future<Output = Result<Self::Watch, Error>> + Send;
    /// Waits for what the watch sends next.
    fn next(watch: &mut Self::Watch) -> impl Future<Output = Result<Next<Self>, Error>> + Send;
}

/// The place of an object in a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// What a watch sends.
pub enum Next<T> {
    /// An event of the collection.
    Event(Event<T>),
    /// An event that this version does not know.
    Other,
    /// An object that cannot be read, for this reason.
    Unreadable(String),
    /// The end of the watch.
    Ended,
}

/// An object of a [`JsonStore`](crate::JsonStore).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonObject {
    /// `metadata.namespace`; empty where the object has none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty where the server sends none. An object that was deleted and created again has another one.
    pub uid: String,
    /// `metadata.resourceVersion`; empty where the server sends none.
    pub resource_version: String,
    /// The JSON text, as the API server sent it.
    pub json: Vec<u8>,
}

impl Object for Pod {
    const KIND: &str = "pods";
    type Watch = PodWatch;

    fn key(&self) -> Key<'_> {
        Key { namespace: &self.metadata.namespace, name: &self.metadata.name }
    }

    fn uid(&self) -> &str {
        &self.metadata.uid
    }

    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn bytes(&self) -> usize {
        let mut counted = Counted(0);
        // Writing to `counted` cannot fail, and a pod can always be written as JSON.
        let _ = serde_json::to_writer(&mut counted, self);
        counted.0
    }

    async fn watch(tenant: &Tenant, namespace: &str, options: &WatchOptions) -> Result<PodWatch, Error> {
        tenant.watch_namespaced_pods(namespace, options).await
    }

    async fn next(watch: &mut PodWatch) -> Result<Next<Pod>, Error> {
        Ok(match watch.next().await? {
            Some(PodEvent::Changed(change)) => Next::Event(Event::Changed(change.kind, change.pod)),
            Some(PodEvent::Synced(version)) => Next::Event(Event::Synced(version)),
            Some(PodEvent::Bookmark(version)) => Next::Event(Event::Bookmark(version)),
            Some(PodEvent::Other(_)) => Next::Other,
            Some(PodEvent::Ended) | None => Next::Ended,
        })
    }
}

impl Object for JsonObject {
    const KIND: &str = "json";
    type Watch = JsonWatch;

    fn key(&self) -> Key<'_> {
        Key { namespace: &self.namespace, name: &self.name }
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }

    fn bytes(&self) -> usize {
        self.json.len()
    }

    async fn watch(tenant: &Tenant, path: &str, options: &WatchOptions) -> Result<JsonWatch, Error> {
        tenant.watch_json(path, options).await
    }

    async fn next(watch: &mut JsonWatch) -> Result<Next<JsonObject>, Error> {
        Ok(match watch.next().await? {
            Some(JsonEvent::Changed(change)) => match JsonObject::read(change.object) {
                Ok(object) => Next::Event(Event::Changed(change.kind, object)),
                Err(error) => Next::Unreadable(text::error(&error)),
            },
            Some(JsonEvent::Synced(version)) => Next::Event(Event::Synced(version)),
            Some(JsonEvent::Bookmark(version)) => Next::Event(Event::Bookmark(version)),
            Some(JsonEvent::Other(_)) => Next::Other,
            Some(JsonEvent::Ended) | None => Next::Ended,
        })
    }
}

/// Counts the bytes that are written.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl JsonObject {
    fn read(json: Vec<u8>) -> Result<JsonObject, serde_json::Error> {
        #[derive(Deserialize)]
        struct Named {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            namespace: Option<String>,
            name: String,
            uid: Option<String>,
            resource_version: Option<String>,
        }
        let Named { metadata } = serde_json::from_slice(&json)?;
        Ok(JsonObject {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name,
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            json,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::{ObjectMeta, PodSpec, PodStatus, ResourceRequirements};

    /// A pod of the namespace `shop` whose uid is its name, with all other fields absent or empty.
    pub(in super::super) fn pod(name: &str) -> Pod {
        let metadata = ObjectMeta {
            name: name.into(),
            generate_name: None,
            namespace: "shop".into(),
            uid: name.into(),
            resource_version: "1".into(),
            generation: None,
            creation_timestamp: None,
            deletion_timestamp: None,
            deletion_grace_period_seconds: None,
            labels: vec![],
            annotations: vec![],
            owner_references: vec![],
            finalizers: vec![],
        };
        let spec = PodSpec {
            node_name: None,
            service_account_name: None,
            host_network: false,
            priority_class_name: None,
            priority: None,
            restart_policy: None,
            termination_grace_period_seconds: None,
            hostname: None,
            subdomain: None,
            scheduling_gates: vec![],
            resources: ResourceRequirements { limits: vec![], requests: vec![] },
            containers: vec![],
            init_containers: vec![],
            ephemeral_containers: vec![],
            readiness_gates: vec![],
            node_selector: vec![],
        };
        let status = PodStatus {
            phase: None,
            reason: None,
            message: None,
            conditions: vec![],
            pod_ips: vec![],
            host_ips: vec![],
            nominated_node_name: None,
            start_time: None,
            qos_class: None,
            container_statuses: vec![],
            init_container_statuses: vec![],
            ephemeral_container_statuses: vec![],
            observed_generation: None,
        };
        Pod { metadata, spec, status }
    }

    #[test]
    fn what_json_says_of_itself_is_read() {
        let json = br#"{"kind": "Service", "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "x": [1]}}"#;
        let object = JsonObject::read(json.to_vec()).unwrap();
        assert_eq!((&*object.namespace, &*object.name, object.uid(), object.resource_version()), ("shop", "web", "u", "7"));
        assert_eq!(object.json, json);
        let node = JsonObject::read(br#"{"metadata": {"name": "node-1", "namespace": null}}"#.to_vec()).unwrap();
        assert_eq!((node.key(), node.uid()), (Key { namespace: "", name: "node-1" }, ""));
        for unreadable in [&b"{}"[..], b"[]", br#"{"metadata": {"name": 7}}"#, b""] {
            assert!(JsonObject::read(unreadable.to_vec()).is_err());
        }
    }
}
