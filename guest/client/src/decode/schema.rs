//! Messages other than pods: those around pods, and failures. As in [`super::pod`], there is one field per line. The numbers are from
//! `generated.proto` in `k8s.io/apimachinery/pkg/apis/meta/v1` and `k8s.io/apimachinery/pkg/runtime`.

use super::message::{Int32, Int64, Known, Many, Map, Message, One, OneAs, Put, Text, messages, text};
use super::transcode::Field;
use super::wire::{Invalid, Value, bytes, fields};
use crate::types::{StatusCause, StatusDetails};

/// The beginning of a protobuf body.
pub const MAGIC: &[u8] = b"k8s\0";

/// A list's own metadata.
#[derive(Clone, Debug, Default)]
pub struct ListMeta {
    /// `resourceVersion`.
    pub resource_version: String,
    /// `continue`.
    pub continue_token: Option<String>,
    /// `remainingItemCount`.
    pub remaining_item_count: Option<u64>,
}

/// `Status`, as the server sends it.
#[derive(Default)]
pub struct Status {
    /// `metadata`.
    pub metadata: ListMeta,
    /// `status`: `Failure`.
    pub status: Option<String>,
    /// `message`.
    pub message: Option<String>,
    /// `reason`.
    pub reason: Option<String>,
    /// `details`.
    pub details: Details,
    /// `code`: the HTTP status code.
    pub code: Option<i32>,
}

/// `StatusDetails`: the record, and a field that goes elsewhere.
#[derive(Default)]
pub struct Details {
    /// All other fields.
    pub details: StatusDetails,
    /// `retryAfterSeconds`.
    pub retry_after_seconds: Option<i32>,
}

/// A watch's event in JSON, with no more than its type and its object's kind.
#[derive(Default)]
pub struct TypedEvent {
    /// `type`: what happened to the object.
    pub name: String,
    /// `object.kind`.
    pub kind: String,
}

/// Any object, with no more than its name.
#[derive(Default)]
pub struct Named {
    /// `metadata.name`.
    pub name: String,
}

/// An event's object in JSON, with no more than its position in the course of events.
#[derive(Default)]
pub struct Versioned {
    /// `metadata`.
    pub metadata: VersionedMeta,
}

/// `ObjectMeta`, with no more than a [`Versioned`] needs.
#[derive(Default)]
pub struct VersionedMeta {
    /// `resourceVersion`.
    pub resource_version: String,
    /// `annotations`.
    pub annotations: Vec<(String, String)>,
}

/// Any object, with no more than its kind.
#[derive(Default)]
pub struct Typed {
    kind: String,
}

/// An object's `metadata`, with no more than the name.
#[derive(Default)]
pub struct Name {
    name: String,
}

impl From<Name> for String {
    fn from(Name { name }: Name) -> String {
        name
    }
}

impl From<Typed> for String {
    fn from(Typed { kind }: Typed) -> String {
        kind
    }
}

messages! {
    ListMeta {
        2 "resourceVersion" => resource_version: Text,
        3 "continue" => continue_token: Text,
        4 "remainingItemCount" => remaining_item_count: Int64,
    }
    Status {
        1 "metadata" => metadata: One<ListMeta>,
        2 "status" => status: Text,
        3 "message" => message: Text,
        4 "reason" => reason: Text,
        5 "details" => details: One<Details>,
        6 "code" => code: Int32,
    }
    Details {
        1 "name" => details.name: Text,
        2 "group" => details.group: Text,
        3 "kind" => details.kind: Text,
        4 "causes" => details.causes: Many<StatusCause>,
        5 "retryAfterSeconds" => retry_after_seconds: Int32,
        6 "uid" => details.uid: Text,
    }
    StatusCause {
        1 "reason" => reason: Text,
        2 "message" => message: Text,
        3 "field" => field: Text,
    }
    TypedEvent {
        1 "type" => name: Text,
        2 "object" => kind: OneAs<Typed>,
    }
    Typed {
        2 "kind" => kind: Text,
    }
    Named {
        1 "metadata" => name: OneAs<Name>,
    }
    Name {
        1 "name" => name: Text,
    }
    Versioned {
        1 "metadata" => metadata: One<VersionedMeta>,
    }
    VersionedMeta {
        6 "resourceVersion" => resource_version: Text,
        12 "annotations" => annotations: Map,
    }
}

/// An object in protobuf (`runtime.Unknown`), not decoded yet.
#[derive(Default)]
pub struct Unknown<'a> {
    /// Its `kind`.
    pub kind: String,
    /// The object.
    pub raw: &'a [u8],
}

impl Unknown<'_> {
    /// Decodes what follows the [`MAGIC`].
    pub fn decode(message: &[u8]) -> Result<Unknown<'_>, Invalid> {
        let mut unknown = Unknown::default();
        fields(message, &[], &mut |number, value| {
            match number {
                1 => unknown.kind = kind(bytes(value)?)?,
                2 => unknown.raw = bytes(value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(unknown)
    }
}

/// The kind that a `runtime.TypeMeta` names.
pub fn kind(type_meta: &[u8]) -> Result<String, Invalid> {
    let mut kind = String::new();
    fields(type_meta, &[], &mut |number, value| {
        if number == 2 {
            kind = text(value)?;
        }
        Ok(())
    })?;
    Ok(kind)
}

/// A watch's event in protobuf (`WatchEvent`), its object not decoded yet.
#[derive(Default)]
pub struct WatchEvent<'a> {
    /// `type`: what happened to the object.
    pub name: String,
    /// `object.raw`: the [`MAGIC`], and an [`Unknown`].
    pub raw: &'a [u8],
}

impl WatchEvent<'_> {
    /// Decodes a frame of the watch's body.
    pub fn decode(frame: &[u8]) -> Result<WatchEvent<'_>, Invalid> {
        let mut event = WatchEvent::default();
        fields(frame, &[], &mut |number, value| match number {
            1 => text(value).map(|name| event.name = name),
            2 => fields(bytes(value)?, &[], &mut |number, value| {
                if number == 1 {
                    event.raw = bytes(value)?;
                }
                Ok(())
            }),
            _ => Ok(()),
        })?;
        Ok(event)
    }
}
