//! Decodes bodies into records. A body is taken as its chunks arrive, and only one object's bytes are held at a time.

#[cfg(test)]
mod any_pod;
mod event;
#[cfg(test)]
pub(crate) mod fixtures;
mod frames;
pub mod json;
mod list;
mod message;
mod object;
mod pod;
#[cfg(test)]
mod properties;
mod protobuf;
pub(crate) mod schema;
#[cfg(test)]
mod test_pods;
pub(crate) mod transcode;
pub mod unicode;
pub(crate) mod wire;

pub use event::{Event, change_kind, pod_event};
pub use frames::Frames;
pub use list::{ListDecoder, Listed};
pub(crate) use message::decode;
pub use object::{JsonObject, Object};

use crate::types::Error;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// The maximum size of an object: 16 MiB. etcd stores at most 1.5 MiB of one, unless it was configured otherwise.
pub const MAX_OBJECT_BYTES: usize = 16 << 20;

/// The maximum number of items in an answer: 100,000, which is 20 times what one etcd request returns at its usual limits.
pub const MAX_ITEMS: usize = 100_000;

/// The maximum depth of nested JSON. Kubernetes's own objects reach about 20.
pub const MAX_DEPTH: u32 = 100;

/// A part of a list, as its body is split.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// `apiVersion`, which is needed for objects without a record.
    ApiVersion(&'a [u8]),
    /// `kind`: the kind of the list.
    Kind(&'a [u8]),
    /// The list's `metadata`, encoded.
    Metadata(&'a [u8]),
    /// One of `items`, encoded.
    Item(&'a [u8]),
}

pub(crate) fn malformed(what: impl std::fmt::Display) -> Error {
    Error::MalformedResponse(what.to_string())
}

/// Accepts only JSON, for objects that have no record.
pub(crate) fn json_alone(encoding: Encoding) -> Result<(), Error> {
    match encoding {
        Encoding::Json => Ok(()),
        Encoding::Protobuf => Err(malformed("the answer is protobuf, not JSON")),
    }
}

pub(crate) fn too_deep() -> Error {
    Error::LimitExceeded(format!("the JSON is nested deeper than {MAX_DEPTH}"))
}

pub(crate) fn object_too_large() -> Error {
    Error::LimitExceeded(format!("an object has more than {MAX_OBJECT_BYTES} bytes"))
}
