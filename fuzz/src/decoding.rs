//! Bodies of lists and watches. How a body is cut into chunks must not matter, whatever is in it.

use incluster_client::decode::{Encoding, Event, Frames, ListDecoder, pod_event};
use incluster_client::types::{Error, Pod, PodList};
use serde::de::IgnoredAny;

/// A list in JSON. What is taken, has to be JSON.
pub fn json_list(data: &[u8]) {
    let list = list(Encoding::Json, data);
    assert!(list.is_err() || serde_json::from_slice::<IgnoredAny>(data).is_ok(), "it is no JSON, and was taken");
}

/// A list in protobuf.
pub fn protobuf_list(data: &[u8]) {
    _ = list(Encoding::Protobuf, data);
}

/// A watch's events in JSON.
pub fn watch_json(data: &[u8]) {
    watch(Encoding::Json, data);
}

/// A watch's events in protobuf.
pub fn watch_protobuf(data: &[u8]) {
    watch(Encoding::Protobuf, data);
}

fn list(encoding: Encoding, data: &[u8]) -> Result<PodList, Error> {
    let decode = |chunks: &[&[u8]]| {
        let mut decoder = ListDecoder::<Pod>::new(encoding);
        chunks.iter().try_for_each(|chunk| decoder.push(chunk)).and_then(|()| decoder.finish()).map(PodList::from)
    };
    let whole = decode(&[data]);
    assert_eq!(whole, decode(&pieces(data)), "in chunks");
    whole
}

fn watch(encoding: Encoding, data: &[u8]) {
    let decode = |chunks: &[&[u8]]| {
        let (mut frames, mut events) = (Frames::new(encoding), Vec::new());
        let end = chunks.iter().try_for_each(|chunk| frames.push(chunk, &mut |frame| events.push(pod_event(encoding, frame))));
        (events, end)
    };
    let whole = decode(&[data]);
    assert_eq!(whole, decode(&pieces(data)), "in chunks");
    whole.0.iter().flatten().for_each(can_go_on);
}

/// A watch goes on after an event, which therefore says where.
fn can_go_on(event: &Event<Pod>) {
    match event {
        Event::Object { object, resource_version, .. } => {
            assert!(!resource_version.is_empty() && object.metadata.resource_version == *resource_version);
        }
        Event::Bookmark { resource_version, .. } | Event::Unreadable { resource_version, .. } => assert!(!resource_version.is_empty()),
        Event::Cut => panic!("only a client cuts"),
    }
}

/// Cuts the input at places that follow from its bytes, so that every change of it is cut elsewhere.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    // FNV-1a, then xorshift.
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
