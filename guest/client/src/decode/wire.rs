//! The protobuf wire format: the fields of a message, one after the other.

use super::MAX_OBJECT_BYTES;
use super::transcode::Field;
use std::borrow::Cow;
use std::fmt;

/// A field's value, as far as the wire format shows its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number or a Boolean.
    Varint(u64),
    /// A string, or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes, which no wanted field has.
    Fixed,
}

/// Why a message cannot be decoded: the field, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The JSON names from the outermost message on, with dots between; empty for the message itself.
    path: String,
    what: Cow<'static, str>,
}

impl Invalid {
    /// Makes the error for the field that is being decoded.
    pub fn new(what: impl Into<Cow<'static, str>>) -> Invalid {
        Invalid { path: String::new(), what: what.into() }
    }

    /// Puts the name of the field that the error is in before its path.
    #[cold]
    pub fn within(mut self, name: &str) -> Invalid {
        if name.is_empty() {
            return self;
        }
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.insert_str(0, dot);
        self.path.insert_str(0, name);
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.path.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}", self.path, self.what)
    }
}

/// Calls `on` for each field of a message, with its number and its value. An error in a `known` field has its name.
pub fn fields<'a>(
    mut message: &'a [u8],
    known: &'static [Field],
    on: &mut dyn FnMut(u32, Value<'a>) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let rest = &mut message;
    while !rest.is_empty() {
        let key = whole(varint(rest)?)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| Invalid::new("has a field with an invalid number"))?;
        let value = match key & 7 {
            0 => Value::Varint(whole(varint(rest)?)?),
            1 => take(rest, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = whole(varint(rest)?)?;
                Value::Bytes(take(rest, length)?)
            }
            5 => take(rest, 4).map(|_| Value::Fixed)?,
            wire_type => return Err(Invalid::new(format!("has a field of wire type {wire_type}"))),
        };
        on(number, value).map_err(|e| match known.iter().find(|field| field.number == number) {
            Some(field) => e.within(field.json),
            None => e,
        })?;
    }
    Ok(())
}

#[inline(always)]
fn whole<T>(read: Option<T>) -> Result<T, Invalid> {
    read.ok_or_else(|| Invalid::new("ends within a field"))
}

#[inline(always)]
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Invalid> {
    let taken = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (bytes, after) = whole(taken)?;
    *rest = after;
    Ok(bytes)
}

/// The bytes of a string or a message.
#[inline(always)]
pub fn bytes(value: Value<'_>) -> Result<&[u8], Invalid> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(Invalid::new("is a number, not text or a message")),
    }
}

/// The value of a number or a Boolean.
#[inline(always)]
pub fn number(value: Value<'_>) -> Result<u64, Invalid> {
    match value {
        Value::Varint(number) => Ok(number),
        _ => Err(Invalid::new("is not a number")),
    }
}

/// Takes the number at the beginning; `None` if the bytes end within it.
#[inline(always)]
pub fn varint(bytes: &mut &[u8]) -> Result<Option<u64>, Invalid> {
    match bytes.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *bytes = rest;
            Ok(Some(byte.into()))
        }
        _ => long_varint(bytes),
    }
}

#[inline(never)]
fn long_varint(bytes: &mut &[u8]) -> Result<Option<u64>, Invalid> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte holds the 64th bit.
        if place == 9 && byte > 1 {
            return Err(Invalid::new("has a number of more than 64 bits"));
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Writes a field that is a number.
pub fn put_varint(number: u32, value: u64, out: &mut Vec<u8>) {
    write(u64::from(number) << 3, out);
    write(value, out);
}

/// Writes a field that is a string.
pub fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    write(u64::from(number) << 3 | 2, out);
    write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a field that is a message, which `content` writes. Its length always takes four digits, so the highest ones may be zero.
pub fn put_message<E>(number: u32, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    write(u64::from(number) << 3 | 2, out);
    let begin = out.len();
    out.extend_from_slice(&[0; LENGTH_DIGITS]);
    content(out)?;
    let mut length = out.len() - begin - LENGTH_DIGITS;
    for digit in &mut out[begin..begin + LENGTH_DIGITS] {
        *digit = length as u8 | 0x80;
        length >>= 7;
    }
    out[begin + LENGTH_DIGITS - 1] &= 0x7f;
    Ok(())
}

/// The number of digits of a length, at seven bits per digit. A message is at most twice as large as the JSON that it is made from.
const LENGTH_DIGITS: usize = 4;
const _: () = assert!(MAX_OBJECT_BYTES < 1 << (7 * LENGTH_DIGITS - 1));

fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::encoding::{decode_varint, encode_varint};

    fn read(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, String> {
        let mut found = Vec::new();
        let result = fields(message, &[], &mut |number, value| {
            found.push((number, value));
            Ok(())
        });
        result.map(|()| found).map_err(|e| e.to_string())
    }

    #[test]
    fn a_field_of_each_wire_type() {
        let message = b"\x08\x96\x01\x12\x03abc\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\xaa\x06\x00";
        let expected =
            [(1, Value::Varint(150)), (2, Value::Bytes(b"abc")), (3, Value::Fixed), (4, Value::Fixed), (101, Value::Bytes(b""))];
        assert_eq!(read(message).unwrap(), expected);
        assert_eq!(read(b"").unwrap(), []);
        let boundaries = [0, 3, 8, 17, 22];
        for end in (0..message.len()).filter(|end| !boundaries.contains(end)) {
            assert_eq!(read(&message[..end]).unwrap_err(), "ends within a field", "{end}");
        }
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        assert_eq!(read(b"\x00\x00").unwrap_err(), "has a field with an invalid number");
        assert_eq!(read(b"\xff\xff\xff\xff\xff\x01\x00").unwrap_err(), "has a field with an invalid number");
        assert_eq!(read(b"\x0b\x0c").unwrap_err(), "has a field of wire type 3");
        assert_eq!(read(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").unwrap_err(), "ends within a field");
        assert_eq!(read(&[0xff; 12]).unwrap_err(), "has a number of more than 64 bits");
    }

    /// The result is the same as that of prost, which the tests trust to be protobuf.
    #[test]
    fn numbers_of_every_length() {
        for value in (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1, u64::MAX >> bit]) {
            let mut digits = Vec::new();
            write(value, &mut digits);
            let mut by_prost = Vec::new();
            encode_varint(value, &mut by_prost);
            assert_eq!(digits, by_prost);
            for end in 0..digits.len() {
                assert_eq!(varint(&mut &digits[..end]), Ok(None));
            }
            digits.push(7);
            let rest = &mut &*digits;
            assert_eq!(varint(rest), Ok(Some(value)));
            assert_eq!(*rest, [7]);
            assert_eq!(decode_varint(&mut &*digits), Ok(value));
        }
    }
}
