//! Label and field selectors, as far as pods have fields to select by.

use serde_json::Value;

/// The fields that the API server selects pods by.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
];

/// The label selector and the field selector of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Debug, PartialEq)]
struct Requirement {
    key: String,
    /// The values, one of which the pod must have; `None` if any value will do.
    values: Option<Vec<String>>,
    is_negated: bool,
}

impl Selector {
    /// Parses both selectors. An error is in the API server's words.
    pub fn parse(labels: &str, fields: &str) -> Result<Selector, String> {
        let read = |text: &str, what: &str| -> Result<Vec<_>, String> {
            let unread = |part| format!("unable to parse requirement in {what}: {part}");
            parts(text).into_iter().map(|part| Requirement::parse(part).ok_or_else(|| unread(part))).collect()
        };
        let selector = Selector { labels: read(labels, "labelSelector")?, fields: read(fields, "fieldSelector")? };
        for Requirement { key, values, .. } in &selector.fields {
            if !FIELDS.contains(&key.as_str()) || values.is_none() {
                return Err(format!("field label not supported: {key}"));
            }
        }
        Ok(selector)
    }

    /// Whether there is no requirement.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether this pod matches.
    pub fn matches(&self, pod: &Value) -> bool {
        let labels = &pod["metadata"]["labels"];
        let field = |key: &str| key.split('.').fold(pod, |value, name| &value[name]).as_str();
        self.labels.iter().all(|requirement| requirement.holds(labels[&requirement.key].as_str()))
            && self.fields.iter().all(|requirement| requirement.holds(Some(field(&requirement.key).unwrap_or_default())))
    }
}

impl Requirement {
    fn parse(text: &str) -> Option<Requirement> {
        let requirement = |key: &str, values: Option<Vec<String>>, is_negated| {
            let key = key.trim();
            let is_key = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || "=!(),".contains(c));
            is_key.then(|| Requirement { key: key.into(), values, is_negated })
        };
        if let Some((key, value)) = text.split_once("!=") {
            return requirement(key, Some(vec![value.trim().into()]), true);
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return requirement(key, Some(vec![value.trim().into()]), false);
        }
        if let Some((before, set)) = text.split_once('(') {
            let values = set.trim_end().strip_suffix(')')?.split(',').map(|value| value.trim().into()).collect();
            let (key, operator) = before.trim().split_once(char::is_whitespace)?;
            return match operator.trim() {
                "in" => requirement(key, Some(values), false),
                "notin" => requirement(key, Some(values), true),
                _ => None,
            };
        }
        match text.trim().strip_prefix('!') {
            Some(key) => requirement(key, None, true),
            None => requirement(text, None, false),
        }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let is_so = match (&self.values, value) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(values), Some(value)) => values.iter().any(|one| one == value),
        };
        is_so != self.is_negated
    }
}

/// The parts between commas that are not in parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let cut = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    if text.trim().is_empty() { Vec::new() } else { text.split(cut).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_mean_what_they_mean_to_the_api_server() {
        let pod = json!({"metadata": {"name": "web", "labels": {"app": "web", "tier": "edge"}}, "status": {"phase": "Running"}});
        for (labels, fields, matches) in [
            ("", "", true),
            ("app=web", "", true),
            ("app==web,tier in (edge, core)", "", true),
            ("app!=web", "", false),
            ("zone!=a", "", true),
            ("zone notin (a,b)", "", true),
            ("tier notin (edge)", "", false),
            ("app", "", true),
            ("!app", "", false),
            ("!zone,app", "", true),
            ("", "metadata.name=web,status.phase!=Failed", true),
            ("", "spec.nodeName=", true),
            ("", "spec.nodeName=worker", false),
        ] {
            let selector = Selector::parse(labels, fields).unwrap();
            assert_eq!(selector.matches(&pod), matches, "{labels:?} {fields:?}");
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for (labels, fields) in [
            ("a b", ""),
            ("=a", ""),
            ("a in b", ""),
            ("a between (b)", ""),
            (",", ""),
            ("", "spec.containers=a"),
            ("", "status.phase"),
        ] {
            assert!(Selector::parse(labels, fields).is_err(), "{labels:?} {fields:?}");
        }
    }
}
