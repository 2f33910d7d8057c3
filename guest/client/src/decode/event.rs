//! A watch's events: `WatchEvent` in either encoding.

use super::json::{Within, scan};
use super::message::{self, Message};
use super::transcode::{from_json, from_json_event};
use super::{Encoding, JsonObject, json_alone, malformed, schema};
use crate::response;
use crate::types::{ChangeKind, Error, Pod};

/// The annotation of the bookmark that follows the last initial object.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A decoded event.
#[derive(Debug, PartialEq)]
pub enum Event<T> {
    /// An object changed.
    Object {
        /// How the object changed.
        kind: ChangeKind,
        /// The object.
        object: T,
        /// The object's resource version, from which to go on after this event.
        resource_version: String,
    },
    /// `BOOKMARK`.
    Bookmark {
        /// The resource version from which to go on.
        resource_version: String,
        /// Whether all initial objects have been sent.
        initial_events_end: bool,
    },
    /// An object that cannot be read, although its resource version can. The events after it may still be readable.
    Unreadable {
        /// What is wrong with it.
        error: Error,
        /// The resource version from which to go on after this event.
        resource_version: String,
    },
    /// Not an event of the server: the events between the last one and the next are missing.
    Cut,
}

/// Returns the kind of change that the API calls by this name.
pub fn change_kind(name: &str) -> Option<ChangeKind> {
    match name {
        "ADDED" => Some(ChangeKind::Added),
        "MODIFIED" => Some(ChangeKind::Modified),
        "DELETED" => Some(ChangeKind::Deleted),
        _ => None,
    }
}

/// Decodes an event about a pod. An `ERROR` is an error.
pub fn pod_event(encoding: Encoding, frame: &[u8]) -> Result<Event<Pod>, Error> {
    let (name, object) = Object::in_frame(encoding, frame)?;
    let kind = kind_of(&name, &object)?;
    let object: Pod = match (object.decode(Some("Pod")), kind) {
        (Ok(pod), _) => pod,
        (Err(error), Some(_)) if object.kind() == "Pod" => return object.unreadable(error),
        (Err(error), _) => return Err(error),
    };
    let (version, annotations) = (object.metadata.resource_version.clone(), &object.metadata.annotations);
    let end = is_initial_events_end(annotations);
    event(kind, version, end, || Ok(object))
}

/// Decodes an event about an object of any kind. An `ERROR` is an error.
pub fn json_event(encoding: Encoding, frame: &[u8]) -> Result<Event<JsonObject>, Error> {
    json_alone(encoding)?;
    let (name, object) = Object::in_frame(encoding, frame)?;
    let kind = kind_of(&name, &object)?;
    let schema::Versioned { metadata } = object.decode(None)?;
    event(kind, metadata.resource_version, is_initial_events_end(&metadata.annotations), || {
        let object = object_of(frame).ok_or_else(|| malformed("an event of the watch has no object"))?;
        Ok(JsonObject(object.into()))
    })
}

/// Returns the kind of an object's change; `None` for a bookmark.
fn kind_of(name: &str, object: &Object<'_>) -> Result<Option<ChangeKind>, Error> {
    match (name, change_kind(name)) {
        ("ERROR", _) => Err(response::event_failure(object.decode(Some("Status"))?)),
        ("BOOKMARK", _) => Ok(None),
        (_, Some(kind)) => Ok(Some(kind)),
        (name, None) => Err(malformed(format!("the watch has an event of type {name:?}"))),
    }
}

fn event<T>(
    kind: Option<ChangeKind>,
    resource_version: String,
    initial_events_end: bool,
    object: impl FnOnce() -> Result<T, Error>,
) -> Result<Event<T>, Error> {
    if resource_version.is_empty() {
        return Err(malformed("an event of the watch has no resource version"));
    }
    Ok(match kind {
        Some(kind) => Event::Object { kind, object: object()?, resource_version },
        None => Event::Bookmark { resource_version, initial_events_end },
    })
}

fn is_initial_events_end(annotations: &[(String, String)]) -> bool {
    annotations.iter().any(|(key, value)| key == INITIAL_EVENTS_END && value == "true")
}

/// Returns the text of an event's object. The event must be valid JSON, because it was decoded before. Of two objects, the last counts, as
/// everywhere else.
fn object_of(event: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut found) = (event.trim_ascii().strip_prefix(b"{")?, None);
    loop {
        let (key, after) = value(rest)?;
        let (value, after) = value(after.trim_ascii_start().strip_prefix(b":")?)?;
        // Servers do not spell a key with escapes.
        if key == b"\"object\"" {
            found = Some(value);
        }
        match after.trim_ascii_start().strip_prefix(b",") {
            Some(next) => rest = next,
            None => return found,
        }
    }
}

/// Splits off the JSON value at the beginning.
fn value(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let json = json.trim_ascii_start();
    let (end, open) = scan(json, 0, Within::BEGIN, false).ok()?;
    open.is_none().then(|| json.split_at(end))
}

/// An event's object that is not decoded yet.
enum Object<'a> {
    /// The event around the object, and the object's kind.
    Json(&'a [u8], String),
    Protobuf(schema::Unknown<'a>),
}

impl Object<'_> {
    /// Reads an event's type, and its object.
    fn in_frame(encoding: Encoding, frame: &[u8]) -> Result<(String, Object<'_>), Error> {
        let malformed = |e: String| malformed(format!("the watch's event: {e}"));
        match encoding {
            Encoding::Json => {
                let event: schema::TypedEvent = from_json(frame).map_err(malformed)?;
                Ok((event.name, Object::Json(frame, event.kind)))
            }
            Encoding::Protobuf => {
                let event = schema::WatchEvent::decode(frame).map_err(|e| malformed(e.to_string()))?;
                let Some(unknown) = event.raw.strip_prefix(schema::MAGIC) else {
                    return Err(malformed("its object does not begin with k8s\\0".into()));
                };
                let unknown = schema::Unknown::decode(unknown).map_err(|e| malformed(e.to_string()))?;
                Ok((event.name, Object::Protobuf(unknown)))
            }
        }
    }

    fn kind(&self) -> &str {
        match self {
            Object::Json(_, kind) => kind,
            Object::Protobuf(unknown) => &unknown.kind,
        }
    }

    /// Decodes the object, which must be of the expected kind, if there is one.
    fn decode<M: Message>(&self, expected: Option<&str>) -> Result<M, Error> {
        let kind = self.kind();
        if let Some(expected) = expected
            && kind != expected
        {
            return Err(malformed(format!("expected a watch's {expected}, got kind {kind:?}")));
        }
        self.read().map_err(|e| {
            let name = match self.read() {
                Ok(schema::Named { name }) if !name.is_empty() => format!(" {name:?}"),
                _ => String::new(),
            };
            malformed(format!("the event's object{name}: {e}"))
        })
    }

    /// Makes the event for an object that cannot be read. Returns the error if its resource version cannot be read, either.
    fn unreadable<T>(&self, error: Error) -> Result<Event<T>, Error> {
        match self.read() {
            Ok(schema::Versioned { metadata }) if !metadata.resource_version.is_empty() => {
                Ok(Event::Unreadable { error, resource_version: metadata.resource_version })
            }
            _ => Err(error),
        }
    }

    fn read<M: Message>(&self) -> Result<M, String> {
        match self {
            Object::Json(event, _) => from_json_event(event),
            Object::Protobuf(unknown) => message::decode(unknown.raw).map_err(|e| e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_handed_on_as_it_came() {
        let event = |json: &str| match json_event(Encoding::Json, json.as_bytes()) {
            Ok(Event::Object { object, .. }) => String::from_utf8(object.0).unwrap(),
            other => panic!("{json}: {other:?}"),
        };
        let object = r#"{"metadata" : {"resourceVersion":"7","a":"}\"{"},"n":1.50}"#;
        for json in [
            format!(r#"{{"type":"ADDED","object":{object}}}"#),
            format!(" {{ \"object\" :\n{object} , \"type\" : \"ADDED\" }} \n"),
            format!(r#"{{"x":[{{"object":1}}],"type":"ADDED","object":{object},"y":"object"}}"#),
        ] {
            assert_eq!(event(&json), object);
        }
        // Where an event has two objects, the resource version and the text are of the same one.
        assert_eq!(
            event(&format!(r#"{{"type":"ADDED","object":{{"metadata":{{"resourceVersion":"6"}}}},"object":{object}}}"#)),
            object
        );
        for no_event in [r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":7}"#, r#"{"type":"ADDED","object":{"metadata":{}}}"#]
        {
            assert!(matches!(json_event(Encoding::Json, no_event.as_bytes()), Err(Error::MalformedResponse(_))), "{no_event}");
        }
        assert!(matches!(json_event(Encoding::Protobuf, b"\x0a\x05ADDED"), Err(Error::MalformedResponse(_))));
    }

    /// A grace period that overflowed. The pod is being deleted all the same, in either encoding.
    #[test]
    fn a_pod_that_is_deleted_before_1970_is_being_deleted() {
        use k8s_pb::api::core::v1::Pod as Encoded;
        use k8s_pb::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time, WatchEvent};
        use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
        use prost::Message as _;
        const SECONDS: i64 = -7204204800;
        let json = br#"{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"name":"a","resourceVersion":"7","deletionTimestamp":"1741-09-16T00:00:00Z"}}}"#;
        let deletion_timestamp = Some(Time { seconds: Some(SECONDS), nanos: None });
        let (name, resource_version) = (Some("a".into()), Some("7".into()));
        let metadata = Some(ObjectMeta { name, resource_version, deletion_timestamp, ..ObjectMeta::default() });
        let raw = Some(Encoded { metadata, ..Encoded::default() }.encode_to_vec());
        let type_meta = Some(TypeMeta { api_version: None, kind: Some("Pod".into()) });
        let raw = Some([&b"k8s\0"[..], &Unknown { type_meta, raw, ..Unknown::default() }.encode_to_vec()].concat());
        let protobuf = WatchEvent { r#type: Some("MODIFIED".into()), object: Some(RawExtension { raw }) }.encode_to_vec();
        for (encoding, event) in [(Encoding::Json, &json[..]), (Encoding::Protobuf, &protobuf)] {
            let Ok(Event::Object { object, .. }) = pod_event(encoding, event) else { panic!("{encoding:?}") };
            assert_eq!(object.metadata.deletion_timestamp, Some(SECONDS), "{encoding:?}");
        }
    }

    /// Holds for either encoding.
    #[test]
    fn an_object_that_cannot_be_read_says_where_to_go_on() {
        let json = br#"{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"name":"web-1","resourceVersion":"7","creationTimestamp":"2025-08-2312:02:32Z"}}}"#;
        // A container's port of 70000, which is more than 65535.
        let metadata = b"\x0a\x0a\x0a\x05web-1\x32\x017";
        let spec = b"\x12\x08\x12\x06\x32\x04\x18\xf0\xa2\x04";
        let length = |bytes: &[u8]| [&[bytes.len() as u8], bytes].concat();
        let unknown = [&b"k8s\0\x0a\x05\x12\x03Pod\x12"[..], &length(&[&metadata[..], spec].concat())].concat();
        let protobuf = [&b"\x0a\x08MODIFIED\x12"[..], &length(&[&b"\x0a"[..], &length(&unknown)].concat())].concat();
        for (encoding, event) in [(Encoding::Json, &json[..]), (Encoding::Protobuf, &protobuf)] {
            match pod_event(encoding, event) {
                Ok(Event::Unreadable { error: Error::MalformedResponse(message), resource_version }) => {
                    assert!(message.contains("\"web-1\"") && resource_version == "7", "{encoding:?}: {message}");
                }
                other => panic!("{encoding:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_object_that_is_malformed_is_named() {
        let event = br#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"web-1","deletionTimestamp":"now"}}}"#;
        let Err(Error::MalformedResponse(message)) = pod_event(Encoding::Json, event) else { panic!() };
        let expected = "the event's object \"web-1\": object.metadata.deletionTimestamp is \"now\", not a time (RFC 3339)";
        assert!(message.starts_with(expected), "{message}");
    }
}
