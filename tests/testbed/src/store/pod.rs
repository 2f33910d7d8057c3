//! Pods in three equivalent encodings.

use super::encoding::{MAGIC, go_json};
use crate::recording::Recording;
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use prost::Message;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) type Labels = BTreeMap<String, String>;

/// One version of a pod: the fields that differ from the recorded pod that it is made from.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    template: Arc<Template>,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) labels: Labels,
    pub(super) phase: String,
}

/// A recorded pod, from which others are made.
#[derive(Clone, Debug)]
struct Template {
    /// The text before, between and after the name, the uid, the resource version, the labels and the phase. It is kept as
    /// text so that the members stay in the server's order.
    json: [String; 6],
    protobuf: core::Pod,
    cells: Vec<Value>,
}

/// Reads the seven recorded pods, in order.
pub(super) fn recorded() -> Vec<Pod> {
    let json = Recording::read("list-json").answer.body;
    let list: BTreeMap<&str, &RawValue> = serde_json::from_slice(&json).expect("a list");
    let items: Vec<&RawValue> = serde_json::from_str(list["items"].get()).expect("items");
    let protobuf = Recording::read("list-protobuf").answer.body;
    let unknown = Unknown::decode(protobuf.strip_prefix(MAGIC).expect("the magic number")).expect("an Unknown");
    let list = core::PodList::decode(&*unknown.raw.expect("a list")).expect("a list");
    let table: Value = serde_json::from_slice(&Recording::read("list-table").answer.body).expect("a table");
    let rows = table["rows"].as_array().expect("rows");
    items.iter().zip(list.items).zip(rows).map(|((json, protobuf), row)| from_recorded(json.get(), protobuf, row)).collect()
}

fn from_recorded(json: &str, protobuf: core::Pod, row: &Value) -> Pod {
    let value: Value = serde_json::from_str(json).expect("a pod");
    let metadata = &value["metadata"];
    let text = |value: &Value| value.as_str().expect("text").to_string();
    let labels: BTreeMap<String, &RawValue> = members(json, "metadata");
    let labels = labels["labels"].get();
    let (name, uid) = (text(&metadata["name"]), text(&metadata["uid"]));
    let (version, phase) = (text(&metadata["resourceVersion"]), text(&value["status"]["phase"]));
    assert_eq!(protobuf.metadata.as_ref().expect("metadata").name(), name, "both lists are in the same order");
    let mut rest = json;
    let mut before = |key: &str, found: &str| {
        let found = format!("\"{key}\":{found}");
        let (before, after) = rest.split_once(&found).expect("a member");
        rest = after;
        format!("{before}\"{key}\":")
    };
    let quoted = |text: &str| format!("\"{text}\"");
    let parts = [
        before("name", &quoted(&name)),
        before("uid", &quoted(&uid)),
        before("resourceVersion", &quoted(&version)),
        before("labels", labels),
        before("phase", &quoted(&phase)),
    ];
    let [a, b, c, d, e] = parts;
    let cells = row["cells"].as_array().expect("cells").clone();
    let template = Template { json: [a, b, c, d, e, rest.into()], protobuf, cells };
    let labels = serde_json::from_str(labels).expect("labels");
    Pod { template: Arc::new(template), name, uid, version: version.parse().expect("a number"), labels, phase }
}

impl Template {
    fn replace(&mut self, from: &str, to: &str) {
        for part in &mut self.json {
            *part = part.replace(from, to);
        }
    }
}

fn members<'a>(json: &'a str, name: &str) -> BTreeMap<String, &'a RawValue> {
    let all: BTreeMap<&str, &RawValue> = serde_json::from_str(json).expect("an object");
    serde_json::from_str(all[name].get()).expect("an object")
}

impl Pod {
    /// Sets the address of a pod that is made from the first recorded one, which is ready.
    pub(super) fn set_address(&mut self, ip: &str) {
        let mut template = Template::clone(&self.template);
        let status = template.protobuf.status.as_mut().expect("a status");
        let old = status.pod_ip.replace(ip.into()).expect("an address");
        for address in &mut status.pod_ips {
            address.ip = Some(ip.into());
        }
        template.replace(&format!("\"{old}\""), &format!("\"{ip}\""));
        self.template = template.into();
    }

    /// Sets whether the pod passes its readiness probe.
    pub(super) fn set_ready(&mut self, is_ready: bool) {
        let text = |is_ready: bool| if is_ready { "True" } else { "False" };
        let mut template = Template::clone(&self.template);
        for condition in &mut template.protobuf.status.as_mut().expect("a status").conditions {
            if condition.r#type() == "Ready" {
                condition.status = Some(text(is_ready).into());
            }
        }
        let json = |is_ready| format!(r#""type":"Ready","status":"{}""#, text(is_ready));
        template.replace(&json(!is_ready), &json(is_ready));
        self.template = template.into();
    }

    /// Encodes the pod as an item of a list, without kind and apiVersion.
    pub(super) fn json(&self) -> String {
        let [a, b, c, d, e, f] = &self.template.json;
        let (name, uid, version) = (go_json(&*self.name), go_json(&*self.uid), go_json(self.version.to_string()));
        let labels = go_json(serde_json::to_value(&self.labels).expect("labels"));
        [a, &name, b, &uid, c, &version, d, &labels, e, &go_json(&*self.phase), f].map(String::as_str).concat()
    }

    /// Encodes the pod as an object of its own, with kind and apiVersion.
    pub(super) fn json_object(&self) -> String {
        format!(r#"{{"kind":"Pod","apiVersion":"v1",{}"#, &self.json()[1..])
    }

    pub(super) fn json_metadata(&self) -> String {
        let json = self.json();
        let all: BTreeMap<&str, &RawValue> = serde_json::from_str(&json).expect("a pod");
        all["metadata"].get().to_string()
    }

    pub(super) fn protobuf(&self) -> core::Pod {
        let mut pod = self.template.protobuf.clone();
        let metadata = pod.metadata.as_mut().expect("metadata");
        metadata.name = Some(self.name.clone());
        metadata.uid = Some(self.uid.clone());
        metadata.resource_version = Some(self.version.to_string());
        metadata.labels = self.labels.clone();
        pod.status.as_mut().expect("a status").phase = Some(self.phase.clone());
        pod
    }

    /// Returns the pod's cells in a table.
    pub(super) fn cells(&self) -> Vec<Value> {
        let mut cells = self.template.cells.clone();
        cells[0] = self.name.clone().into();
        if self.template.protobuf.status.as_ref().expect("a status").phase() != self.phase {
            cells[2] = self.phase.clone().into();
        }
        cells
    }
}
