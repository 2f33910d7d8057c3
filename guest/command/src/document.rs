//! Prints a list as one JSON or YAML document, like `kubectl get -o json` and `-o yaml`: one item at a time, with every field but
//! `managedFields`.

use crate::pods::Page;
use crate::yaml;
use incluster_client::decode::{Part, json, unicode};
use incluster_client::types::Error;
use incluster_core::text::json;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use std::mem;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

/// Turns a list's pages into a document.
pub struct Document(List);

struct List {
    format: Format,
    kind: String,
    metadata: Value,
    items: usize,
    out: Vec<u8>,
}

impl Document {
    pub fn new(format: Format) -> Document {
        Document(List { format, kind: String::new(), metadata: Value::Null, items: 0, out: Vec::new() })
    }

    /// Returns the text of a page's items, as many as there is room for.
    pub fn page(&mut self, json: &[u8], room: usize) -> Result<Page, Error> {
        let list = &mut self.0;
        list.kind.clear();
        list.metadata = Value::Null;
        let (mut shown, mut cut) = (0, 0);
        let mut splitter = json::Splitter::default();
        splitter.push(json, &mut |part| match part {
            Part::ApiVersion(_) => Ok(()),
            Part::Kind(kind) => {
                list.kind = String::from_utf8_lossy(kind).into_owned();
                Ok(())
            }
            Part::Metadata(json) => {
                list.metadata = parse(json, "the list's metadata")?;
                Ok(())
            }
            Part::Item(_) if shown == room => {
                cut += 1;
                Ok(())
            }
            Part::Item(json) => {
                shown += 1;
                list.item(json)
            }
        })?;
        splitter.finish()?;
        if list.kind != "PodList" {
            return Err(Error::MalformedResponse(format!("expected a PodList, got kind {:?}", list.kind)));
        }
        let metadata = &list.metadata;
        let continue_token = metadata["continue"].as_str().filter(|token| !token.is_empty()).map(Into::into);
        let remaining = metadata["remainingItemCount"].as_u64();
        Ok(Page { text: mem::take(&mut list.out), shown, cut, continue_token, remaining })
    }

    /// Returns the end of the document.
    pub fn end(&mut self) -> Result<Vec<u8>, Error> {
        self.0.end()?;
        Ok(mem::take(&mut self.0.out))
    }
}

impl List {
    fn item(&mut self, json: &[u8]) -> Result<(), Error> {
        let mut item: Value = parse(json, "an item of the list")?;
        // A list leaves these out of its items, because they are the same for all.
        item["apiVersion"] = "v1".into();
        item["kind"] = "Pod".into();
        remove_managed_fields(&mut item);
        let begin = self.begin();
        match self.format {
            Format::Json => {
                self.out.extend_from_slice(begin);
                self.out.extend_from_slice(b"\n        ");
                let text = pretty(&item)?;
                self.out.extend_from_slice(text.replace('\n', "\n        ").as_bytes());
            }
            Format::Yaml => {
                self.out.extend_from_slice(begin);
                self.out.extend_from_slice(b"- ");
                self.out.extend(yaml::text(&item, 2).into_bytes());
            }
        }
        self.items += 1;
        Ok(())
    }

    /// The text before the next item.
    fn begin(&self) -> &'static [u8] {
        match (self.format, self.items) {
            (Format::Json, 0) => b"{\n    \"apiVersion\": \"v1\",\n    \"items\": [",
            (Format::Json, _) => b",",
            (Format::Yaml, 0) => b"apiVersion: v1\nitems:\n",
            (Format::Yaml, _) => b"",
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        let metadata = match &self.metadata {
            Value::Null => Value::Object(Default::default()),
            metadata => metadata.clone(),
        };
        let none = self.items == 0;
        match self.format {
            Format::Json => {
                if none {
                    self.out.extend_from_slice(self.begin());
                }
                let metadata = pretty(&metadata)?.replace('\n', "\n    ");
                let close = if none { "]" } else { "\n    ]" };
                self.out.extend(format!("{close},\n    \"kind\": \"List\",\n    \"metadata\": {metadata}\n}}\n").into_bytes());
            }
            Format::Yaml => {
                if none {
                    self.out.extend_from_slice(b"apiVersion: v1\nitems: []\n");
                }
                let rest = serde_json::json!({"kind": "List", "metadata": metadata});
                self.out.extend(yaml::text(&rest, 0).into_bytes());
            }
        }
        Ok(())
    }
}

/// Returns the document of one pod.
pub fn of_pod(format: Format, json: &[u8]) -> Result<Vec<u8>, Error> {
    let mut pod = parse(json, "the pod")?;
    if pod["kind"] != "Pod" {
        return Err(Error::MalformedResponse(format!("expected a Pod, got kind {}", pod["kind"])));
    }
    remove_managed_fields(&mut pod);
    Ok(match format {
        Format::Json => pretty(&pod)? + "\n",
        Format::Yaml => yaml::text(&pod, 0),
    }
    .into_bytes())
}

fn remove_managed_fields(pod: &mut Value) {
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

fn parse(json: &[u8], what: &str) -> Result<Value, Error> {
    match unicode::from_slice(json) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Error::MalformedResponse(format!("{what} is not an object"))),
        Err(e) => Err(Error::MalformedResponse(format!("{what}: {e}"))),
    }
}

fn pretty(value: &Value) -> Result<String, Error> {
    let mut text = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")));
    let text = written.map_err(|e| e.to_string()).and_then(|()| String::from_utf8(text).map_err(|e| e.to_string()));
    let text = text.map_err(|e| Error::MalformedResponse(format!("an item that JSON cannot hold: {e}")))?;
    // These characters are only in strings, where Go escapes them: a browser would see HTML.
    Ok(json(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use incluster_core::text::is_control;

    /// Returns the document of these pages, and the last page.
    fn printed(format: Format, pages: &[&str]) -> Result<(String, Page), Error> {
        let mut document = Document::new(format);
        let mut text = Vec::new();
        let mut last = None;
        for page in pages {
            let page = document.page(page.as_bytes(), usize::MAX)?;
            text.extend_from_slice(&page.text);
            last = Some(page);
        }
        text.extend(document.end()?);
        Ok((String::from_utf8(text).unwrap(), last.unwrap()))
    }

    const LIST: &str = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"c","remainingItemCount":2},"items":[
        {"metadata":{"name":"a","managedFields":[{}],"annotations":{"n":"x\n\ny","yes":"yes","v":"1.20","e":""}},"spec":{"p":1.5}},{"spec":{}}]}"#;

    #[test]
    fn both_formats_hold_the_same() {
        let (json, page) = printed(Format::Json, &[LIST]).unwrap();
        let (yaml, _) = printed(Format::Yaml, &[LIST]).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let yaml: Value = yaml_serde::from_str(&yaml).unwrap();
        assert_eq!((page.shown, page.continue_token.as_deref(), page.remaining), (2, Some("c"), Some(2)));
        assert_eq!(json, yaml);
        assert_eq!((&json["kind"], &json["apiVersion"]), (&"List".into(), &"v1".into()));
        assert_eq!((&json["items"][0]["kind"], &json["items"][0]["apiVersion"]), (&"Pod".into(), &"v1".into()));
        assert_eq!(json["items"][0]["metadata"]["annotations"]["n"], "x\n\ny");
        assert_eq!(json["items"][0]["metadata"]["annotations"]["v"], "1.20");
        assert!(json["items"][0]["metadata"].get("managedFields").is_none());
        assert_eq!(json["items"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn pages_make_one_document() {
        for format in [Format::Json, Format::Yaml] {
            let (text, _) = printed(format, &[LIST, LIST]).unwrap();
            let document: Value = yaml_serde::from_str(&text).unwrap();
            assert_eq!(document["items"].as_array().unwrap().len(), 4);
            assert_eq!(document["items"][0], document["items"][2]);
        }
        let page = Document::new(Format::Json).page(LIST.as_bytes(), 1).unwrap();
        assert_eq!((page.shown, page.cut), (1, 1));
    }

    #[test]
    fn no_text_acts_on_a_terminal() {
        let body = "{\"kind\":\"PodList\",\"items\":[{\"a\":\"x\u{9b}31m\u{7f}\u{85}\\u001b[2J\u{202e}\u{2066}\"}]}";
        for format in [Format::Json, Format::Yaml] {
            let (text, _) = printed(format, &[body]).unwrap();
            assert!(!text.contains(|c: char| is_control(c) && c != '\n'), "{text:?}");
        }
    }

    #[test]
    fn an_empty_list_is_a_document() {
        let body = r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":null}"#;
        let (json, page) = printed(Format::Json, &[body]).unwrap();
        let (yaml, _) = printed(Format::Yaml, &[body]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), yaml_serde::from_str::<Value>(&yaml).unwrap());
        assert_eq!((page.shown, page.continue_token), (0, None));
    }

    #[test]
    fn one_pod_is_a_document_of_its_own() {
        let pod = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","managedFields":[{}],"annotations":{"n":"a<b>&c"}},"spec":{"l":[1,[]],"m":{}}}"#;
        let text = |format| of_pod(format, pod.as_bytes()).map(|text| String::from_utf8(text).unwrap()).unwrap();
        // As kubectl prints it.
        let expected = r#"{
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "annotations": {
            "n": "a\u003cb\u003e\u0026c"
        },
        "name": "a"
    },
    "spec": {
        "l": [
            1,
            []
        ],
        "m": {}
    }
}
"#;
        assert_eq!(text(Format::Json), expected);
        let yaml = text(Format::Yaml);
        assert!(yaml.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n"), "{yaml}");
        let values: Value = yaml_serde::from_str(&yaml).unwrap();
        assert_eq!(values, serde_json::from_str::<Value>(expected).unwrap());
        for body in [r#"{"kind":"PodList"}"#, "[]", "{}", "{"] {
            assert!(matches!(of_pod(Format::Json, body.as_bytes()), Err(Error::MalformedResponse(_))), "{body}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_pods_is_refused() {
        for body in
            [r#"{"kind":"NodeList","items":[]}"#, r#"{"kind":"PodList","items":[7]}"#, r#"{"kind":"PodList","metadata":7}"#, "{"]
        {
            assert!(matches!(printed(Format::Json, &[body]), Err(Error::MalformedResponse(_))), "{body}");
        }
    }
}
