//! Writes JSON values as YAML that every reader reads as the same values.
//!
//! Readers do not agree on what a plain text is. In YAML 1.1, which PyYAML and others read, `yes` is a Boolean, `1:20` is a number and
//! `2026-01-02` is a date; in YAML 1.2, these are strings. So a string stays plain only if it is a string in both versions.

use incluster_core::text::is_control;
use serde_json::{Number, Value};

#[cfg(test)]
mod tests;

/// The words that are not strings for some readers, in lower case, upper case or a mixture.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// The maximum length of a key, in bytes, that is not marked as one. Readers look for its colon in 1024 characters.
const MAX_KEY: usize = 1000;

/// Returns the YAML of a value, in whole lines. All lines but the first are indented by this many spaces.
pub fn text(value: &Value, indent: usize) -> String {
    let mut out = String::new();
    write(&mut out, value, indent);
    out.push('\n');
    out
}

/// Appends a value, without the end of its last line. The recursion goes no deeper than `serde_json` lets a document nest.
fn write(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (place, (key, value)) in map.iter().enumerate() {
                if place > 0 {
                    line(out, indent);
                }
                entry(out, key, value, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    line(out, indent);
                }
                out.push_str("- ");
                write(out, item, indent + 2);
            }
        }
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::String(text) => match text.strip_suffix('\n') {
            Some(lines) if is_block(lines) => block(out, "|", lines, indent),
            None if text.contains('\n') && is_block(text) => block(out, "|-", text, indent),
            _ => out.push_str(&scalar(text)),
        },
        Value::Number(it) => out.push_str(&number(it)),
        Value::Bool(_) | Value::Null => out.push_str(&value.to_string()),
    }
}

/// Appends a key and its value.
fn entry(out: &mut String, key: &str, value: &Value, indent: usize) {
    let key = scalar(key);
    if key.len() > MAX_KEY {
        out.push_str("? ");
        out.push_str(&key);
        line(out, indent);
    } else {
        out.push_str(&key);
    }
    out.push(':');
    // Like kubectl: the dashes of a list are below the key's first letter.
    let inner = if value.is_array() { indent } else { indent + 2 };
    let is_nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_nested {
        line(out, inner);
    } else {
        out.push(' ');
    }
    write(out, value, inner);
}

/// Begins a line.
fn line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Returns a string on one line.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.into() } else { quoted(text) }
}

/// Whether every reader takes this text, without quotes, for a string. In doubt, the answer is no: quotes do no harm.
fn is_plain(text: &str) -> bool {
    // Numbers and times begin with a digit, a sign or a point. Everything else that has a meaning in YAML begins with an indicator.
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " -_./:@=+,".contains(c))
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Puts a string in double quotes, in which anything can be escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_escaped(c) && c <= '\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if is_escaped(c) => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a terminal acts on this character, or a reader of YAML refuses it. The former include the line ends of YAML 1.1.
fn is_escaped(c: char) -> bool {
    is_control(c) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Whether these lines can be shown as they are. A space at the beginning would pass for indentation. Empty lines at the end need another
/// indicator, and editors remove spaces at the end of a line.
fn is_block(lines: &str) -> bool {
    let is_trimmed = |text: &str| text.trim_end() == text;
    !lines.is_empty()
        && !lines.starts_with(char::is_whitespace)
        && is_trimmed(lines)
        && lines.split('\n').all(|line| is_trimmed(line) && !line.contains(is_escaped))
}

/// Appends lines as they are, after an indicator that says whether the last line ends.
fn block(out: &mut String, indicator: &str, lines: &str, indent: usize) {
    out.push_str(indicator);
    for text in lines.split('\n') {
        line(out, if text.is_empty() { 0 } else { indent });
        out.push_str(text);
    }
}

/// Returns a number. In YAML 1.1, a number with an exponent needs a point: `1e+30` would be a string.
fn number(number: &Number) -> String {
    match number.to_string() {
        text if text.contains('.') => text,
        text => text.replace('e', ".0e"),
    }
}
