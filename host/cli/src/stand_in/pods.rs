//! The pods of a file, as an API server has them: their state, and the changes that led to it. There is no I/O here.

use super::selector::Selector;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A pod's namespace and name.
type Key = (String, String);

/// The annotation of the bookmark after the objects that a watch begins with.
const END_OF_INITIAL_EVENTS: &str = "k8s.io/initial-events-end";

/// The current pods, and what has changed since the file was first read.
#[derive(Debug, Default)]
pub struct Pods {
    version: u64,
    pods: BTreeMap<Key, Value>,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    version: u64,
    before: Option<Value>,
    now: Option<Value>,
}

/// What a list or a watch asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The namespace; `None` for all namespaces.
    pub namespace: Option<String>,
    pub selector: Selector,
    pub limit: usize,
    pub continue_token: String,
    pub resource_version: String,
    pub sends_initial_events: bool,
}

/// A failure in the API server's form: its code, reason and message.
#[derive(Debug, PartialEq)]
pub struct Failure(pub u16, pub &'static str, pub String);

/// The state of a watch.
#[derive(Debug)]
pub struct Watching {
    asked: Asked,
    /// The version up to which the watch has sent events; `None` before the objects that it begins with.
    version: Option<u64>,
}

/// The pods of a document: a list, as `kubectl get pods -o json` or `-o yaml` prints it, or one pod.
pub fn of_document(document: Value) -> Result<BTreeMap<(String, String), Value>, String> {
    let items = match document {
        Value::Object(mut document) => match document.remove("items") {
            Some(Value::Array(items)) => items,
            Some(_) => return Err("its `items` are not a list".into()),
            None => vec![document.into()],
        },
        _ => return Err("it is neither a list of pods, as `kubectl get pods -o json` prints it, nor a pod".into()),
    };
    let mut pods = BTreeMap::new();
    for (place, mut pod) in items.into_iter().enumerate() {
        let metadata = &pod["metadata"];
        let Some(name) = metadata["name"].as_str().map(String::from) else {
            return Err(format!("pod {place} has no metadata.name"));
        };
        if pod["kind"].as_str().is_some_and(|kind| kind != "Pod") {
            return Err(format!("{name} is not a pod, but a {}", pod["kind"]));
        }
        let namespace = metadata["namespace"].as_str().unwrap_or("default").to_string();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["namespace"] = namespace.clone().into();
        if pods.insert((namespace.clone(), name.clone()), pod).is_some() {
            return Err(format!("there are two pods {namespace}/{name}"));
        }
    }
    Ok(pods)
}

impl Pods {
    /// Replaces the pods, and records the changes.
    pub fn set(&mut self, pods: BTreeMap<Key, Value>) {
        let mut old = std::mem::take(&mut self.pods);
        for (key, mut now) in pods {
            let before = old.remove(&key);
            if let Some(before) = &before {
                now["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            }
            if before.as_ref() != Some(&now) {
                self.version += 1;
                now["metadata"]["resourceVersion"] = self.version.to_string().into();
                self.changes.push(Change { version: self.version, before, now: Some(now.clone()) });
            }
            self.pods.insert(key, now);
        }
        for mut gone in old.into_values() {
            self.version += 1;
            gone["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.changes.push(Change { version: self.version, before: Some(gone), now: None });
        }
    }

    /// Gets one pod.
    pub fn get(&self, namespace: &str, name: &str) -> Result<Value, Failure> {
        let missing = || Failure(404, "NotFound", format!("pods \"{name}\" not found"));
        self.pods.get(&(namespace.into(), name.into())).cloned().ok_or_else(missing)
    }

    /// Lists pods, or one page of them.
    pub fn list(&self, asked: &Asked) -> Result<Value, Failure> {
        let after = match asked.continue_token.split_once('/') {
            _ if asked.continue_token.is_empty() => None,
            Some((namespace, name)) => Some((namespace.to_string(), name.to_string())),
            None => return Err(Failure(400, "BadRequest", "continue key is not valid".into())),
        };
        let rest = self.pods.iter().filter(|(key, pod)| after.as_ref().is_none_or(|after| *key > after) && asked.selects(pod));
        let limit = if asked.limit == 0 { usize::MAX } else { asked.limit };
        let matching: Vec<_> = rest.collect();
        let page = &matching[..matching.len().min(limit)];
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if let (true, Some(((namespace, name), _))) = (page.len() < matching.len(), page.last()) {
            metadata["continue"] = format!("{namespace}/{name}").into();
            if asked.selector.is_empty() {
                metadata["remainingItemCount"] = (matching.len() - page.len()).into();
            }
        }
        let items: Vec<_> = page.iter().map(|(_, pod)| pod).collect();
        Ok(json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    /// The events that a watch has not sent yet.
    pub fn next(&self, watching: &mut Watching) -> Vec<Value> {
        let asked = &watching.asked;
        let event = |kind: &str, object: &Value| json!({"type": kind, "object": object});
        let Some(version) = watching.version.replace(self.version) else {
            let mut events: Vec<_> = self.pods.values().filter(|pod| asked.selects(pod)).map(|pod| event("ADDED", pod)).collect();
            if asked.sends_initial_events {
                let metadata =
                    json!({"resourceVersion": self.version.to_string(), "annotations": {END_OF_INITIAL_EVENTS: "true"}});
                events.push(event("BOOKMARK", &json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata})));
            }
            return events;
        };
        let new = self.changes.iter().filter(|change| change.version > version);
        let seen = |pod: &Option<Value>| pod.as_ref().is_some_and(|pod| asked.selects(pod));
        new.filter_map(|change| match (seen(&change.before), seen(&change.now)) {
            (false, true) => Some(event("ADDED", change.now.as_ref()?)),
            (true, true) => Some(event("MODIFIED", change.now.as_ref()?)),
            (true, false) => {
                let mut last = change.before.clone()?;
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                Some(event("DELETED", &last))
            }
            (false, false) => None,
        })
        .collect()
    }
}

impl Asked {
    fn selects(&self, pod: &Value) -> bool {
        let in_namespace = self.namespace.as_ref().is_none_or(|namespace| pod["metadata"]["namespace"] == namespace.as_str());
        in_namespace && self.selector.matches(pod)
    }
}

impl Watching {
    /// Begins a watch.
    pub fn new(asked: Asked) -> Result<Watching, Failure> {
        let version = match asked.resource_version.as_str() {
            "" | "0" => None,
            version => {
                let invalid = |_| Failure(400, "BadRequest", format!("Invalid value: \"{version}\": resource version"));
                Some(version.parse().map_err(invalid)?)
            }
        };
        Ok(Watching { asked, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(names: &[(&str, &str)]) -> BTreeMap<Key, Value> {
        let items: Vec<_> = names
            .iter()
            .map(|(name, app)| json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": app}}}))
            .collect();
        of_document(json!({"items": items})).unwrap()
    }

    fn events(pods: &Pods, watching: &mut Watching) -> Vec<String> {
        let said = pods.next(watching);
        said.iter().map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"])).collect()
    }

    #[test]
    fn pages_add_up() {
        let mut all = Pods::default();
        all.set(pods(&[("a", "web"), ("b", "web"), ("c", "web")]));
        let mut asked = Asked { limit: 2, ..Asked::default() };
        let first = all.list(&asked).unwrap();
        assert_eq!((first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]), (2, &json!(1)));
        asked.continue_token = first["metadata"]["continue"].as_str().unwrap().into();
        let last = all.list(&asked).unwrap();
        assert_eq!((&last["items"][0]["metadata"]["name"], &last["metadata"]["continue"]), (&json!("c"), &Value::Null));
        assert_eq!(all.list(&Asked { continue_token: "x".into(), ..Asked::default() }).unwrap_err().0, 400);
    }

    #[test]
    fn a_watch_says_what_changes_in_the_file() {
        let mut all = Pods::default();
        all.set(pods(&[("a", "web"), ("b", "web")]));
        let selector = Selector::parse("app=web", "").unwrap();
        let mut watching = Watching::new(Asked { selector, sends_initial_events: true, ..Asked::default() }).unwrap();
        assert_eq!(events(&all, &mut watching), ["ADDED \"a\"", "ADDED \"b\"", "BOOKMARK null"]);
        all.set(pods(&[("a", "web"), ("b", "web")]));
        assert_eq!(events(&all, &mut watching), [""; 0]);
        // One pod is new, one does not match any more, and one is gone.
        all.set(pods(&[("a", "job"), ("c", "web")]));
        assert_eq!(events(&all, &mut watching), ["DELETED \"a\"", "ADDED \"c\"", "DELETED \"b\""]);
        let mut later = Watching::new(Asked { resource_version: "4".into(), ..Asked::default() }).unwrap();
        assert_eq!(events(&all, &mut later), ["DELETED \"b\""]);
    }

    #[test]
    fn a_document_without_pods_is_refused() {
        for document in [
            json!([]),
            json!({"items": 3}),
            json!({"items": [{}]}),
            json!({"kind": "Service", "metadata": {"name": "web"}}),
            json!({"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "a"}}]}),
        ] {
            assert!(of_document(document.clone()).is_err(), "{document}");
        }
        let one = of_document(json!({"kind": "Pod", "metadata": {"name": "a"}})).unwrap();
        assert_eq!(one.keys().next().unwrap(), &("default".into(), "a".into()));
    }
}
