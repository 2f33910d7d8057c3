//! Parses the header `Warning` (RFC 7234, section 5.5), in which an API server says what is deprecated or odd about a request that it
//! answers.

/// The code of an API server's warnings: "miscellaneous persistent warning". HTTP's other warnings are about caches.
const CODE: &str = "299";

/// The maximum length of a warning's text, in bytes. An API server cuts its warnings after 256 characters when there are many.
const MAX_TEXT: usize = 1024;

/// The texts of the warnings with the code 299 in one header's value, as far as it can be parsed.
///
/// ```
/// let value = r#"299 - "v1 Endpoints is deprecated", 110 cache "stale", 299 - "say \"hello\"" "Fri, 27 Nov 2026 14:00:00 GMT""#;
/// assert_eq!(incluster_core::warning::texts(value), ["v1 Endpoints is deprecated", "say \"hello\""]);
/// ```
pub fn texts(value: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = value;
    while let Some((code, text, after)) = warning(rest.trim_ascii_start().trim_start_matches(',').trim_ascii_start()) {
        if code == CODE && !text.is_empty() {
            texts.push(text);
        }
        rest = after;
    }
    texts
}

/// A warning's code and text, and what follows it.
fn warning(value: &str) -> Option<(&str, String, &str)> {
    let (code, rest) = value.split_once(' ')?;
    let (agent, rest) = rest.split_once(' ')?;
    if code.len() != 3 || agent.is_empty() || agent.contains(['"', ',']) {
        return None;
    }
    let (text, rest) = quoted(rest.trim_ascii_start())?;
    // A date may follow.
    let rest = match quoted(rest.trim_ascii_start()) {
        Some((_date, rest)) => rest,
        None => rest,
    };
    Some((code, text, rest))
}

/// A quoted string's text, and what follows it.
fn quoted(value: &str) -> Option<(String, &str)> {
    let value = value.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = value.char_indices();
    while let Some((at, c)) = characters.next() {
        let c = match c {
            '"' => return Some((text, &value[at + 1..])),
            '\\' => characters.next()?.1,
            c => c,
        };
        if text.len() < MAX_TEXT {
            text.push(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_read_ends_the_list() {
        for nothing in
            ["", ",", "299", "299 -", "299 - text", "299 - \"no end", "299  \"no agent\"", "29 - \"short\"", "299 - \"\""]
        {
            assert!(texts(nothing).is_empty(), "{nothing}");
        }
        assert_eq!(texts("299 - \"a\" 299 - \"b\",, 299 k8s.io:443 \"c\" junk, 299 - \"d\""), ["a", "b", "c"]);
        assert_eq!(texts(r#"299 - "a, \\ \"b\"""#), [r#"a, \ "b""#]);
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = texts(&format!("299 - \"{}\", 299 - \"b\"", "ä".repeat(9_999)));
        assert!(long[0].len() <= MAX_TEXT + 1 && long[1] == "b");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(given in prop::collection::vec("[ -~]{1,20}", 0..5)) {
            let quote = |text: &String| format!("299 - \"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
            let value = given.iter().map(quote).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(texts(&value), given);
        }

        #[test]
        fn nothing_is_too_odd(value in ".{0,80}") {
            texts(&value);
        }
    }
}
