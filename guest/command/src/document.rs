//! Prints a list as one JSON or YAML document, as `kubectl get -o json` and `-o yaml` do: an item at a time, with every
//! field but `managedFields`.

use incluster_client::decode::{Part, json};
use incluster_client::types::Error;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

/// Turns a list's body, as it arrives, into a document.
pub struct Document {
    splitter: json::Splitter,
    list: List,
}

struct List {
    format: Format,
    kind: String,
    metadata: Value,
    items: usize,
    out: Vec<u8>,
}

impl Document {
    pub fn new(format: Format) -> Document {
        let list = List { format, kind: String::new(), metadata: Value::Null, items: 0, out: Vec::new() };
        Document { splitter: json::Splitter::default(), list }
    }

    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.splitter.push(chunk, &mut |part| match part {
            Part::Kind(kind) => {
                self.list.kind = String::from_utf8_lossy(kind).into_owned();
                Ok(())
            }
            Part::Metadata(json) => {
                self.list.metadata = parse(json, "metadata")?;
                Ok(())
            }
            Part::Item(json) => self.list.item(json),
        })
    }

    /// Ends the document. Returns what a limit left out: `Some(None)` when the server does not say how many.
    pub fn finish(&mut self) -> Result<Option<Option<u64>>, Error> {
        self.splitter.finish()?;
        self.list.end()
    }

    /// What is ready to be written.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.list.out)
    }
}

impl List {
    fn item(&mut self, json: &[u8]) -> Result<(), Error> {
        let mut item: Value = parse(json, "an item")?;
        // What a list leaves out of its items, as it is the same for all.
        item["apiVersion"] = "v1".into();
        item["kind"] = "Pod".into();
        if let Some(metadata) = item["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
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
                let text = yaml(&item)?;
                for (place, line) in text.lines().enumerate() {
                    let indent: &[u8] = match (place, line) {
                        (0, _) => b"- ",
                        (_, "") => b"",
                        _ => b"  ",
                    };
                    self.out.extend([indent, line.as_bytes(), b"\n"].concat());
                }
            }
        }
        self.items += 1;
        Ok(())
    }

    /// What stands before the next item.
    fn begin(&self) -> &'static [u8] {
        match (self.format, self.items) {
            (Format::Json, 0) => b"{\n    \"apiVersion\": \"v1\",\n    \"items\": [",
            (Format::Json, _) => b",",
            (Format::Yaml, 0) => b"apiVersion: v1\nitems:\n",
            (Format::Yaml, _) => b"",
        }
    }

    fn end(&mut self) -> Result<Option<Option<u64>>, Error> {
        if self.kind != "PodList" {
            return Err(Error::MalformedResponse(format!("expected a PodList, got kind {:?}", self.kind)));
        }
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
                self.out.extend(yaml(&rest)?.into_bytes());
            }
        }
        let more = metadata["continue"].as_str().is_some_and(|token| !token.is_empty());
        Ok(more.then(|| metadata["remainingItemCount"].as_u64()))
    }
}

fn parse(json: &[u8], what: &str) -> Result<Value, Error> {
    match serde_json::from_slice(json) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Error::MalformedResponse(format!("{what} of the list is not an object"))),
        Err(e) => Err(Error::MalformedResponse(format!("{what} of the list: {e}"))),
    }
}

fn pretty(value: &Value) -> Result<String, Error> {
    let mut text = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")));
    let text = written.map_err(|e| e.to_string()).and_then(|()| String::from_utf8(text).map_err(|e| e.to_string()));
    let text = text.map_err(|e| Error::MalformedResponse(format!("an item that JSON cannot hold: {e}")))?;
    // serde_json escapes the control characters that JSON must escape; a terminal acts on some more.
    Ok(match text.contains(|c| matches!(c, '\u{7f}'..='\u{9f}')) {
        false => text,
        true => text
            .chars()
            .map(|c| if matches!(c, '\u{7f}'..='\u{9f}') { format!("\\u{:04x}", c as u32) } else { c.into() })
            .collect(),
    })
}

fn yaml(value: &Value) -> Result<String, Error> {
    yaml_serde::to_string(value).map_err(|e| Error::MalformedResponse(format!("an item that YAML cannot hold: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, body: &str, size: usize) -> Result<(String, Option<Option<u64>>), Error> {
        let mut document = Document::new(format);
        body.as_bytes().chunks(size).try_for_each(|chunk| document.push(chunk))?;
        let left_out = document.finish()?;
        Ok((String::from_utf8(document.take()).unwrap(), left_out))
    }

    const LIST: &str = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"c","remainingItemCount":2},"items":[
        {"metadata":{"name":"a","managedFields":[{}],"annotations":{"n":"x\n\ny","yes":"yes","v":"1.20","e":""}},"spec":{"p":1.5}},{"spec":{}}]}"#;

    #[test]
    fn both_formats_hold_the_same() {
        let (json, left_out) = printed(Format::Json, LIST, 5).unwrap();
        let (yaml, _) = printed(Format::Yaml, LIST, 5).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let yaml: Value = yaml_serde::from_str(&yaml).unwrap();
        assert_eq!(left_out, Some(Some(2)));
        assert_eq!(json, yaml);
        assert_eq!((&json["kind"], &json["apiVersion"]), (&"List".into(), &"v1".into()));
        assert_eq!((&json["items"][0]["kind"], &json["items"][0]["apiVersion"]), (&"Pod".into(), &"v1".into()));
        assert_eq!(json["items"][0]["metadata"]["annotations"]["n"], "x\n\ny");
        assert_eq!(json["items"][0]["metadata"]["annotations"]["v"], "1.20");
        assert!(json["items"][0]["metadata"].get("managedFields").is_none());
        assert_eq!(json["items"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn no_text_acts_on_a_terminal() {
        let body = "{\"kind\":\"PodList\",\"items\":[{\"a\":\"x\u{9b}31m\u{7f}\u{85}\\u001b[2J\"}]}";
        for format in [Format::Json, Format::Yaml] {
            let (text, _) = printed(format, body, 9).unwrap();
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
    }

    #[test]
    fn an_empty_list_is_a_document() {
        let body = r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":null}"#;
        let (json, left_out) = printed(Format::Json, body, 9).unwrap();
        let (yaml, _) = printed(Format::Yaml, body, 9).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), yaml_serde::from_str::<Value>(&yaml).unwrap());
        assert_eq!(left_out, None);
    }

    #[test]
    fn what_is_no_list_of_pods_is_refused() {
        for body in
            [r#"{"kind":"NodeList","items":[]}"#, r#"{"kind":"PodList","items":[7]}"#, r#"{"kind":"PodList","metadata":7}"#, "{"]
        {
            assert!(matches!(printed(Format::Json, body, 9), Err(Error::MalformedResponse(_))), "{body}");
        }
    }
}
