//! The objects of lists and watches: pods as records, or objects of any kind as JSON.

use super::event::{Event, json_event, pod_event};
use super::message::{self, Message};
use super::transcode::from_json;
use super::{Encoding, json_alone, schema};
use crate::request::{JSON, PROTOBUF_OR_JSON};
use crate::types::{Error, Pod};

/// An object of a list or a watch.
pub trait Object: Sized + 'static {
    /// The encodings that it may come in: the header `Accept`.
    const ACCEPT: &'static str;
    /// The end of the `kind` of a list of these objects; all of it if they are of one kind.
    const LIST_KIND: &'static str;
    /// The word for several of these objects.
    const PLURAL: &'static str;

    /// Checks that the object may come in this encoding.
    fn takes(_: Encoding) -> Result<(), Error> {
        Ok(())
    }
    /// Decodes an item of a list.
    fn of_list(encoding: Encoding, item: &[u8]) -> Result<Self, String>;
    /// Decodes an event of a watch. An `ERROR` is an error.
    fn event(encoding: Encoding, frame: &[u8]) -> Result<Event<Self>, Error>;
}

impl Object for Pod {
    const ACCEPT: &'static str = PROTOBUF_OR_JSON;
    const LIST_KIND: &'static str = "PodList";
    const PLURAL: &'static str = "pods";

    fn of_list(encoding: Encoding, item: &[u8]) -> Result<Pod, String> {
        decode(encoding, item)
    }

    fn event(encoding: Encoding, frame: &[u8]) -> Result<Event<Pod>, Error> {
        pod_event(encoding, frame)
    }
}

/// An object of any kind: the JSON that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonObject(pub Vec<u8>);

impl Object for JsonObject {
    const ACCEPT: &'static str = JSON;
    const LIST_KIND: &'static str = "List";
    const PLURAL: &'static str = "objects";

    fn takes(encoding: Encoding) -> Result<(), Error> {
        json_alone(encoding)
    }

    /// Checks only that the item is an object, and JSON.
    fn of_list(_: Encoding, item: &[u8]) -> Result<JsonObject, String> {
        from_json::<schema::Typed>(item).map(|_| JsonObject(item.into()))
    }

    fn event(encoding: Encoding, frame: &[u8]) -> Result<Event<JsonObject>, Error> {
        json_event(encoding, frame)
    }
}

/// The name of an object that cannot be decoded, for an error's text: ` "web-0"`.
pub fn name_of(encoding: Encoding, bytes: &[u8]) -> String {
    match decode(encoding, bytes) {
        Ok(schema::Named { name }) if !name.is_empty() => format!(" {name:?}"),
        _ => String::new(),
    }
}

/// Decodes a message from either encoding.
pub fn decode<M: Message>(encoding: Encoding, bytes: &[u8]) -> Result<M, String> {
    match encoding {
        Encoding::Json => from_json(bytes),
        Encoding::Protobuf => message::decode(bytes).map_err(|e| e.to_string()),
    }
}
