//! Turns one JSON object into the protobuf message that a schema describes, so that all decoding after it is the same.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::time::SystemTime;

/// A message whose fields are known by their JSON names, too.
pub trait Schema: Message + Default {
    /// The fields.
    const FIELDS: &'static [Field];
}

/// A field of a message.
pub struct Field {
    /// Its JSON name.
    pub json: &'static str,
    /// Its protobuf number. 0, which protobuf does not use, is for a field that stands for the whole message.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a field is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A string.
    Text,
    /// A Boolean.
    Flag,
    /// A number.
    Int32,
    /// A number.
    Int64,
    /// RFC 3339 in JSON.
    Time,
    /// String to string.
    Map,
    /// A message.
    One(&'static [Field]),
    /// Any number of messages.
    Many(&'static [Field]),
}

/// Decodes a message from JSON. Unknown fields are skipped; `null` is the same as absent.
pub fn from_json<M: Schema>(json: &[u8]) -> Result<M, String> {
    decode(M::FIELDS, json)
}

/// Decodes the message that is a watch event's `object`.
pub fn from_json_event<M: Schema>(json: &[u8]) -> Result<M, String> {
    decode(const { &[Field { json: "object", number: 0, kind: Kind::One(M::FIELDS) }] }, json)
}

fn decode<M: Message + Default>(fields: &'static [Field], json: &[u8]) -> Result<M, String> {
    let mut protobuf = Vec::with_capacity(json.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let object = Value { kind: Kind::One(fields), number: None, out: &mut protobuf };
    object.deserialize(&mut deserializer).map_err(|e| e.to_string())?;
    deserializer.end().map_err(|e| e.to_string())?;
    M::decode(&*protobuf).map_err(|e| e.to_string())
}

/// A value that is to be written as the field of this number; the whole message, where there is none.
struct Value<'a> {
    kind: Kind,
    number: Option<u32>,
    out: &'a mut Vec<u8>,
}

impl Value<'_> {
    fn key(&mut self, wire_type: WireType) {
        if let Some(number) = self.number {
            encode_key(number, wire_type, self.out);
        }
    }

    fn varint<E>(mut self, value: u64) -> Result<(), E> {
        self.key(WireType::Varint);
        encode_varint(value, self.out);
        Ok(())
    }

    fn bytes<E>(mut self, bytes: &[u8]) -> Result<(), E> {
        self.key(WireType::LengthDelimited);
        encode_varint(bytes.len() as u64, self.out);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what `content` writes, and its length before it.
    fn delimited<E>(mut self, content: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        if self.number.is_none() {
            return content(self.out);
        }
        self.key(WireType::LengthDelimited);
        let begin = self.out.len();
        content(self.out)?;
        let mut length = [0; 10];
        let mut rest = &mut length[..];
        encode_varint((self.out.len() - begin) as u64, &mut rest);
        let unused = rest.len();
        self.out.splice(begin..begin, length[..10 - unused].iter().copied());
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Text => "a string",
            Kind::Flag => "true or false",
            Kind::Int32 => "a 32-bit number",
            Kind::Int64 => "a 64-bit number",
            Kind::Time => "a time (RFC 3339)",
            Kind::Map | Kind::One(_) => "an object",
            Kind::Many(_) => "an array",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Flag => self.varint(value.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            Kind::Int32 if i32::try_from(value).is_ok() => self.varint(value.cast_unsigned()),
            Kind::Int64 => self.varint(value.cast_unsigned()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(E::invalid_type(serde::de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self.kind {
            Kind::Text => self.bytes(value.as_bytes()),
            Kind::Time => {
                let invalid = || E::invalid_value(serde::de::Unexpected::Str(value), &"a time (RFC 3339)");
                let time = match humantime::parse_rfc3339(value) {
                    Ok(time) => time,
                    // Before 1970: none, as in protobuf.
                    Err(humantime::TimestampError::OutOfRange) if value < "1970" => return Ok(()),
                    Err(_) => return Err(invalid()),
                };
                let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| invalid())?;
                self.delimited(|out| Value { kind: Kind::Int64, number: Some(1), out }.varint(since_1970.as_secs()))
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(value), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Kind::Many(fields) = self.kind else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        };
        while items.next_element_seed(Value { kind: Kind::One(fields), number: self.number, out: self.out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.kind {
            Kind::One(fields) => self.delimited(|out| {
                while let Some(field) = map.next_key_seed(Name(fields))? {
                    match field {
                        Some(Field { number, kind, .. }) => {
                            let number = (*number > 0).then_some(*number);
                            map.next_value_seed(Value { kind: *kind, number, out })?
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(())
            }),
            Kind::Map => {
                let Value { number, out, .. } = self;
                while let Some(key) = map.next_key::<String>()? {
                    let entry = Value { kind: Kind::Map, number, out };
                    entry.delimited(|out| {
                        Value { kind: Kind::Text, number: Some(1), out }.bytes::<A::Error>(key.as_bytes())?;
                        map.next_value_seed(Value { kind: Kind::Text, number: Some(2), out })
                    })?;
                }
                Ok(())
            }
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

/// A key, as the field that has this name.
struct Name(&'static [Field]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.json == name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{ContainerPort, ContainerStateRunning, ObjectMeta, PodStatus};
    use super::*;

    fn error<M: Schema>(json: &str) -> String {
        from_json::<M>(json.as_bytes()).err().unwrap_or_else(|| panic!("{json} was taken"))
    }

    #[test]
    fn a_field_of_each_kind() {
        let json = r#"{"name":"a\"b\u00e4","generation":-2,"labels":{"k":"v","n":null},"unknown":[{"x":[1.5e300]}],
            "ownerReferences":[{"name":"x","controller":true},{}],"creationTimestamp":"1970-01-01T00:00:09Z","uid":null}"#;
        let meta: ObjectMeta = from_json(json.as_bytes()).unwrap();
        assert_eq!(meta.name.as_deref(), Some("a\"bä"));
        assert_eq!(meta.generation, Some(-2));
        assert_eq!(meta.labels, [("k".into(), "v".into()), ("n".into(), String::new())].into());
        assert_eq!(meta.owner_references.len(), 2);
        assert_eq!(meta.owner_references[0].controller, Some(true));
        assert_eq!(meta.creation_timestamp.unwrap().seconds, Some(9));
        assert_eq!(meta.uid, None);
    }

    #[test]
    fn a_time_before_1970_is_none_and_breaks_nothing() {
        let running: ContainerStateRunning = from_json(br#"{"startedAt":"1969-12-31T23:59:59Z"}"#).unwrap();
        assert_eq!(running.started_at, None);
    }

    #[test]
    fn lengths_of_more_than_one_byte() {
        let long = "x".repeat(70_000);
        let status: PodStatus = from_json(format!(r#"{{"conditions":[{{"message":"{long}"}}]}}"#).as_bytes()).unwrap();
        assert_eq!(status.conditions[0].message.as_deref(), Some(&*long));
    }

    #[test]
    fn values_of_another_type_are_refused() {
        assert!(error::<ContainerPort>(r#"{"containerPort":"80"}"#).contains("expected a 32-bit number"));
        assert!(error::<ContainerPort>(r#"{"containerPort":4294967376}"#).contains("expected a 32-bit number"));
        assert!(error::<ContainerPort>(r#"{"containerPort":80.5}"#).contains("expected a 32-bit number"));
        assert!(error::<ContainerPort>(r#"{"name":{}}"#).contains("expected a string"));
        assert!(error::<ObjectMeta>(r#"{"generation":9223372036854775808}"#).contains("expected a 64-bit number"));
        assert!(error::<ObjectMeta>(r#"{"labels":["a"]}"#).contains("expected an object"));
        assert!(error::<ObjectMeta>(r#"{"labels":{"a":1}}"#).contains("expected a string"));
        assert!(error::<ObjectMeta>(r#"{"ownerReferences":{}}"#).contains("expected an array"));
        for time in [r#""""#, r#""2026-11-23""#, r#""2026-13-01T00:00:00Z""#, "7"] {
            assert!(
                error::<ContainerStateRunning>(&format!(r#"{{"startedAt":{time}}}"#)).contains("a time (RFC 3339)"),
                "{time}"
            );
        }
        for no_object in ["", "7", "[]", "{", "{} {}", r#"{"name":"\ud800"}"#] {
            error::<ObjectMeta>(no_object);
        }
    }
}
