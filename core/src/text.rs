//! Makes text of bytes that come from others: a server, a file, a component.
//!
//! The reader of the text, a terminal or a log, must neither act on it nor be flooded by it: control characters are escaped, and long text
//! is cut.

use std::fmt::{self, Display, Write};

/// The maximum number of a name's characters that are shown.
pub const MAX_NAME: usize = 100;

/// The maximum number of a list's names that are shown.
pub const MAX_NAMES: usize = 10;

/// The maximum number of an error's bytes that are shown.
pub const MAX_ERROR: usize = 4 << 10;

/// Whether a terminal or a viewer acts on this character instead of showing it: a control character, one that ends a line, one that changes
/// the direction of the text after it, or an invisible one, which makes two names look the same.
pub fn is_control(c: char) -> bool {
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    let is_direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_invisible =
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || is_separator || is_direction || is_invisible
}

/// Escapes a name's control characters, and cuts it after [`MAX_NAME`] characters. An escape counts as many characters as it has.
pub fn name(name: &str) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for c in name.chars() {
        length += if is_control(c) { c.escape_default().len() } else { 1 };
        if length > MAX_NAME {
            shown.push('…');
            break;
        }
        push(&mut shown, c);
    }
    shown
}

/// Escapes the control characters of an error or another text, and cuts it after [`MAX_ERROR`] bytes. It is formatted no further than that.
pub fn error(text: &impl Display) -> String {
    let mut shown = Shown(String::new());
    // Writing fails where the text is cut.
    let _ = write!(shown, "{text:#}");
    shown.0
}

/// Puts a text into one line of any length: each control character becomes a space.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_control(c) { ' ' } else { c }).collect()
}

/// Escapes the control characters in JSON's strings that JSON itself allows unescaped.
pub fn json(json: String) -> String {
    let acts = |c| c != '\n' && is_control(c);
    if !json.contains(acts) {
        return json;
    }
    let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    json.chars().map(|c| if acts(c) { escaped(c) } else { c.into() }).collect()
}

struct Shown(String);

impl Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() >= MAX_ERROR {
                self.0.push('…');
                return Err(fmt::Error);
            }
            push(&mut self.0, c);
        }
        Ok(())
    }
}

fn push(text: &mut String, c: char) {
    if is_control(c) { text.extend(c.escape_default()) } else { text.push(c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_acts_on_nothing_in_a_name() {
        assert_eq!(name("a\x1b[2J\r\nb\u{9b}c\u{202e}d\u{2066}e\u{2028}"), r"a\u{1b}[2J\r\nb\u{9b}c\u{202e}d\u{2066}e\u{2028}");
        assert_eq!(name("größe-🦀 \\ ‘x’"), "größe-🦀 \\ ‘x’");
        assert_eq!(name("a\u{200f}b\u{61c}c\u{200b}d\u{e0041}"), r"a\u{200f}b\u{61c}c\u{200b}d\u{e0041}");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name(&"ä".repeat(100)), "ä".repeat(100));
        assert_eq!(name(&"ä".repeat(101)), "ä".repeat(100) + "…");
        assert_eq!(name(&"\u{202e}".repeat(30)), "\\u{202e}".repeat(12) + "…");
    }

    #[test]
    fn json_stays_json() {
        assert_eq!(
            json("{\n\"a\": \"x\u{9b}\u{7f}\u{202e}\u{e0041}\"}".into()),
            "{\n\"a\": \"x\\u009b\\u007f\\u202e\\udb40\\udc41\"}"
        );
    }

    /// Writes for as long as somebody accepts it.
    struct Endless;

    impl Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("\u{1b}x")?;
            }
        }
    }

    #[test]
    fn an_error_ends_however_long_it_is() {
        let shown = error(&Endless);
        assert!((MAX_ERROR..MAX_ERROR + 16).contains(&shown.len()) && shown.ends_with('…') && !shown.contains('\x1b'));
        assert_eq!(error(&"short\nlines"), r"short\nlines");
    }
}
