//! Splits a JSON list while it arrives.
//!
//! Only the list's outermost object is parsed here: its keys, and where each value ends. The values are left to serde_json, one at a time.

use super::{MAX_DEPTH, MAX_OBJECT_BYTES, Part, malformed, object_too_large, too_deep};
use crate::types::Error;
use memchr::memchr2;
use serde::de::IgnoredAny;

/// The maximum length of a key in a list's outermost object.
const MAX_KEY_BYTES: usize = 256;

/// Finds the parts of `{"kind": …, "metadata": {…}, "items": [{…}, …]}` in a body that arrives in chunks.
pub struct Splitter {
    place: Place,
    /// The key whose value comes next, without its quotes.
    key: Vec<u8>,
    /// The beginning of a value that goes on in the next chunk.
    held: Vec<u8>,
    /// Whether `items` has been seen.
    items: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    FirstKeyOrEnd,
    KeyQuote,
    Key,
    Colon,
    BeforeValue,
    Value(Within),
    AfterValue,
    FirstItemOrEnd,
    BeforeItem,
    Item(Within),
    AfterItem,
    End,
}

/// The scan's state within a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Within {
    depth: u32,
    string: InString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    Escaped,
}

impl Within {
    /// The state before the first byte of a value.
    pub(super) const BEGIN: Within = Within { depth: 0, string: InString::No };
}

impl Default for Splitter {
    fn default() -> Self {
        Splitter { place: Place::Start, key: Vec::new(), held: Vec::new(), items: false }
    }
}

impl Splitter {
    /// Takes the next chunk, and hands on each part that it completes.
    pub fn push(&mut self, chunk: &[u8], on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut at = 0;
        while at < chunk.len() {
            match self.place {
                Place::Value(value) => at = self.value(chunk, at, value, false, on)?,
                Place::Item(value) => at = self.value(chunk, at, value, true, on)?,
                Place::Key => at = self.read_key(chunk, at)?,
                _ if matches!(chunk[at], b' ' | b'\t' | b'\r' | b'\n') => at += 1,
                _ => at = self.punctuation(chunk[at], at)?,
            }
        }
        Ok(())
    }

    /// Checks that the body ended where the list did.
    pub fn finish(&self) -> Result<(), Error> {
        match self.place {
            Place::End => Ok(()),
            Place::Start => Err(malformed("the body is empty")),
            _ => Err(malformed("the JSON ends before the list does")),
        }
    }

    /// Takes one byte between keys and values. Returns where to go on: at the byte itself if a value begins with it.
    fn punctuation(&mut self, byte: u8, at: usize) -> Result<usize, Error> {
        let begin = Within::BEGIN;
        let (next, consumed) = match (self.place, byte) {
            (Place::Start, b'{') => (Place::FirstKeyOrEnd, 1),
            (Place::FirstKeyOrEnd | Place::AfterValue, b'}') => (Place::End, 1),
            (Place::FirstKeyOrEnd | Place::KeyQuote, b'"') => {
                self.key.clear();
                (Place::Key, 1)
            }
            (Place::Colon, b':') => (Place::BeforeValue, 1),
            (Place::BeforeValue, b'[') if self.key == b"items" && self.items => {
                return Err(malformed("the JSON list has items twice"));
            }
            (Place::BeforeValue, b'[') if self.key == b"items" => {
                self.items = true;
                (Place::FirstItemOrEnd, 1)
            }
            (Place::BeforeValue, _) => (Place::Value(begin), 0),
            (Place::AfterValue, b',') => (Place::KeyQuote, 1),
            (Place::FirstItemOrEnd | Place::AfterItem, b']') => (Place::AfterValue, 1),
            (Place::FirstItemOrEnd | Place::BeforeItem, _) => (Place::Item(begin), 0),
            (Place::AfterItem, b',') => (Place::BeforeItem, 1),
            _ => return Err(malformed(format!("the JSON list has an unexpected {:?}", char::from(byte)))),
        };
        self.place = next;
        Ok(at + consumed)
    }

    fn read_key(&mut self, chunk: &[u8], from: usize) -> Result<usize, Error> {
        let rest = &chunk[from..];
        let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        self.key.extend_from_slice(&rest[..end]);
        let is_text = || !self.key.iter().any(u8::is_ascii_control) && std::str::from_utf8(&self.key).is_ok();
        if self.key.len() > MAX_KEY_BYTES || rest.get(end) == Some(&b'\\') || end < rest.len() && !is_text() {
            return Err(malformed("the JSON list has an invalid key"));
        }
        if end < rest.len() {
            self.place = Place::Colon;
        }
        Ok((from + end + 1).min(chunk.len()))
    }

    /// Goes on in a value, to its end or the chunk's.
    fn value(
        &mut self,
        chunk: &[u8],
        from: usize,
        value: Within,
        item: bool,
        on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let begun = !self.held.is_empty();
        let (end, state) = scan(chunk, from, value, begun)?;
        let bytes = &chunk[from..end];
        if self.held.len() + bytes.len() > MAX_OBJECT_BYTES {
            return Err(object_too_large());
        }
        let Some(state) = state else {
            self.place = if item { Place::AfterItem } else { Place::AfterValue };
            let held = std::mem::take(&mut self.held);
            let whole = if begun { &[&held, bytes].concat() } else { bytes };
            if whole.is_empty() {
                return Err(malformed("the JSON list has a value without content"));
            }
            return self.hand_on(whole, item, on).map(|()| end);
        };
        self.held.extend_from_slice(bytes);
        self.place = if item { Place::Item(state) } else { Place::Value(state) };
        Ok(end)
    }

    fn hand_on(&self, value: &[u8], item: bool, on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        match &*self.key {
            _ if item => on(Part::Item(value)),
            _ if value == b"null" => Ok(()),
            b"metadata" => on(Part::Metadata(value)),
            b"items" => Err(malformed("the list's items are not an array")),
            b"kind" | b"apiVersion" => {
                check(value)?;
                let text = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
                on(if self.key == b"kind" { Part::Kind(text) } else { Part::ApiVersion(text) })
            }
            // The value is not wanted, but it must be JSON.
            _ => check(value),
        }
    }
}

fn check(json: &[u8]) -> Result<(), Error> {
    serde_json::from_slice::<IgnoredAny>(json).map(drop).map_err(|e| malformed(format!("the list: {e}")))
}

/// Scans from `at` for the end of a value. Returns the place after it and `None`, or the state at the chunk's end.
pub(super) fn scan(chunk: &[u8], mut at: usize, mut value: Within, mut begun: bool) -> Result<(usize, Option<Within>), Error> {
    while at < chunk.len() {
        let byte = chunk[at];
        match value.string {
            InString::Escaped => value.string = InString::Yes,
            InString::Yes => match memchr2(b'"', b'\\', &chunk[at..]) {
                None => return Ok((chunk.len(), Some(value))),
                Some(skip) => {
                    at += skip;
                    let closes = chunk[at] == b'"';
                    value.string = if closes { InString::No } else { InString::Escaped };
                    if closes && value.depth == 0 {
                        return Ok((at + 1, None));
                    }
                }
            },
            InString::No => match byte {
                // A string or container after a scalar, at the top level: serde_json will refuse it.
                b'"' => value.string = InString::Yes,
                b'{' | b'[' if value.depth == MAX_DEPTH => return Err(too_deep()),
                b'{' | b'[' => value.depth += 1,
                b'}' | b']' | b',' if value.depth == 0 => return Ok((at, None)),
                b'}' | b']' => {
                    value.depth -= 1;
                    if value.depth == 0 {
                        return Ok((at + 1, None));
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' if value.depth == 0 && begun => return Ok((at, None)),
                _ => {}
            },
        }
        begun = true;
        at += 1;
    }
    Ok((at, Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a body that arrives in chunks of `size`.
    fn parts(body: &str, size: usize) -> Result<Vec<String>, Error> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for chunk in body.as_bytes().chunks(size) {
            splitter.push(chunk, &mut |part| {
                let (name, bytes) = match part {
                    Part::Kind(bytes) => ("kind", bytes),
                    Part::ApiVersion(bytes) => ("apiVersion", bytes),
                    Part::Metadata(bytes) => ("metadata", bytes),
                    Part::Item(bytes) => ("item", bytes),
                };
                found.push(format!("{name} {}", String::from_utf8_lossy(bytes)));
                Ok(())
            })?;
        }
        splitter.finish().map(|()| found)
    }

    #[test]
    fn finds_the_parts_however_the_body_is_cut() {
        let body = " { \"kind\" : \"PodList\",\"extra\":[1,{\"a\":\"]\"}], \"n\": 12 ,\"t\":true,\n\
                    \"metadata\":{\"a\":\"}\\\"\\\\\"},\"items\":[ {\"x\":[[]]} ,{\"y\":\"{[\"},7 , \"s\"] } \n";
        for size in 1..=body.len() {
            assert_eq!(
                parts(body, size).unwrap(),
                [
                    "kind PodList",
                    "metadata {\"a\":\"}\\\"\\\\\"}",
                    "item {\"x\":[[]]}",
                    "item {\"y\":\"{[\"}",
                    "item 7",
                    "item \"s\""
                ],
                "in chunks of {size}"
            );
        }
    }

    #[test]
    fn lists_without_items() {
        for body in ["{}", r#"{"items":[]}"#, r#"{"items":null}"#, r#"{"items": [ ] , "x":{} }"#] {
            assert_eq!(parts(body, 3).unwrap(), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn what_is_not_a_list_is_refused_in_any_chunks() {
        for body in [
            "",
            " ",
            "null",
            "[]",
            "{",
            r#"{"items":["#,
            r#"{"items":[{}"#,
            r#"{"items":[{},"#,
            r#"{"items":[,]}"#,
            r#"{"items":[{} {}]}"#,
            r#"{"items":{}}"#,
            r#"{"items":7}"#,
            r#"{"kind"}"#,
            r#"{"kind":}"#,
            r#"{"kind":,}"#,
            r#"{"kind":"a"]"#,
            "{}}",
            "{} x",
            r#"{"a\u0062":1}"#,
            r#"{"a":1,}"#,
            "{,}",
            r#"{"a":"b"#,
            r#"{"x":garbage,"items":[]}"#,
            r#"{"x":12{nonsense},"items":[]}"#,
            r#"{"x":[},"items":[]}"#,
            r#"{"items":[],"items":[]}"#,
            "<html>",
            "k8s\0",
        ] {
            for size in [1, 2, 1024] {
                assert!(matches!(parts(body, size), Err(Error::MalformedResponse(_))), "{body} in chunks of {size}");
            }
        }
    }

    #[test]
    fn an_object_without_end_is_given_up() {
        let mut splitter = Splitter::default();
        splitter.push(br#"{"items":[{"a":""#, &mut |_| Ok(())).unwrap();
        let chunk = vec![b'a'; 1 << 20];
        let error = (0..=MAX_OBJECT_BYTES >> 20).find_map(|_| splitter.push(&chunk, &mut |_| Ok(())).err());
        assert!(matches!(error, Some(Error::LimitExceeded(_))));
    }
}
