//! A watch's events: `WatchEvent` in either encoding.

use super::message::{self, Message};
use super::transcode::{from_json, from_json_event};
use super::{Encoding, malformed, schema};
use crate::response;
use crate::types::{ChangeKind, Error, Pod};

/// What a bookmark is annotated with when all objects that there are have been sent.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What an event says.
#[derive(Debug, PartialEq)]
pub enum Event<T> {
    /// An object changed.
    Object {
        /// How.
        kind: ChangeKind,
        /// The object.
        object: T,
        /// Its resource version: where to go on after this event.
        resource_version: String,
    },
    /// `BOOKMARK`.
    Bookmark {
        /// Where to go on.
        resource_version: String,
        /// Whether the objects that there are have all been sent.
        initial_events_end: bool,
    },
    /// Not the server's: the events between the last one and the next are missing.
    Cut,
}

/// By the API's name.
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
    if name == "ERROR" {
        let status: schema::Status = object.decode("Status")?;
        return Err(Error::Api(response::event_status(status)));
    }
    let kind = change_kind(&name);
    if kind.is_none() && name != "BOOKMARK" {
        return Err(malformed(format!("the watch has an event of type {name:?}")));
    }
    let object: Pod = object.decode("Pod")?;
    let resource_version = object.metadata.resource_version.clone();
    if resource_version.is_empty() {
        return Err(malformed("an event of the watch has no resource version, from which to go on"));
    }
    Ok(match kind {
        Some(kind) => Event::Object { kind, object, resource_version },
        None => {
            let end = object.metadata.annotations.iter().any(|(key, value)| key == INITIAL_EVENTS_END && value == "true");
            Event::Bookmark { resource_version, initial_events_end: end }
        }
    })
}

/// An event's object, not decoded yet.
enum Object<'a> {
    /// The event around it, and what kind the object is.
    Json(&'a [u8], String),
    Protobuf(schema::Unknown<'a>),
}

impl Object<'_> {
    /// The event's type, and its object.
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

    fn decode<M: Message>(&self, expected: &str) -> Result<M, Error> {
        let kind = match self {
            Object::Json(_, kind) => kind,
            Object::Protobuf(unknown) => &unknown.kind,
        };
        if kind != expected {
            return Err(malformed(format!("expected a watch's {expected}, got kind {kind:?}")));
        }
        let decoded = match self {
            Object::Json(event, _) => from_json_event(event),
            Object::Protobuf(unknown) => message::decode(unknown.raw).map_err(|e| e.to_string()),
        };
        decoded.map_err(|e| malformed(format!("the event's object: {e}")))
    }
}
