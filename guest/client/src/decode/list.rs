//! Decodes a list of objects from either encoding.

use super::object::{Object, decode, name_of};
use super::{Encoding, MAX_ITEMS, Part, json, malformed, protobuf, schema};
use crate::types::{Error, Pod, PodList};

/// Decodes a list from a body that arrives in chunks.
pub struct ListDecoder<O> {
    splitter: Splitter,
    list: List<O>,
}

/// What has been decoded of a list.
#[derive(Debug)]
pub struct Listed<O> {
    /// The objects.
    pub items: Vec<O>,
    /// `apiVersion`; empty if the encoding is not JSON.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata`.
    pub metadata: schema::ListMeta,
    /// The number of objects that have come so far, including those that were not wanted and those that were handed over before.
    pub count: usize,
}

impl<O> Default for Listed<O> {
    fn default() -> Self {
        Listed { items: Vec::new(), api_version: String::new(), kind: String::new(), metadata: Default::default(), count: 0 }
    }
}

impl From<Listed<Pod>> for PodList {
    fn from(Listed { items, metadata, .. }: Listed<Pod>) -> PodList {
        let schema::ListMeta { resource_version, continue_token, remaining_item_count } = metadata;
        PodList { items, resource_version, continue_token, remaining_item_count }
    }
}

enum Splitter {
    Json(json::Splitter),
    Protobuf(protobuf::Splitter),
}

struct List<O> {
    encoding: Encoding,
    listed: Listed<O>,
    has_metadata: bool,
    /// The number of items at the beginning that are not wanted.
    skip: usize,
}

impl<O: Object> ListDecoder<O> {
    /// Makes a decoder for a body in this encoding.
    pub fn new(encoding: Encoding) -> Self {
        ListDecoder {
            splitter: match encoding {
                Encoding::Json => Splitter::Json(Default::default()),
                Encoding::Protobuf => Splitter::Protobuf(Default::default()),
            },
            list: List { encoding, listed: Listed::default(), has_metadata: false, skip: 0 },
        }
    }

    /// Returns this decoder, which now skips `skip` items at the beginning.
    pub fn skipping(mut self, skip: usize) -> Self {
        self.list.skip = skip;
        self
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

    /// Returns the list, once the body has ended.
    pub fn finish(self) -> Result<Listed<O>, Error> {
        match &self.splitter {
            Splitter::Json(splitter) => splitter.finish(),
            Splitter::Protobuf(splitter) => splitter.finish(),
        }?;
        let mut listed = self.list.listed;
        check_kind::<O>(&listed.kind)?;
        // Handing the list over needs as much room again.
        listed.items.shrink_to_fit();
        Ok(listed)
    }

    /// Takes what has been decoded so far, once there are at least `least` items, and the list's kind and metadata are known.
    pub fn part(&mut self, least: usize) -> Result<Option<Listed<O>>, Error> {
        let listed = &mut self.list.listed;
        if listed.items.len() < least || !self.list.has_metadata || listed.kind.is_empty() {
            return Ok(None);
        }
        check_kind::<O>(&listed.kind)?;
        let (items, metadata) = (std::mem::take(&mut listed.items), listed.metadata.clone());
        let (api_version, kind) = (listed.api_version.clone(), listed.kind.clone());
        Ok(Some(Listed { items, api_version, kind, metadata, count: listed.count }))
    }
}

fn check_kind<O: Object>(kind: &str) -> Result<(), Error> {
    let expected = O::LIST_KIND;
    match kind.strip_suffix(expected) {
        Some("") => Ok(()),
        // Objects of any kind are accepted.
        Some(_) if expected == "List" => Ok(()),
        _ => Err(malformed(format!("expected a {expected}, got kind {kind:?}"))),
    }
}

impl<O: Object> List<O> {
    fn add(&mut self, part: Part<'_>) -> Result<(), Error> {
        let listed = &mut self.listed;
        match part {
            Part::ApiVersion(version) => listed.api_version = String::from_utf8_lossy(version).into_owned(),
            Part::Kind(kind) => listed.kind = String::from_utf8_lossy(kind).into_owned(),
            Part::Metadata(bytes) => {
                self.has_metadata = true;
                listed.metadata = decode(self.encoding, bytes).map_err(|e| malformed(format!("the list's metadata: {e}")))?;
            }
            Part::Item(bytes) => {
                let place = listed.count;
                listed.count += 1;
                if place < self.skip {
                    return Ok(());
                }
                let items = &mut listed.items;
                if items.len() == MAX_ITEMS {
                    let what = O::PLURAL;
                    return Err(Error::LimitExceeded(format!(
                        "the list has more than {MAX_ITEMS} {what}; ask for less with limit"
                    )));
                }
                if items.len() == items.capacity() {
                    // Doubling the room, as vectors do, would take megabytes that are never used.
                    items.reserve_exact(items.len() / 4 + 16);
                }
                let item = O::of_list(self.encoding, bytes);
                items.push(item.map_err(|e| malformed(format!("items[{place}]{}: {e}", name_of(self.encoding, bytes))))?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, Exchange};
    use super::*;
    use crate::decode::JsonObject;
    use crate::types::ContainerState;

    fn decode_in_chunks(encoding: Encoding, body: &[u8], size: usize) -> Result<PodList, Error> {
        let mut decoder = ListDecoder::<Pod>::new(encoding);
        body.chunks(size).try_for_each(|chunk| decoder.push(chunk))?;
        decoder.finish().map(PodList::from)
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

    /// Every field of the record has a value of its own that is not a default.
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

    fn listed<O: Object>(json: &str) -> Result<Listed<O>, Error> {
        let mut decoder = ListDecoder::new(Encoding::Json);
        decoder.push(json.as_bytes())?;
        decoder.finish()
    }

    /// Each object is what the server sent, and must be JSON.
    #[test]
    fn objects_of_any_kind() {
        let list = r#"{"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"a" : 1.50}, {}]}"#;
        let Listed { items, api_version, kind, metadata, .. } = listed::<JsonObject>(list).unwrap();
        assert_eq!((&*api_version, &*kind, &*metadata.resource_version), ("v1", "ServiceList", "7"));
        assert_eq!(items.iter().map(|object| str::from_utf8(&object.0).unwrap()).collect::<Vec<_>>(), [r#"{"a" : 1.50}"#, "{}"]);
        for no_list in [r#"{"kind":"Service","items":[]}"#, r#"{"items":[]}"#, r#"{"kind":"XList","items":[7]}"#] {
            assert!(matches!(listed::<JsonObject>(no_list), Err(Error::MalformedResponse(_))), "{no_list}");
        }
        assert!(matches!(listed::<JsonObject>(r#"{"kind":"XList","items":[{"a":tru}]}"#), Err(Error::MalformedResponse(_))));
    }

    /// A part has the list's metadata, and the next part leaves out what has been handed out.
    #[test]
    fn a_list_in_parts() {
        let body = r#"{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}},{}]}"#;
        let mut decoder = ListDecoder::<Pod>::new(Encoding::Json).skipping(1);
        let end = body.find(",{}").unwrap();
        decoder.push(&body.as_bytes()[..end]).unwrap();
        assert!(decoder.part(2).unwrap().is_none());
        let part = decoder.part(1).unwrap().unwrap();
        assert_eq!((&*part.items[0].metadata.name, part.items.len(), &*part.metadata.resource_version), ("b", 1, "7"));
        decoder.push(&body.as_bytes()[end..]).unwrap();
        assert_eq!(decoder.finish().unwrap().items.len(), 1);

        let mut late = ListDecoder::<Pod>::new(Encoding::Json);
        late.push(br#"{"items":[{}],"kind":"PodList""#).unwrap();
        assert!(late.part(1).unwrap().is_none(), "the list's metadata has not come");
        let mut other = ListDecoder::<Pod>::new(Encoding::Json);
        other.push(br#"{"kind":"NodeList","metadata":{},"items":[{}"#).unwrap();
        assert!(matches!(other.part(1), Err(Error::MalformedResponse(_))));
    }

    #[test]
    fn null_among_the_items_hides_nothing() {
        let body = br#"{"kind":"PodList","items":[{"metadata":{"name":"a"}},null,{"metadata":{"name":"c"}}]}"#;
        let pods = decode_in_chunks(Encoding::Json, body, 7).unwrap().items;
        assert_eq!(pods.iter().map(|pod| &*pod.metadata.name).collect::<Vec<_>>(), ["a", "", "c"]);
    }

    #[test]
    fn what_is_malformed_in_protobuf_says_which_object_it_is_in() {
        // The pod has a name, and a port that is not one.
        let pod = b"\x0a\x07\x0a\x05web-1\x12\x08\x12\x06\x32\x04\x18\x80\x80\x04";
        let list = [&[0x12, pod.len() as u8][..], pod].concat();
        let body = [b"k8s\0\x0a\x09\x12\x07PodList\x12", &[list.len() as u8][..], &list].concat();
        let Err(Error::MalformedResponse(message)) = decode_in_chunks(Encoding::Protobuf, &body, 7) else { panic!() };
        assert_eq!(message, "items[0] \"web-1\": spec.containers.ports.containerPort 65536 is not a port");
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
        let expected = "items[0]: metadata.creationTimestamp is \"yesterday\", not a time (RFC 3339)";
        assert!(message(time).starts_with(expected), "{}", message(time));
        let named = time.replace("\"metadata\":{", "\"metadata\":{\"name\":\"web-1\",");
        assert!(message(&named).starts_with("items[0] \"web-1\": metadata.creationTimestamp is"), "{}", message(&named));
        let deep = format!(r#"{{"kind":"PodList","items":[{{"spec":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let deep = decode_in_chunks(Encoding::Json, deep.as_bytes(), 7);
        assert!(matches!(deep, Err(Error::LimitExceeded(text)) if text.contains("nested deeper than 100")));
    }
}
