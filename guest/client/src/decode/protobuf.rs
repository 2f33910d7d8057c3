//! Splits a protobuf list while it arrives.
//!
//! The layout: `k8s\0`, then `runtime.Unknown { 1: TypeMeta { 2: kind }, 2: raw }`, where `raw` is the list, `{ 1: ListMeta, 2: repeated
//! items }`. Fields with other numbers are skipped.

use super::wire::varint;
use super::{MAX_OBJECT_BYTES, Part, malformed, object_too_large, schema};
use crate::types::Error;

/// The maximum length of a field's header: two varints of at most 10 bytes.
const MAX_HEADER_BYTES: usize = 20;

/// Finds the parts of a list in a body that arrives in chunks.
pub struct Splitter {
    state: State,
    /// The number of bytes of `Unknown.raw` that are still to come; `None` outside of it.
    raw_left: Option<u64>,
    /// The beginning of a field's header or content that goes on in the next chunk.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Magic,
    Header,
    Content { field: Field, left: usize },
    Skip { left: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    TypeMeta,
    ContentEncoding,
    Metadata,
    Item,
}

/// The meaning of a field's header.
enum Header {
    Skip(u64),
    Raw(u64),
    Content(Field, u64),
}

impl Default for Splitter {
    fn default() -> Self {
        Splitter { state: State::Magic, raw_left: None, held: Vec::new() }
    }
}

impl Splitter {
    /// Takes the next chunk, and hands on each part that it completes.
    pub fn push(&mut self, mut chunk: &[u8], on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        while !chunk.is_empty() {
            chunk = match self.state {
                State::Magic => self.magic(chunk)?,
                State::Header => self.header(chunk, on)?,
                State::Content { field, left } => self.content(chunk, field, left, on)?,
                State::Skip { left } => self.skip(chunk, left),
            };
        }
        Ok(())
    }

    /// Checks that the body ended where the list did.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Header if self.held.is_empty() && self.raw_left.is_none() => Ok(()),
            State::Magic if self.held.is_empty() => Err(malformed("the body is empty")),
            _ => Err(malformed("the protobuf ends before the list does")),
        }
    }

    fn magic<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8], Error> {
        let (bytes, rest) = chunk.split_at(chunk.len().min(schema::MAGIC.len() - self.held.len()));
        self.held.extend_from_slice(bytes);
        if !schema::MAGIC.starts_with(&self.held) {
            return Err(malformed("the protobuf does not begin with k8s\\0"));
        }
        if self.held.len() == schema::MAGIC.len() {
            self.held.clear();
            self.state = State::Header;
        }
        Ok(rest)
    }

    fn header<'a>(&mut self, chunk: &'a [u8], on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<&'a [u8], Error> {
        let before = self.held.len();
        let take = chunk.len().min(MAX_HEADER_BYTES - before);
        self.held.extend_from_slice(&chunk[..take]);
        let Some((header, length)) = parse_header(&self.held, self.raw_left.is_some())? else {
            if self.held.len() == MAX_HEADER_BYTES {
                return Err(malformed("the protobuf has a number that does not end"));
            }
            return Ok(&chunk[take..]);
        };
        self.held.clear();
        self.count(length as u64)?;
        match header {
            Header::Raw(length) => {
                self.raw_left = Some(length);
                self.next_field();
            }
            Header::Skip(length) => {
                self.count(length)?;
                self.state = State::Skip { left: length };
                self.skip(&[], length);
            }
            Header::Content(field, length) => {
                self.count(length)?;
                let left = usize::try_from(length).ok().filter(|l| *l <= MAX_OBJECT_BYTES).ok_or_else(object_too_large)?;
                self.state = State::Content { field, left };
                if left == 0 {
                    self.hand_on(field, &[], on)?;
                }
            }
        }
        Ok(&chunk[length - before..])
    }

    fn content<'a>(
        &mut self,
        chunk: &'a [u8],
        field: Field,
        left: usize,
        on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>,
    ) -> Result<&'a [u8], Error> {
        let (bytes, rest) = chunk.split_at(chunk.len().min(left));
        if bytes.len() < left {
            self.held.extend_from_slice(bytes);
            self.state = State::Content { field, left: left - bytes.len() };
        } else if self.held.is_empty() {
            self.hand_on(field, bytes, on)?;
        } else {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(bytes);
            self.hand_on(field, &whole, on)?;
            whole.clear();
            self.held = whole;
        }
        Ok(rest)
    }

    fn skip<'a>(&mut self, chunk: &'a [u8], left: u64) -> &'a [u8] {
        let n = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        let left = left - n as u64;
        self.state = State::Skip { left };
        if left == 0 {
            self.next_field();
        }
        &chunk[n..]
    }

    fn hand_on(&mut self, field: Field, bytes: &[u8], on: &mut dyn FnMut(Part<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.next_field();
        match field {
            Field::Item => on(Part::Item(bytes)),
            Field::Metadata => on(Part::Metadata(bytes)),
            Field::TypeMeta => {
                let kind = schema::kind(bytes).map_err(|e| malformed(format!("the protobuf's type {e}")))?;
                on(Part::Kind(kind.as_bytes()))
            }
            Field::ContentEncoding if bytes.is_empty() => Ok(()),
            Field::ContentEncoding => Err(malformed("the protobuf is compressed, which was not asked for")),
        }
    }

    /// Counts bytes of the list, which must not exceed the length of `raw`.
    fn count(&mut self, bytes: u64) -> Result<(), Error> {
        if let Some(left) = &mut self.raw_left {
            *left = left.checked_sub(bytes).ok_or_else(|| malformed("a field of the protobuf is longer than the list"))?;
        }
        Ok(())
    }

    fn next_field(&mut self) {
        self.state = State::Header;
        if self.raw_left == Some(0) {
            self.raw_left = None;
        }
    }
}

/// Parses a field's header, and returns it with its length, once it is complete.
fn parse_header(bytes: &[u8], in_list: bool) -> Result<Option<(Header, usize)>, Error> {
    let mut rest = bytes;
    let number = |rest: &mut &[u8]| varint(rest).map_err(|e| malformed(format!("the protobuf {e}")));
    let Some(tag) = number(&mut rest)? else { return Ok(None) };
    let header = match (tag & 7, tag >> 3) {
        (_, 0) => return Err(malformed("the protobuf has a field without a number")),
        (1, _) => Header::Skip(8),
        (5, _) => Header::Skip(4),
        (0, _) => match number(&mut rest)? {
            Some(_) => Header::Skip(0),
            None => return Ok(None),
        },
        (2, field) => {
            let Some(length) = number(&mut rest)? else { return Ok(None) };
            match (in_list, field) {
                (false, 1) => Header::Content(Field::TypeMeta, length),
                (false, 2) => Header::Raw(length),
                (false, 3) => Header::Content(Field::ContentEncoding, length),
                (true, 1) => Header::Content(Field::Metadata, length),
                (true, 2) => Header::Content(Field::Item, length),
                _ => Header::Skip(length),
            }
        }
        (wire_type, _) => return Err(malformed(format!("the protobuf has a field of wire type {wire_type}"))),
    };
    Ok(Some((header, bytes.len() - rest.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(content);
        bytes
    }

    fn body(list: &[u8]) -> Vec<u8> {
        [b"k8s\0", &*field(1, &field(2, b"PodList")), &field(2, list), &field(3, b""), &field(4, b"")].concat()
    }

    fn parts(body: &[u8], size: usize) -> Result<Vec<String>, Error> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for chunk in body.chunks(size) {
            splitter.push(chunk, &mut |part| {
                found.push(format!("{part:?}"));
                Ok(())
            })?;
        }
        splitter.finish().map(|()| found)
    }

    #[test]
    fn finds_the_parts_however_the_body_is_cut() {
        let unknown_fields =
            [&[9 << 3, 0xff, 0x01][..], &[10 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0], &[11 << 3 | 5, 0, 0, 0, 0], &field(12, b"xyz")];
        let list = [
            &unknown_fields.concat(),
            &*field(1, b"meta"),
            &field(2, b"one"),
            &field(2, b""),
            &unknown_fields.concat(),
            &field(2, &[7; 300]),
        ];
        let body = body(&list.concat());
        let whole = parts(&body, body.len()).unwrap();
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[0], format!("{:?}", Part::Kind(b"PodList")));
        assert_eq!(whole[1], format!("{:?}", Part::Metadata(b"meta")));
        assert_eq!(whole[2], format!("{:?}", Part::Item(b"one")));
        assert_eq!(whole[3], format!("{:?}", Part::Item(b"")));
        assert_eq!(whole[4], format!("{:?}", Part::Item(&[7; 300])));
        for size in 1..body.len() {
            assert_eq!(parts(&body, size).unwrap(), whole, "in chunks of {size}");
        }
    }

    #[test]
    fn an_empty_list_is_a_list() {
        assert_eq!(parts(&body(b""), 2).unwrap().len(), 1);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let body =
            [b"k8s\0", &*field(1, &field(2, b"PodList")), &field(2, &[field(1, b"meta"), field(2, b"one")].concat())].concat();
        let boundaries = [4, 4 + 11];
        for end in (0..body.len()).filter(|end| !boundaries.contains(end)) {
            assert!(matches!(parts(&body[..end], 5), Err(Error::MalformedResponse(_))), "{end} of {}", body.len());
        }
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        let endless_number = [b"k8s\0".to_vec(), vec![0xff; 40]].concat();
        let item_longer_than_list = [b"k8s\0", &[2 << 3 | 2, 4, 2 << 3 | 2, 100][..], &[0; 200]].concat();
        let group = b"k8s\0\x0b\x0c".to_vec();
        let no_number = b"k8s\0\x02\x00".to_vec();
        let compressed = [b"k8s\0", &*field(3, b"gzip")].concat();
        for bad in [
            b"".to_vec(),
            b"k9s\0....".to_vec(),
            b"{\"kind\"".to_vec(),
            endless_number,
            item_longer_than_list,
            group,
            no_number,
            compressed,
        ] {
            for size in [1, 3, 1024] {
                assert!(matches!(parts(&bad, size), Err(Error::MalformedResponse(_))), "{bad:?}");
            }
        }
        let enormous =
            [b"k8s\0", &[2 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0x7f, 2 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0x0f][..]].concat();
        assert!(matches!(parts(&enormous, 1024), Err(Error::LimitExceeded(_))));
    }
}
