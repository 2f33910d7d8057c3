//! JSON with strings that are not valid Unicode. Go reads it all the same, with U+FFFD in the place of what is invalid, so that one odd
//! string hides nothing else.

use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// Reads a value as Go does.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(json).or_else(|error| match mended(json) {
        Some(json) => serde_json::from_slice(&json),
        None => Err(error),
    })
}

/// Returns the JSON as Go reads it; `None` if all of it is valid Unicode.
#[cold]
pub fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(json);
    let mut changed = matches!(text, Cow::Owned(_));
    let mut text = text.into_owned().into_bytes();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        at += match (rest, escaped(rest)) {
            (_, Some(0xd800..=0xdbff)) if rest.get(6..).and_then(escaped).is_some_and(|low| matches!(low, 0xdc00..=0xdfff)) => 12,
            (_, Some(0xd800..=0xdfff)) => {
                text[at + 2..at + 6].copy_from_slice(b"fffd");
                changed = true;
                6
            }
            ([b'\\', ..], _) => 2,
            _ => 1,
        };
    }
    changed.then_some(text)
}

/// The UTF-16 code unit that is escaped here.
fn escaped(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lone_halves_of_a_pair_are_replaced() {
        for (given, read) in [
            (&br#""\ud83e\udd80 \u00e4 \\ud800 \n""#[..], None),
            (br#""\ud83e""#, Some(&br#""\ufffd""#[..])),
            (br#""\udd80\ud83e x \uD83E\uDD80""#, Some(br#""\ufffd\ufffd x \uD83E\uDD80""#)),
            (br#""\\\ud83e\n""#, Some(br#""\\\ufffd\n""#)),
            (b"\"\xff\\ud8zz\\\"", Some("\"\u{fffd}\\ud8zz\\\"".as_bytes())),
            (br#""\ud83"#, None),
        ] {
            assert_eq!(mended(given).as_deref(), read, "{}", String::from_utf8_lossy(given));
        }
    }

    proptest! {
        #[test]
        fn what_is_mended_is_read(parts in prop::collection::vec("(\\\\u[dD][89abcdefABCDEF][0-9a-f]{2}|[a-z]|\\\\\\\\|\\\\\"|ä)", 0..12)) {
            let json = format!("\"{}\"", parts.concat());
            let mended = mended(json.as_bytes()).unwrap_or(json.into());
            prop_assert!(serde_json::from_slice::<String>(&mended).is_ok(), "{}", String::from_utf8_lossy(&mended));
        }
    }
}
