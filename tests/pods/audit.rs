//! Reads the API server's audit log.

use crate::variable;
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// A request for pods.
#[derive(Debug)]
pub struct Request {
    /// When the request arrived, in seconds.
    pub at: f64,
    /// The user who sent the request.
    pub user: String,
    /// The UID of the pod that the token is bound to.
    pub pod: Option<String>,
    /// The ID of the token that the request was sent with.
    pub token: Option<String>,
}

/// Returns the requests for pods of this namespace in order. A watch is in the log from its beginning.
pub fn requests(namespace: &str) -> Vec<Request> {
    let path = format!("{}/audit.log", variable("CLUSTER_DIR"));
    let log = fs::read_to_string(path).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_namespace = |event: &Value| {
        event["objectRef"]["namespace"] == namespace && event["objectRef"]["resource"] == "pods" && event["stage"] != "Panic"
    };
    let mut seen = std::collections::BTreeSet::new();
    let first = events.filter(of_namespace).filter(|event| seen.insert(event["auditID"].to_string()));
    let mut requests: Vec<Request> = first.map(|event| request(&event)).collect();
    requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    requests
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().map(String::from);
    let extra = |name: &str| text(&event["user"]["extra"][format!("authentication.kubernetes.io/{name}")][0]);
    let at = humantime::parse_rfc3339(event["requestReceivedTimestamp"].as_str().unwrap()).unwrap();
    Request {
        at: at.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64(),
        user: text(&event["user"]["username"]).unwrap_or_default(),
        pod: extra("pod-uid"),
        token: extra("credential-id"),
    }
}
