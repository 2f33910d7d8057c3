//! A list of pods, from either encoding.

use super::message::{self, Message};
use super::transcode::from_json;
use super::{Encoding, MAX_ITEMS, Part, json, malformed, protobuf, schema};
use crate::types::{Error, Pod, PodList};

/// Decodes a list of pods from a body that arrives in chunks.
pub struct PodListDecoder {
    splitter: Splitter,
    list: List,
}

enum Splitter {
    Json(json::Splitter),
    Protobuf(protobuf::Splitter),
}

struct List {
    encoding: Encoding,
    kind: Option<String>,
    metadata: schema::ListMeta,
    items: Vec<Pod>,
}

impl PodListDecoder {
    /// A decoder for a body in this encoding.
    pub fn new(encoding: Encoding) -> Self {
        PodListDecoder {
            splitter: match encoding {
                Encoding::Json => Splitter::Json(Default::default()),
                Encoding::Protobuf => Splitter::Protobuf(Default::default()),
            },
            list: List { encoding, kind: None, metadata: Default::default(), items: Vec::new() },
        }
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let list = &mut self.list;
        let mut on = |part: Part<'_>| list.add(part);
        match &mut self.splitter {
            Splitter::Json(splitter) => splitter.push(chunk, &mut on),
            Splitter::Protobuf(splitter) => splitter.push(chunk, &mut on),
        }
    }

    /// The list, once the body has ended.
    pub fn finish(self) -> Result<PodList, Error> {
        match &self.splitter {
            Splitter::Json(splitter) => splitter.finish(),
            Splitter::Protobuf(splitter) => splitter.finish(),
        }?;
        let List { kind, metadata, mut items, .. } = self.list;
        if kind.as_deref() != Some("PodList") {
            return Err(malformed(format!("expected a PodList, got kind {:?}", kind.unwrap_or_default())));
        }
        // What hands the list over needs as much room again.
        items.shrink_to_fit();
        Ok(PodList {
            items,
            resource_version: metadata.resource_version,
            continue_token: metadata.continue_token,
            remaining_item_count: metadata.remaining_item_count,
            inconsistent: false,
            restarted: false,
        })
    }
}

impl List {
    fn add(&mut self, part: Part<'_>) -> Result<(), Error> {
        match part {
            Part::Kind(kind) => self.kind = Some(String::from_utf8_lossy(kind).into_owned()),
            Part::Metadata(bytes) => {
                self.metadata = decode(self.encoding, bytes).map_err(|e| malformed(format!("the list's metadata: {e}")))?;
            }
            Part::Item(bytes) => {
                let place = self.items.len();
                if place == MAX_ITEMS {
                    return Err(Error::LimitExceeded(format!(
                        "the list has more than {MAX_ITEMS} pods; ask for less with limit"
                    )));
                }
                if place == self.items.capacity() {
                    // Twice as much room, as vectors take it, would be megabytes that are never used.
                    self.items.reserve_exact(place / 4 + 16);
                }
                let pod = decode(self.encoding, bytes);
                self.items.push(pod.map_err(|e| malformed(format!("items[{place}]: {e}")))?);
            }
        }
        Ok(())
    }
}

fn decode<M: Message>(encoding: Encoding, bytes: &[u8]) -> Result<M, String> {
    match encoding {
        Encoding::Json => from_json(bytes),
        Encoding::Protobuf => message::decode(bytes).map_err(|e| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, Exchange};
    use super::*;
    use crate::types::ContainerState;

    fn decode_in_chunks(encoding: Encoding, body: &[u8], size: usize) -> Result<PodList, Error> {
        let mut decoder = PodListDecoder::new(encoding);
        body.chunks(size).try_for_each(|chunk| decoder.push(chunk))?;
        decoder.finish()
    }

    fn recorded(name: &str) -> PodList {
        let exchange = Exchange::read(name);
        let encoding = crate::response::success(&exchange.head).unwrap().unwrap();
        decode_in_chunks(encoding, &exchange.body, 4096).unwrap()
    }

    #[test]
    fn recorded_lists_are_alike_in_both_encodings() {
        let json = recorded("list-json");
        assert_eq!(json, recorded("list-protobuf"));
        let pod = &json.items[1];
        assert_eq!(json.items.len(), 7);
        assert_eq!(pod.metadata.name, "checkout-177627f91a-f31940");
        assert_eq!(pod.metadata.creation_timestamp, Some(1795460563));
        assert_eq!(pod.spec.node_name.as_deref(), Some("ip-10-0-0-0.eu-west-1.compute.internal"));
        assert!(matches!(
            &pod.status.container_statuses[0].state,
            Some(ContainerState::Waiting(w)) if w.reason.as_deref() == Some("CrashLoopBackOff")
        ));
    }

    #[test]
    fn recorded_pages_say_what_follows() {
        let page = recorded("list-page-1");
        assert_eq!(page, PodList { resource_version: page.resource_version.clone(), ..recorded("list-page-1-protobuf") });
        assert!(page.continue_token.is_some());
        assert_eq!(page.remaining_item_count, Some(4));
        assert!(recorded("list-empty-namespace").items.is_empty());
    }

    #[test]
    fn chunks_may_be_cut_anywhere() {
        for (name, encoding) in [("list-json", Encoding::Json), ("list-protobuf", Encoding::Protobuf)] {
            let body = Exchange::read(name).body;
            let whole = decode_in_chunks(encoding, &body, body.len()).unwrap();
            for size in [1, 2, 3, 7, 1000, 65536] {
                assert!(decode_in_chunks(encoding, &body, size).unwrap() == whole, "{name} in chunks of {size}");
            }
        }
    }

    /// Every field of the record, with a value of its own that no default has.
    #[test]
    fn every_field_is_filled_in_from_both_encodings() {
        let json = decode_in_chunks(Encoding::Json, fixtures::full_pod_json().as_bytes(), 100).unwrap();
        let protobuf = decode_in_chunks(Encoding::Protobuf, &fixtures::full_pod_protobuf(), 100).unwrap();
        assert_eq!(json, protobuf);
        let debug = format!("{:?} {:?} {:?}", json.items, json.continue_token, json.remaining_item_count);
        for absent in ["None", "[]", "\"\"", "false", ": 0,", ": 0 "] {
            assert!(!debug.contains(absent), "{absent} in {debug}");
        }
    }

    #[test]
    fn nulls_and_absent_fields_are_defaults() {
        let sparse = r#"{"kind":"PodList","metadata":null,"items":[{"metadata":{"name":"a","labels":null,"creationTimestamp":null,
            "ownerReferences":null},"spec":{"containers":null},"status":{"podIP":"10.0.0.1","hostIP":"","containerStatuses":
            [{"state":{},"lastState":null,"started":null}]}},{}]}"#;
        let list = decode_in_chunks(Encoding::Json, sparse.as_bytes(), 9).unwrap();
        assert_eq!(list.items[0].status.pod_ips, ["10.0.0.1"]);
        assert!(list.items[0].status.host_ips.is_empty());
        assert_eq!(list.items[0].status.container_statuses[0].state, None);
        assert_eq!(
            list.items[1],
            decode_in_chunks(Encoding::Json, br#"{"kind":"PodList","items":[{"spec":{}}]}"#, 9).unwrap().items[0]
        );
    }

    #[test]
    fn a_list_of_too_many_pods_is_given_up() {
        let list = |pods: usize| format!(r#"{{"kind":"PodList","items":[{}]}}"#, vec!["{}"; pods].join(","));
        let decode = |pods| decode_in_chunks(Encoding::Json, list(pods).as_bytes(), 1 << 16);
        assert_eq!(decode(MAX_ITEMS).unwrap().items.len(), MAX_ITEMS);
        assert!(matches!(decode(MAX_ITEMS + 1), Err(Error::LimitExceeded(text)) if text.contains("100000 pods")));
    }

    #[test]
    fn what_is_malformed_says_where() {
        let message = |body: &str| match decode_in_chunks(Encoding::Json, body.as_bytes(), 7) {
            Err(Error::MalformedResponse(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(message(r#"{"kind":"NodeList","items":[]}"#).contains("expected a PodList, got kind \"NodeList\""));
        assert!(message(r#"{"kind":"Status","status":"Failure"}"#).contains("\"Status\""));
        assert!(message(r#"{"kind":"PodList","items":[{},7]}"#).starts_with("items[1]: "));
        let port = r#"{"kind":"PodList","items":[{"spec":{"containers":[{"ports":[{"containerPort":65536}]}]}}]}"#;
        assert!(message(port).contains("containerPort 65536 is not a port"));
        let time = r#"{"kind":"PodList","items":[{"metadata":{"creationTimestamp":"yesterday"}}]}"#;
        assert!(message(time).contains("\"yesterday\", expected a time (RFC 3339)"));
        let deep = format!(r#"{{"kind":"PodList","items":[{{"spec":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let deep = decode_in_chunks(Encoding::Json, deep.as_bytes(), 7);
        assert!(matches!(deep, Err(Error::LimitExceeded(text)) if text.contains("nested deeper than 100")));
    }
}
