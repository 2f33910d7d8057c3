//! Splits a watch's body while it arrives: one frame for each event.
//!
//! In JSON, events follow each other, one per line. In protobuf, each has its length before it: 4 bytes, big-endian.

use super::json::{Within, scan};
use super::{Encoding, MAX_OBJECT_BYTES, malformed, object_too_large};
use crate::types::Error;

/// The number of bytes of a frame's length in protobuf.
const LENGTH_BYTES: usize = 4;

/// Finds the events in a watch's body, which arrives in chunks.
pub struct Frames {
    encoding: Encoding,
    /// The beginning of a frame that goes on in the next chunk.
    held: Vec<u8>,
    /// How far into a JSON value the held bytes reach.
    value: Within,
}

impl Frames {
    /// Makes frames for a body in this encoding.
    pub fn new(encoding: Encoding) -> Frames {
        Frames { encoding, held: Vec::new(), value: Within::BEGIN }
    }

    /// Takes the next chunk, and hands on each frame that it completes. An incomplete frame at the end of the body is dropped.
    pub fn push(&mut self, mut chunk: &[u8], on: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        while !chunk.is_empty() {
            chunk = match self.encoding {
                Encoding::Json => self.json(chunk, on)?,
                Encoding::Protobuf => self.protobuf(chunk, on)?,
            };
        }
        Ok(())
    }

    fn json<'a>(&mut self, chunk: &'a [u8], on: &mut dyn FnMut(&[u8])) -> Result<&'a [u8], Error> {
        let begun = !self.held.is_empty();
        match chunk[0] {
            b' ' | b'\t' | b'\r' | b'\n' if !begun => return Ok(&chunk[1..]),
            b'{' => {}
            _ if begun => {}
            byte => return Err(malformed(format!("the watch has an unexpected {:?}", char::from(byte)))),
        }
        let (end, value) = scan(chunk, 0, self.value, begun)?;
        self.hold(&chunk[..end])?;
        match value {
            Some(value) => self.value = value,
            None => {
                self.value = Within::BEGIN;
                on(&std::mem::take(&mut self.held));
            }
        }
        Ok(&chunk[end..])
    }

    fn protobuf<'a>(&mut self, chunk: &'a [u8], on: &mut dyn FnMut(&[u8])) -> Result<&'a [u8], Error> {
        let Some((length, content)) = self.held.split_first_chunk::<LENGTH_BYTES>() else {
            let (bytes, rest) = chunk.split_at(chunk.len().min(LENGTH_BYTES - self.held.len()));
            self.hold(bytes)?;
            return Ok(rest);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_OBJECT_BYTES {
            return Err(object_too_large());
        }
        let (bytes, rest) = chunk.split_at(chunk.len().min(length - content.len()));
        self.held.extend_from_slice(bytes);
        if self.held.len() == LENGTH_BYTES + length {
            on(&self.held[LENGTH_BYTES..]);
            self.held.clear();
        }
        Ok(rest)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.held.len() + bytes.len() > MAX_OBJECT_BYTES {
            return Err(object_too_large());
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Exchange;
    use super::super::{Event, pod_event};
    use super::*;
    use crate::types::{ChangeKind, Pod};

    fn frames(encoding: Encoding, body: &[u8], size: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut frames = Frames::new(encoding);
        let mut found = Vec::new();
        body.chunks(size).try_for_each(|chunk| frames.push(chunk, &mut |frame| found.push(frame.to_vec())))?;
        Ok(found)
    }

    fn recorded(name: &str, size: usize) -> Vec<Event<Pod>> {
        results(name, size).into_iter().map(Result::unwrap).collect()
    }

    fn results(name: &str, size: usize) -> Vec<Result<Event<Pod>, Error>> {
        let exchange = Exchange::read(name);
        let encoding = crate::response::success(&exchange.head).unwrap().unwrap();
        let frames = frames(encoding, &exchange.body, size).unwrap();
        frames.iter().map(|frame| pod_event(encoding, frame)).collect()
    }

    #[test]
    fn recorded_changes() {
        let events = recorded("watch-changes", 1000);
        let kinds: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Object { kind, object, resource_version } => {
                    assert_eq!(*resource_version, object.metadata.resource_version);
                    Some(*kind)
                }
                Event::Bookmark { initial_events_end: false, .. } => None,
                other => panic!("{other:?}"),
            })
            .collect();
        let (added, modified, deleted) = (Some(ChangeKind::Added), Some(ChangeKind::Modified), Some(ChangeKind::Deleted));
        assert_eq!(kinds, [modified, added, modified, deleted, None]);
    }

    #[test]
    fn both_encodings_say_the_same_however_they_are_cut() {
        let (json, protobuf) = (recorded("watch-initial", 1 << 20), recorded("watch-initial-protobuf", 1 << 20));
        let by_name = |events: &[Event<Pod>]| {
            let mut pods: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
            pods.sort();
            pods
        };
        assert_eq!(json.len(), 7);
        assert_eq!(by_name(&json), by_name(&protobuf));
        for size in [1, 3, 4, 5, 1000, 4096] {
            assert_eq!(recorded("watch-initial", size), json, "{size}");
            assert_eq!(recorded("watch-initial-protobuf", size), protobuf, "{size}");
        }
    }

    #[test]
    fn a_recorded_error() {
        let [Err(Error::Expired(expired))] = &results("watch-rv-expired", 9)[..] else { panic!() };
        assert_eq!(expired.message, "too old resource version: 3 (10409)");
    }

    #[test]
    fn what_is_not_a_frame_is_refused() {
        for body in ["7", "[]", "{} 7", "{}]", "\"{}\"", "<html>"] {
            assert!(matches!(frames(Encoding::Json, body.as_bytes(), 1), Err(Error::MalformedResponse(_))), "{body}");
        }
        let deep = "{\"a\":".repeat(101);
        assert!(matches!(frames(Encoding::Json, deep.as_bytes(), 64), Err(Error::LimitExceeded(_))));
        assert!(matches!(frames(Encoding::Protobuf, b"\xff\xff\xff\xff....", 3), Err(Error::LimitExceeded(_))));
        assert_eq!(frames(Encoding::Protobuf, b"\0\0\0\x01a\0\0\0\x01", 2).unwrap(), [b"a"]);
        let endless = vec![b'a'; 1 << 20];
        let mut frames = Frames::new(Encoding::Json);
        frames.push(b"{\"", &mut |_| {}).unwrap();
        assert!((0..=16).find_map(|_| frames.push(&endless, &mut |_| {}).err()).is_some());
    }

    #[test]
    fn what_is_not_an_event_is_refused() {
        let metadata = r#""metadata":{"name":"a","resourceVersion":"7"}"#;
        for event in [
            "{}".to_string(),
            r#"{"type":"ADDED"}"#.into(),
            r#"{"type":"ADDED","object":{"kind":"Pod"}}"#.into(),
            format!(r#"{{"type":"ADDED","object":{{"kind":"Node",{metadata}}}}}"#),
            format!(r#"{{"type":"CHANGED","object":{{"kind":"Pod",{metadata}}}}}"#),
            r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{}}}"#.into(),
            format!(r#"{{"type":"ERROR","object":{{"kind":"Pod",{metadata}}}}}"#),
            r#"{"kind":"Status","status":"Failure","code":410}"#.into(),
            r#"{"type":7,"object":{}}"#.into(),
        ] {
            let decoded = pod_event(Encoding::Json, event.as_bytes());
            assert!(matches!(decoded, Err(Error::MalformedResponse(_))), "{event}: {decoded:?}");
        }
        for event in [&b""[..], b"\x0a\x05ADDED", b"\x0a\x05ADDED\x12\x05\x0a\x03k8s", b"\xff"] {
            assert!(pod_event(Encoding::Protobuf, event).is_err(), "{event:?}");
        }
    }
}
