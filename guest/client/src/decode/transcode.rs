//! Turns one JSON object into the protobuf message that a schema describes, so that all decoding after that is the same.

use super::message::{self, Message};
use super::unicode::mended;
use super::wire::{put_bytes, put_message, put_varint};
use incluster_core::calendar::SECONDS_OF_2000_YEARS;
use serde::de::{DeserializeSeed, Deserializer, Error, Expected, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::time::SystemTime;

/// A field of a message.
pub struct Field {
    /// The JSON name. It is empty if this is the only field, and its own fields are the message's in JSON.
    pub json: &'static str,
    /// The protobuf number. 0, which protobuf does not use, means that the field stands for the whole message.
    pub number: u32,
    /// The kind of field.
    pub kind: Kind,
}

/// A kind of field.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A string.
    Text,
    /// A Boolean.
    Flag,
    /// A 32-bit number.
    Int32,
    /// A 64-bit number.
    Int64,
    /// A time, which is RFC 3339 in JSON.
    Time,
    /// A map from string to string.
    Map,
    /// A map from string to a string within a message.
    Quantities,
    /// Any number of strings.
    Texts,
    /// A message.
    One(&'static [Field]),
    /// Any number of messages.
    Many(&'static [Field]),
}

/// Decodes a message from JSON as Go reads it: unknown fields are skipped; `null` is the same as absent, and in an array the same as an
/// element that has nothing; invalid Unicode becomes U+FFFD.
pub fn from_json<M: Message>(json: &[u8]) -> Result<M, String> {
    decode(M::FIELDS, json)
}

/// Decodes the message that is the `object` of a watch's event.
pub fn from_json_event<M: Message>(json: &[u8]) -> Result<M, String> {
    decode(const { &[Field { json: "object", number: 0, kind: Kind::One(M::FIELDS) }] }, json)
}

fn decode<M: Message>(fields: &'static [Field], json: &[u8]) -> Result<M, String> {
    let protobuf = to_protobuf(fields, json).or_else(|error| match mended(json) {
        Some(json) => to_protobuf(fields, &json),
        None => Err(error),
    });
    let protobuf = protobuf.map_err(|e| e.to_string().trim_start_matches(['.', ' ']).to_string())?;
    message::decode(&protobuf).map_err(|e| e.to_string())
}

fn to_protobuf(fields: &'static [Field], json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut protobuf = Vec::with_capacity(json.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let object = Writing { kind: Kind::One(fields), number: None, out: &mut protobuf };
    object.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(protobuf)
}

/// Adds the name of the field that an error is in: `.metadata.name is 7, …`.
#[cold]
fn within<E: Error>(name: &str, error: E) -> E {
    let error = error.to_string();
    let space = if error.starts_with(['.', ' ']) { "" } else { " " };
    E::custom(format_args!(".{name}{space}{error}"))
}

/// A value to be written as the field of this number, or as the whole message if there is none.
struct Writing<'a> {
    kind: Kind,
    number: Option<u32>,
    out: &'a mut Vec<u8>,
}

impl Writing<'_> {
    fn varint<E>(self, value: u64) -> Result<(), E> {
        // The whole message must be an object: anything else is refused.
        put_varint(self.number.unwrap_or_default(), value, self.out);
        Ok(())
    }

    fn bytes<E>(self, bytes: &[u8]) -> Result<(), E> {
        put_bytes(self.number.unwrap_or_default(), bytes, self.out);
        Ok(())
    }

    /// serde's own error would bring code that prints floating-point numbers into the component, which is 14 KB.
    #[cold]
    fn not<E: Error>(&self, value: impl fmt::Display) -> E {
        E::custom(format_args!(" is {value}, not {}", self as &dyn Expected))
    }

    fn delimited<E>(self, content: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        match self.number {
            Some(number) => put_message(number, self.out, content),
            None => content(self.out),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Writing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writing<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Text => "a string",
            Kind::Flag => "true or false",
            Kind::Int32 => "a 32-bit number",
            Kind::Int64 => "a 64-bit number",
            Kind::Time => "a time (RFC 3339)",
            Kind::Map | Kind::Quantities | Kind::One(_) => "an object",
            Kind::Texts | Kind::Many(_) => "an array",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Kind::Flag => self.varint(value.into()),
            _ => Err(self.not(value)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            Kind::Int32 if i32::try_from(value).is_ok() => self.varint(value.cast_unsigned()),
            Kind::Int64 => self.varint(value.cast_unsigned()),
            _ => Err(self.not(value)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(self.not(value)),
        }
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.not("a number with a fraction"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self.kind {
            Kind::Text => self.bytes(value.as_bytes()),
            Kind::Time => {
                let Some(seconds) = seconds_since_1970(value) else { return Err(self.not(format_args!("{value:?}"))) };
                let seconds = seconds.cast_unsigned();
                self.delimited(|out| Writing { kind: Kind::Int64, number: Some(1), out }.varint(seconds))
            }
            _ => Err(self.not(format_args!("{value:?}"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let kind = match self.kind {
            Kind::Many(fields) => Kind::One(fields),
            Kind::Texts => Kind::Text,
            _ => return Err(self.not("an array")),
        };
        loop {
            let before = self.out.len();
            if items.next_element_seed(Writing { kind, number: self.number, out: self.out })?.is_none() {
                return Ok(());
            }
            // The element was `null`.
            if self.out.len() == before {
                put_bytes(self.number.unwrap_or_default(), b"", self.out);
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.kind {
            Kind::One([Field { json: "", number, kind }]) => {
                self.delimited(|out| Writing { kind: *kind, number: Some(*number), out }.visit_map(map))
            }
            Kind::One(fields) => self.delimited(|out| {
                while let Some(field) = map.next_key_seed(Name(fields))? {
                    match field {
                        Some(Field { number, kind, json }) => {
                            let number = (*number > 0).then_some(*number);
                            map.next_value_seed(Writing { kind: *kind, number, out }).map_err(|e| within(json, e))?
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(())
            }),
            Kind::Map | Kind::Quantities => {
                let Writing { kind, number, out } = self;
                while let Some(key) = map.next_key::<String>()? {
                    let entry = Writing { kind, number, out };
                    entry.delimited(|out| {
                        Writing { kind: Kind::Text, number: Some(1), out }.bytes::<A::Error>(key.as_bytes())?;
                        let mut value =
                            |number, out: &mut _| map.next_value_seed(Writing { kind: Kind::Text, number: Some(number), out });
                        match kind {
                            Kind::Quantities => put_message(2, out, |out| value(1, out)),
                            _ => value(2, out),
                        }
                    })?;
                }
                Ok(())
            }
            _ => Err(self.not("an object")),
        }
    }
}

/// The seconds from 1970 to a time in RFC 3339; negative before 1970.
fn seconds_since_1970(time: &str) -> Option<i64> {
    let since_1970 = |time: &str| {
        let since_1970 = humantime::parse_rfc3339(time).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since_1970.as_secs()).ok()
    };
    match time.get(..4).and_then(|year| year.parse::<u16>().ok()) {
        Some(year @ ..1970) => Some(since_1970(&format!("{:04}{}", year + 2000, time.get(4..)?))? - SECONDS_OF_2000_YEARS),
        _ => since_1970(time),
    }
}

/// Reads a key as the field of this name.
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
    use super::*;
    use crate::types::{ContainerPort, ContainerStateRunning, ObjectMeta, PodSpec};

    fn error<M: Message>(json: &str) -> String {
        from_json::<M>(json.as_bytes()).err().unwrap_or_else(|| panic!("{json} was accepted"))
    }

    #[test]
    fn a_field_of_each_kind() {
        let json = r#"{"name":"a\"b\u00e4","generation":-2,"labels":{"k":"v","n":null},"unknown":[{"x":[1.5e300]}],
            "ownerReferences":[{"name":"x","controller":true},{}],"creationTimestamp":"1970-01-01T00:00:09Z","uid":null}"#;
        let meta: ObjectMeta = from_json(json.as_bytes()).unwrap();
        assert_eq!(meta.name, "a\"bä");
        assert_eq!(meta.generation, Some(-2));
        assert_eq!(meta.labels, [("k".into(), "v".into()), ("n".into(), String::new())]);
        assert_eq!(meta.owner_references.len(), 2);
        assert!(meta.owner_references[0].controller);
        assert_eq!(meta.creation_timestamp, Some(9));
        assert_eq!(meta.uid, "");
    }

    #[test]
    fn a_time_before_1970_differs_from_none() {
        for (time, seconds) in [
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("1900-03-01T00:00:00Z", Some(-2_203_891_200)),
            ("0001-01-01T00:00:01Z", Some(-62_135_596_799)),
            // Go's zero time.
            ("0001-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z", Some(0)),
        ] {
            let running: ContainerStateRunning = from_json(format!(r#"{{"startedAt":"{time}"}}"#).as_bytes()).unwrap();
            assert_eq!(running.started_at, seconds, "{time}");
        }
    }

    #[test]
    fn what_ephemeral_containers_have_in_common_with_others_is_their_own_in_json() {
        let json =
            br#"{"ephemeralContainers":[{"name":"debug","targetContainerName":"web","resources":{"limits":{"cpu":"1"}}}]}"#;
        let spec: PodSpec = from_json(json).unwrap();
        assert_eq!(spec.ephemeral_containers[0].name, "debug");
        assert_eq!(spec.ephemeral_containers[0].resources.limits, [("cpu".into(), "1".into())]);
    }

    #[test]
    fn null_in_an_array_is_an_element_that_has_nothing() {
        let spec: PodSpec = from_json(br#"{"containers":[null,{"name":"b","ports":[null]}],"nodeSelector":null}"#).unwrap();
        assert_eq!((spec.containers.len(), &*spec.containers[0].name, &*spec.containers[1].name), (2, "", "b"));
        assert_eq!(&*spec.containers[1].ports[0].protocol, "TCP");
        let meta: ObjectMeta = from_json(br#"{"finalizers":["a",null,"c"],"ownerReferences":[null]}"#).unwrap();
        assert_eq!((meta.finalizers, meta.owner_references.len()), (["a", "", "c"].map(String::from).to_vec(), 1));
        assert_eq!(from_json::<ObjectMeta>(b" null ").unwrap(), ObjectMeta::default());
    }

    #[test]
    fn invalid_unicode_hides_nothing() {
        let meta: ObjectMeta = from_json(b"{\"name\":\"a\xff\",\"labels\":{\"k\xe2\x82\":\"v\"}}").unwrap();
        assert_eq!((&*meta.name, &*meta.labels), ("a\u{fffd}", &[("k\u{fffd}".into(), "v".into())][..]));
        let meta: ObjectMeta = from_json(br#"{"name":"\ud83e\ud83e\udd80"}"#).unwrap();
        assert_eq!(&*meta.name, "\u{fffd}🦀");
        assert!(error_of(b"{\"name\":\"\xff\",\"uid\":7}").starts_with("uid is 7, not a string"));
    }

    fn error_of(json: &[u8]) -> String {
        from_json::<ObjectMeta>(json).unwrap_err()
    }

    #[test]
    fn lengths_of_more_than_one_byte() {
        let long = "x".repeat(70_000);
        for length in [127, 128, 16_383, 16_384, long.len()] {
            let spec = format!(r#"{{"containers":[{{"image":"{}"}}]}}"#, &long[..length]);
            let spec: PodSpec = from_json(spec.as_bytes()).unwrap();
            assert_eq!(spec.containers[0].image.as_deref(), Some(&long[..length]));
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        assert_eq!(
            error::<ContainerPort>(r#"{"containerPort":"80"}"#),
            "containerPort is \"80\", not a 32-bit number at line 1 column 21"
        );
        assert!(error::<ContainerPort>(r#"{"containerPort":4294967376}"#).contains("not a 32-bit number"));
        assert!(error::<ContainerPort>(r#"{"containerPort":80.5}"#).contains("not a 32-bit number"));
        assert!(error::<ContainerPort>(r#"{"name":{}}"#).contains("not a string"));
        assert!(error::<ObjectMeta>(r#"{"generation":9223372036854775808}"#).contains("not a 64-bit number"));
        assert!(error::<ObjectMeta>(r#"{"labels":["a"]}"#).contains("not an object"));
        assert!(error::<ObjectMeta>(r#"{"labels":{"a":1}}"#).contains("not a string"));
        assert!(error::<ObjectMeta>(r#"{"ownerReferences":{}}"#).contains("not an array"));
        let deep = error::<PodSpec>(r#"{"containers":[{},{"ports":[{"name":"a","containerPort":true}]}]}"#);
        assert!(deep.starts_with("containers.ports.containerPort is true, not a 32-bit number"), "{deep}");
        for time in [r#""""#, r#""2026-11-23""#, r#""2026-13-01T00:00:00Z""#, r#""1969-13-01T00:00:00Z""#, r#""19ä""#, "7"] {
            assert!(
                error::<ContainerStateRunning>(&format!(r#"{{"startedAt":{time}}}"#)).contains("not a time (RFC 3339)"),
                "{time}"
            );
        }
        for no_object in ["", "7", "[]", "1.5", "true", "{", "{} {}"] {
            error::<ObjectMeta>(no_object);
        }
    }
}
