//! Fuzz targets for the bodies of lists and watches. The result must not depend on how a body is cut into chunks, whatever it contains.

use incluster_client::decode::{Encoding, Event, Frames, ListDecoder, pod_event};
use incluster_client::types::{Error, Pod, PodList};
use serde::de::IgnoredAny;

/// Decodes a list in JSON. Only valid JSON may be accepted.
pub fn json_list(data: &[u8]) {
    let list = list(Encoding::Json, data);
    assert!(list.is_err() || serde_json::from_slice::<IgnoredAny>(data).is_ok(), "a list that is not JSON was accepted");
}

/// Decodes a list in protobuf.
pub fn protobuf_list(data: &[u8]) {
    _ = list(Encoding::Protobuf, data);
}

/// Decodes a watch's events in JSON.
pub fn watch_json(data: &[u8]) {
    watch(Encoding::Json, data);
}

/// Decodes a watch's events in protobuf.
pub fn watch_protobuf(data: &[u8]) {
    watch(Encoding::Protobuf, data);
}

fn list(encoding: Encoding, data: &[u8]) -> Result<PodList, Error> {
    let decode = |chunks: &[&[u8]]| {
        let mut decoder = ListDecoder::<Pod>::new(encoding);
        chunks.iter().try_for_each(|chunk| decoder.push(chunk)).and_then(|()| decoder.finish()).map(PodList::from)
    };
    let whole = decode(&[data]);
    assert_eq!(whole, decode(&pieces(data)), "the result depends on the chunks");
    whole
}

fn watch(encoding: Encoding, data: &[u8]) {
    let decode = |chunks: &[&[u8]]| {
        let (mut frames, mut events) = (Frames::new(encoding), Vec::new());
        let end = chunks.iter().try_for_each(|chunk| frames.push(chunk, &mut |frame| events.push(pod_event(encoding, frame))));
        (events, end)
    };
    let whole = decode(&[data]);
    assert_eq!(whole, decode(&pieces(data)), "the result depends on the chunks");
    whole.0.iter().flatten().for_each(can_go_on);
}

/// Asserts that an event has a resource version, because a watch goes on after it.
fn can_go_on(event: &Event<Pod>) {
    match event {
        Event::Object { object, resource_version, .. } => {
            assert!(!resource_version.is_empty() && object.metadata.resource_version == *resource_version);
        }
        Event::Bookmark { resource_version, .. } | Event::Unreadable { resource_version, .. } => assert!(!resource_version.is_empty()),
        Event::Cut => panic!("a decoder returned `Cut`, which only a client makes"),
    }
}

/// Cuts the input at places that are computed from its bytes, so that a changed input is cut elsewhere.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    // The seed is the FNV-1a hash of the input; xorshift makes the lengths from it.
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let mut random = hash | 1;
    let longest = 1 << (random >> 60);
    let mut pieces = Vec::new();
    while !data.is_empty() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let size = 1 + (random >> 32) as usize % longest;
        let (piece, rest) = data.split_at(size.min(data.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}
