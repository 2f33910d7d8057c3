//! The tokens that must not appear in what comes back from a server or a file. A server, or a proxy in front of it, may echo what it was
//! sent: in a body, a header, the reason of a GOAWAY, or a name in a certificate. A file may hold a token by mistake.

use crate::claims::Claims;
use crate::credentials::CLOCK_SKEW;
use crate::{Token, text};
use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The maximum number of tokens to keep; the least recently used one is dropped first. An expired token is dropped when another is added. A
/// token without `exp` stays until that many others have been used.
pub const MAX_TOKENS: usize = 16;

/// The length of the shortest part of a token that is worth hiding. A shorter token is looked for as a whole, and only in texts.
pub const MIN_PART: usize = 16;

/// The maximum number of a token's bytes that are looked for; no server accepts a longer header.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The maximum number of bytes that identify a token: two tokens of one account differ earlier.
const MAX_DECISIVE_BYTES: usize = 1024;

/// The text that replaces a token.
const REDACTED: &str = "(redacted)";

/// The known tokens of one client or tenant. Its `Debug` does not show them.
#[derive(Default)]
pub struct Secrets(Mutex<Known>);

/// A token to look for. Its `Debug` does not show it.
pub struct Secret {
    text: Box<[u8]>,
    decisive: usize,
    expires: Option<Duration>,
    blocks: Blocks,
}

/// The known tokens, with the most recently used one at the end.
pub type Known = Arc<Vec<Arc<Secret>>>;

/// The length of the blocks that a token is divided into. A part of a token that is worth hiding contains at least one of them whole.
const BLOCK: usize = MIN_PART / 2;

/// The set of a token's possible blocks: a bit for each value of an eleven-bit hash.
#[derive(Default)]
struct Blocks([u64; 32]);

impl Blocks {
    fn place(block: [u8; BLOCK]) -> (usize, u64) {
        let hash = u64::from_le_bytes(block).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        (hash as usize / 64, 1 << (hash % 64))
    }

    fn of(token: &[u8]) -> Blocks {
        let mut blocks = Blocks::default();
        for block in token.as_chunks().0 {
            let (word, bit) = Blocks::place(*block);
            blocks.0[word] |= bit;
        }
        blocks
    }

    fn may_have(&self, block: [u8; BLOCK]) -> bool {
        let (word, bit) = Blocks::place(block);
        self.0[word] & bit != 0
    }
}

impl Secret {
    fn new(token: &[u8]) -> Secret {
        let parsed = Token::parse("", token).ok();
        let claims = parsed.as_ref().and_then(Claims::of);
        let expires = claims.and_then(|claims| claims.exp).and_then(|exp| u64::try_from(exp).ok()).map(Duration::from_secs);
        let text: Box<[u8]> = token[..token.len().min(MAX_TOKEN_BYTES)].into();
        // The header and the claims of a JWT (RFC 7519) are not secret, and another token may begin with the same ones. Its signature is
        // secret. A token of another kind is secret as a whole.
        let is_jwt = parsed.is_some_and(|token| token.payload().is_some());
        let secret_from = token.iter().rposition(|b| *b == b'.').filter(|_| is_jwt).map_or(0, |dot| dot + 1);
        let decisive = (secret_from + MIN_PART).min(text.len()).min(MAX_DECISIVE_BYTES);
        let blocks = Blocks::of(&text);
        Secret { text, decisive, expires, blocks }
    }

    /// The first characters; `None` for a token that is too short to be looked for outside texts.
    pub fn beginning(&self) -> Option<&[u8; MIN_PART]> {
        self.text.first_chunk()
    }

    /// The beginning that identifies the token, whatever follows it.
    pub fn decisive(&self) -> &[u8] {
        &self.text[..self.decisive]
    }

    fn has_expired(&self, since_1970: Duration) -> bool {
        self.expires.is_some_and(|expires| since_1970 > expires.saturating_add(CLOCK_SKEW))
    }

    /// Reports where parts of the token are in a text. A part may be reported in one range, or in several.
    fn parts(&self, text: &[u8], mut found: impl FnMut(Range<usize>)) {
        let secret = &*self.text;
        if secret.len() < MIN_PART {
            let whole = text.windows(secret.len()).enumerate().filter(|(_, window)| *window == secret);
            return whole.for_each(|(at, _)| found(at..at + secret.len()));
        }
        for (at, window) in text.windows(BLOCK).enumerate() {
            let Some(block) = window.first_chunk().filter(|block| self.blocks.may_have(**block)) else { continue };
            for (number, _) in secret.as_chunks().0.iter().enumerate().filter(|(_, here)| *here == block) {
                let here = number * BLOCK;
                let before = common(secret[..here].iter().rev(), text[..at].iter().rev());
                let after = common(secret[here..].iter(), text[at..].iter());
                if before + after >= MIN_PART {
                    found(at - before..at + after);
                    // One match for each place in the text is enough, even where a token repeats itself.
                    break;
                }
            }
        }
    }
}

/// The number of equal bytes at the beginning of both, counted only as far as it matters.
fn common<'a>(one: impl Iterator<Item = &'a u8>, other: impl Iterator<Item = &'a u8>) -> usize {
    one.zip(other).take(BLOCK + MIN_PART).take_while(|(one, other)| one == other).count()
}

impl Secrets {
    /// Adds a token that is in use, or will be.
    pub fn add(&self, token: &[u8], now: SystemTime) {
        let mut known = self.lock();
        let looked_for = &token[..token.len().min(MAX_TOKEN_BYTES)];
        if looked_for.is_empty() || known.last().is_some_and(|last| *last.text == *looked_for) {
            return;
        }
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let known = Arc::make_mut(&mut *known);
        known.retain(|secret| *secret.text != *looked_for && !secret.has_expired(since_1970));
        if known.len() == MAX_TOKENS {
            known.remove(0);
        }
        known.push(Arc::new(Secret::new(token)));
    }

    /// Returns the known tokens.
    pub fn known(&self) -> Known {
        self.lock().clone()
    }

    /// Returns what a peer said as text: its control characters escaped, cut as by [`text::error`], and without any known token.
    pub fn text(&self, said: &impl Display) -> String {
        // No character of a token is ever escaped.
        let mut text = text::error(said);
        self.redact(&mut text);
        // The replacement of a short token is longer than the token.
        if text.len() > text::MAX_ERROR + REDACTED.len() {
            text.truncate(text.floor_char_boundary(text::MAX_ERROR));
            text.push('…');
        }
        text
    }

    /// Whether these bytes contain a known token, or [`MIN_PART`] characters or more of one. Shorter tokens are not looked for.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let mut is_in = false;
        for secret in self.known().iter().filter(|secret| secret.text.len() >= MIN_PART) {
            secret.parts(bytes, |_| is_in = true);
        }
        is_in
    }

    /// Replaces every known token in a text, and every part of [`MIN_PART`] characters or more.
    pub fn redact(&self, text: &mut String) {
        let mut marked = vec![false; text.len()];
        for secret in self.known().iter() {
            secret.parts(text.as_bytes(), |part| marked[part].fill(true));
        }
        if !marked.contains(&true) {
            return;
        }
        // Marked characters are ASCII, as tokens are.
        let (mut redacted, mut was_marked) = (String::new(), false);
        for (at, c) in text.char_indices() {
            match (marked[at], was_marked) {
                (false, _) => redacted.push(c),
                (true, false) => redacted.push_str(REDACTED),
                (true, true) => {}
            }
            was_marked = marked[at];
        }
        *text = redacted;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn jwt(claims: &str, signature: &str) -> String {
        format!("eyJhbGciOiJSUzI1NiJ9.{}.{signature}", data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    fn secrets(tokens: &[&str]) -> Secrets {
        let secrets = Secrets::default();
        tokens.iter().for_each(|token| secrets.add(token.as_bytes(), at(0)));
        secrets
    }

    #[test]
    fn a_token_is_known_until_it_expires_and_one_without_an_expiry_until_there_are_too_many() {
        let secrets = secrets(&[&jwt(r#"{"exp":1000}"#, "one"), "endless"]);
        let known = |seconds: u64, token: &str| {
            secrets.add(token.as_bytes(), at(seconds));
            secrets.known().len()
        };
        assert_eq!((known(1060, "endless"), known(1060, "other")), (2, 3));
        assert_eq!(known(1061, "endless"), 2, "the first has expired");
        for number in 0..MAX_TOKENS {
            assert!(known(1061, &format!("{number}")) <= MAX_TOKENS);
        }
        assert_eq!(secrets.known().len(), MAX_TOKENS);
        assert!(secrets.known().iter().all(|secret| *secret.text != *b"endless"));
    }

    #[test]
    fn what_decides_is_the_signature() {
        let decisive = |token: &str| Secret::new(token.as_bytes()).decisive().len();
        let claims = jwt("{}", "").len();
        assert_eq!(decisive(&jwt("{}", &"s".repeat(300))), claims + MIN_PART);
        assert_eq!(decisive(&jwt("{}", "short")), claims + 5);
        assert_eq!((decisive("a-token-that-is-no-jwt"), decisive("a-token-that-is-no.jwt")), (MIN_PART, MIN_PART));
        assert_eq!(decisive(&jwt(&" ".repeat(MAX_TOKEN_BYTES), "s")), MAX_DECISIVE_BYTES);
        assert!(Secret::new(b"short").beginning().is_none());
    }

    #[test]
    fn a_text_has_no_part_of_a_token_that_is_of_use() {
        let token = jwt(r#"{"sub":"me"}"#, "abcdefghijklmnopqrstuvwxyz0123456789");
        let secrets = secrets(&["opaque-but-long-enough", "s3cr3t", &token]);
        for (text, freed) in [
            (format!("you sent Bearer {token}, {token}"), "you sent Bearer (redacted), (redacted)"),
            (format!("{}{}", &token[..60], &token[..50]), "(redacted)"),
            ("ä fghijklmnopqrstu ö".into(), "ä (redacted) ö"),
            ("fghijklmnopqrst".into(), "fghijklmnopqrst"),
            ("an opaque-but-long-enough s3cr3t.".into(), "an (redacted) (redacted)."),
        ] {
            let mut text = text;
            secrets.redact(&mut text);
            assert_eq!(text, freed);
        }
        assert_eq!(secrets.text(&"a\x1bs3cr3t"), r"a\u{1b}(redacted)");
        assert!(secrets.is_in(b"x-fghijklmnopqrstu") && !secrets.is_in(b"fghijklmnopqrst s3cr3t"));
        let short = self::secrets(&["a"]).text(&"a b ".repeat(text::MAX_ERROR));
        assert!(short.len() < text::MAX_ERROR + 16 && short.starts_with("(redacted) b (redacted)"));
        let long = secrets.text(&format!("{}{token}", " ".repeat(text::MAX_ERROR - 20)));
        assert!(long.ends_with(" (redacted)…"), "{}", &long[long.len() - 30..]);
        assert!(!format!("{secrets:?}{:?}", secrets.known()).contains("opaque"));
    }

    proptest! {
        #[test]
        fn no_part_is_left_whatever_is_around_it(token in "[a-z]{16,80}", from in 0..64usize, before in ".{0,20}", after in ".{0,20}") {
            let part = &token[from.min(token.len() - MIN_PART)..];
            let mut text = format!("{before}{part}{after}");
            secrets(&[&token]).redact(&mut text);
            prop_assert!(token.as_bytes().windows(MIN_PART).all(|part| !text.contains(std::str::from_utf8(part).unwrap())));
        }
    }
}
