//! Decodes records from messages: a field's form on the wire, its name in JSON, and its place in the record.

#[cfg(test)]
mod tests;

use super::transcode::{Field, Kind};
use super::wire::{Invalid, Value, bytes, fields, number};
use std::{collections::BinaryHeap, marker::PhantomData};

/// A type that is decoded from a protobuf message, or from a JSON object that [`super::transcode`] has turned into one.
pub trait Message: Default {
    /// The fields that are wanted; all others are skipped.
    const FIELDS: &'static [Field];

    /// Takes the value of the field with this number. Of two values of a field that is not a list, the last counts.
    fn take(&mut self, number: u32, value: Value<'_>) -> Result<(), Invalid>;

    /// Called when all fields have been taken.
    fn finish(&mut self);
}

/// Decodes a message.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, Invalid> {
    let mut message = M::default();
    fill(&mut message, bytes)?;
    Ok(message)
}

/// Decodes a message into its place. If a field that is a message has two values, the fields of both count, as protobuf specifies.
#[inline(always)]
fn fill<M: Message>(message: &mut M, bytes: &[u8]) -> Result<(), Invalid> {
    fields(bytes, M::FIELDS, &mut |number, value| message.take(number, value))?;
    message.finish();
    Ok(())
}

/// Declares the fields of messages, one per line: the protobuf number, the JSON name, the place that it fills in, and the kind. `finally`
/// is called when all fields have been taken.
macro_rules! messages {
    ($($name:ident {
        $($number:literal $json:literal => $($place:ident).+: $kind:ty,)*
        $(finally $finish:expr)?
    })*) => {$(
        impl Message for $name {
            const FIELDS: &'static [Field] = &[$(Field { json: $json, number: $number, kind: <$kind as Known>::KIND },)*];

            fn take(&mut self, number: u32, value: Value<'_>) -> Result<(), Invalid> {
                match number {
                    $($number => <$kind as Put<_>>::put(&mut self.$($place).+, value),)*
                    _ => Ok(()),
                }
            }

            fn finish(&mut self) {
                $(<$kind as Put<_>>::finish(&mut self.$($place).+);)*
                $($finish(self);)?
            }
        }
    )*};
}
pub(crate) use messages;

/// A kind of field.
pub trait Known {
    /// Its kind in JSON.
    const KIND: Kind;
}

/// A kind of field that can fill in a `T`.
pub trait Put<T> {
    /// Puts the value in its place.
    fn put(place: &mut T, value: Value<'_>) -> Result<(), Invalid>;

    /// Called when all values have been put.
    fn finish(_place: &mut T) {}
}

/// A string.
pub struct Text;
/// A Boolean.
pub struct Flag;
/// A 32-bit number.
pub struct Int32;
/// A 64-bit number.
pub struct Int64;
/// A time: in protobuf a message with the seconds since 1970 in field 1, which is absent for Go's zero time.
pub struct Time;
/// A map from string to string.
pub struct Map;
/// A map from string to quantity: in protobuf, a quantity is a message with its text in field 1.
pub struct Quantities;
/// Any number of strings.
pub struct Texts;
/// A number that is a pointer in Go, so 0 differs from an absent value.
pub struct Pointer<T>(PhantomData<T>);
/// A message.
pub struct One<M>(PhantomData<M>);
/// A message that is converted to the type of its place.
pub struct OneAs<M>(PhantomData<M>);
/// Any number of messages.
pub struct Many<M>(PhantomData<M>);
/// Any number of messages, each converted to the type of its place.
pub struct ManyAs<M>(PhantomData<M>);

impl Known for Text {
    const KIND: Kind = Kind::Text;
}

impl Put<String> for Text {
    fn put(place: &mut String, value: Value<'_>) -> Result<(), Invalid> {
        *place = text(value)?;
        Ok(())
    }
}

/// An empty string counts as absent: Go writes one for an absent value.
impl Put<Option<String>> for Text {
    fn put(place: &mut Option<String>, value: Value<'_>) -> Result<(), Invalid> {
        *place = match value {
            Value::Bytes(b"") => None,
            _ => Some(text(value)?),
        };
        Ok(())
    }
}

impl Known for Flag {
    const KIND: Kind = Kind::Flag;
}

impl Put<bool> for Flag {
    fn put(place: &mut bool, value: Value<'_>) -> Result<(), Invalid> {
        *place = number(value)? != 0;
        Ok(())
    }
}

impl Put<Option<bool>> for Flag {
    fn put(place: &mut Option<bool>, value: Value<'_>) -> Result<(), Invalid> {
        *place = Some(number(value)? != 0);
        Ok(())
    }
}

impl Known for Int32 {
    const KIND: Kind = Kind::Int32;
}

impl Put<i32> for Int32 {
    fn put(place: &mut i32, value: Value<'_>) -> Result<(), Invalid> {
        // Protobuf truncates a number with more bits in the same way.
        *place = number(value)? as i32;
        Ok(())
    }
}

/// 0 counts as absent: Go writes it for an absent value.
impl Put<Option<i32>> for Int32 {
    fn put(place: &mut Option<i32>, value: Value<'_>) -> Result<(), Invalid> {
        *place = Some(number(value)? as i32).filter(|n| *n != 0);
        Ok(())
    }
}

/// A count.
impl Put<u32> for Int32 {
    fn put(place: &mut u32, value: Value<'_>) -> Result<(), Invalid> {
        let n = number(value)? as i32;
        *place = u32::try_from(n).map_err(|_| Invalid::new(format!("{n} is negative")))?;
        Ok(())
    }
}

/// A port.
impl Put<u16> for Int32 {
    fn put(place: &mut u16, value: Value<'_>) -> Result<(), Invalid> {
        let n = number(value)? as i32;
        *place = u16::try_from(n).map_err(|_| Invalid::new(format!("{n} is not a port")))?;
        Ok(())
    }
}

/// A port; 0 counts as absent.
impl Put<Option<u16>> for Int32 {
    fn put(place: &mut Option<u16>, value: Value<'_>) -> Result<(), Invalid> {
        let mut port = 0_u16;
        Int32::put(&mut port, value)?;
        *place = Some(port).filter(|port| *port != 0);
        Ok(())
    }
}

impl Known for Int64 {
    const KIND: Kind = Kind::Int64;
}

/// 0 counts as absent: Go writes it for an absent value.
impl Put<Option<i64>> for Int64 {
    fn put(place: &mut Option<i64>, value: Value<'_>) -> Result<(), Invalid> {
        *place = Some(number(value)?.cast_signed()).filter(|n| *n != 0);
        Ok(())
    }
}

/// A count; a negative one counts as absent.
impl Put<Option<u64>> for Int64 {
    fn put(place: &mut Option<u64>, value: Value<'_>) -> Result<(), Invalid> {
        *place = u64::try_from(number(value)?.cast_signed()).ok();
        Ok(())
    }
}

impl<T: Known> Known for Pointer<T> {
    const KIND: Kind = T::KIND;
}

impl Put<Option<i32>> for Pointer<Int32> {
    fn put(place: &mut Option<i32>, value: Value<'_>) -> Result<(), Invalid> {
        *place = Some(number(value)? as i32);
        Ok(())
    }
}

impl Put<Option<i64>> for Pointer<Int64> {
    fn put(place: &mut Option<i64>, value: Value<'_>) -> Result<(), Invalid> {
        *place = Some(number(value)?.cast_signed());
        Ok(())
    }
}

impl Known for Texts {
    const KIND: Kind = Kind::Texts;
}

impl Put<Vec<String>> for Texts {
    fn put(place: &mut Vec<String>, value: Value<'_>) -> Result<(), Invalid> {
        place.push(text(value)?);
        Ok(())
    }

    fn finish(place: &mut Vec<String>) {
        place.shrink_to_fit();
    }
}

impl Known for Time {
    const KIND: Kind = Kind::Time;
}

/// Go's zero time counts as absent.
impl Put<Option<i64>> for Time {
    fn put(place: &mut Option<i64>, value: Value<'_>) -> Result<(), Invalid> {
        let mut seconds = None;
        fields(bytes(value)?, &[], &mut |field, value| {
            if field == 1 {
                seconds = Some(number(value)?.cast_signed());
            }
            Ok(())
        })?;
        *place = seconds.filter(|seconds| *seconds != GO_ZERO_TIME);
        Ok(())
    }
}

/// 0001-01-01T00:00:00Z, which stands for no time at all.
const GO_ZERO_TIME: i64 = -62_135_596_800;

impl Known for Map {
    const KIND: Kind = Kind::Map;
}

impl Put<Vec<(String, String)>> for Map {
    fn put(place: &mut Vec<(String, String)>, value: Value<'_>) -> Result<(), Invalid> {
        put_entry(place, value, Text::put)
    }

    fn finish(place: &mut Vec<(String, String)>) {
        sort(place);
        place.shrink_to_fit();
    }
}

impl Known for Quantities {
    const KIND: Kind = Kind::Quantities;
}

impl Put<Vec<(String, String)>> for Quantities {
    fn put(place: &mut Vec<(String, String)>, value: Value<'_>) -> Result<(), Invalid> {
        put_entry(place, value, |quantity, value| {
            fields(bytes(value)?, &[], &mut |field, value| if field == 1 { Text::put(quantity, value) } else { Ok(()) })
        })
    }

    fn finish(place: &mut Vec<(String, String)>) {
        <Map as Put<_>>::finish(place);
    }
}

/// Puts a map's entry in its place. `put_value` puts its value.
fn put_entry(
    place: &mut Vec<(String, String)>,
    entry: Value<'_>,
    put_value: fn(&mut String, Value<'_>) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let mut pair = (String::new(), String::new());
    fields(bytes(entry)?, &[], &mut |field, value| match field {
        1 => Text::put(&mut pair.0, value),
        2 => put_value(&mut pair.1, value),
        _ => Ok(()),
    })?;
    place.push(pair);
    Ok(())
}

/// Sorts a map's entries by their keys. Of two with the same key, the last counts.
fn sort(map: &mut Vec<(String, String)>) {
    // Servers send them sorted.
    if map.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    // Of the standard library's ways to sort, a heap needs the least code.
    let heap: BinaryHeap<_> = map.drain(..).enumerate().map(|(place, (key, value))| (key, place, value)).collect();
    for (key, _, value) in heap.into_sorted_vec() {
        match map.last_mut() {
            Some(last) if last.0 == key => last.1 = value,
            _ => map.push((key, value)),
        }
    }
}

impl<M: Message> Known for One<M> {
    const KIND: Kind = Kind::One(M::FIELDS);
}

impl<M: Message> Put<M> for One<M> {
    fn put(place: &mut M, value: Value<'_>) -> Result<(), Invalid> {
        fill(place, bytes(value)?)
    }
}

impl<M: Message> Known for OneAs<M> {
    const KIND: Kind = Kind::One(M::FIELDS);
}

impl<M: Message + Into<T>, T> Put<T> for OneAs<M> {
    fn put(place: &mut T, value: Value<'_>) -> Result<(), Invalid> {
        *place = decode::<M>(bytes(value)?)?.into();
        Ok(())
    }
}

impl<M: Message> Known for Many<M> {
    const KIND: Kind = Kind::Many(M::FIELDS);
}

impl<M: Message> Put<Vec<M>> for Many<M> {
    fn put(place: &mut Vec<M>, value: Value<'_>) -> Result<(), Invalid> {
        place.push(M::default());
        match place.last_mut() {
            Some(last) => fill(last, bytes(value)?),
            None => Ok(()),
        }
    }

    /// Unused room would be a third of a list's memory.
    fn finish(place: &mut Vec<M>) {
        place.shrink_to_fit();
    }
}

impl<M: Message> Known for ManyAs<M> {
    const KIND: Kind = Kind::Many(M::FIELDS);
}

impl<M: Message + Into<T>, T> Put<Vec<T>> for ManyAs<M> {
    fn put(place: &mut Vec<T>, value: Value<'_>) -> Result<(), Invalid> {
        place.push(decode::<M>(bytes(value)?)?.into());
        Ok(())
    }

    fn finish(place: &mut Vec<T>) {
        place.shrink_to_fit();
    }
}

/// A string's text. Invalid UTF-8 becomes U+FFFD: the kubelet cuts a termination message after 4,096 bytes, even within a character.
#[inline(always)]
pub fn text(value: Value<'_>) -> Result<String, Invalid> {
    let bytes = bytes(value)?;
    Ok(match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => lossy(bytes),
    })
}

#[cold]
#[inline(never)]
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
