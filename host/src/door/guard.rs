//! Keeps tokens out of a sandbox that must not have them, even if a server sends them back.

use bytes::Bytes;
use http::HeaderMap;
use incluster_core::secrets::{Known, MIN_PART, Secrets};
use memchr::memmem::Finder;
use std::sync::Arc;

/// Looks for all of a tenant's tokens in an answer, however the answer is split into pieces. Bytes that may begin a token are held back until
/// more bytes decide; fewer than [`MIN_PART`] characters are handed over at once, so that no event waits for the next one.
pub(crate) struct Guard {
    secrets: Arc<Secrets>,
    known: Known,
    beginnings: Vec<Finder<'static>>,
    /// The last bytes that have arrived, in which a token may begin.
    tail: Vec<u8>,
    /// How many bytes at the end of `tail` are held back.
    held: usize,
    /// The bytes around the border between the tail and the next piece.
    border: Vec<u8>,
}

/// The answer contains a token.
#[derive(Debug, PartialEq)]
pub(crate) struct Found;

/// What begins at a place in the answer.
enum Begins {
    Nothing,
    /// The bytes end before this can be decided.
    Perhaps,
    Token,
}

impl Guard {
    pub(crate) fn new(secrets: Arc<Secrets>) -> Guard {
        let (beginnings, known) = (Vec::new(), Known::default());
        let mut guard = Guard { secrets, known, beginnings, tail: Vec::new(), held: 0, border: Vec::new() };
        guard.look_for_new();
        guard
    }

    /// Whether a header's value contains a token or a part of one, or a header's name the beginning of one. Names are in lower case.
    pub(crate) fn finds_in_headers(&self, headers: &HeaderMap) -> bool {
        let begins = |name: &str| {
            let beginnings = self.beginnings.iter().map(Finder::needle);
            beginnings
                .into_iter()
                .any(|beginning| name.as_bytes().windows(MIN_PART).any(|part| part.eq_ignore_ascii_case(beginning)))
        };
        headers.iter().any(|(name, value)| begins(name.as_str()) || self.secrets.is_in(value.as_bytes()))
    }

    /// Takes the next piece, and returns what may be handed over.
    // `just bench-check` counts this function's instructions, by its name.
    #[inline(never)]
    pub(crate) fn pass(&mut self, piece: &Bytes) -> Result<Bytes, Found> {
        self.look_for_new();
        let before = self.tail.len();
        let all = before + piece.len();
        let handed_over = before - self.held;
        let perhaps = match self.across(piece)? {
            Some(at) => Some(at),
            None => self.scan(&self.tail, piece)?,
        };
        let good = perhaps.unwrap_or(all).max(handed_over);
        let passed = match good.checked_sub(before) {
            Some(good) if self.held == 0 => piece.slice(..good),
            Some(good) => [&self.tail[handed_over..], &piece[..good]].concat().into(),
            None => Bytes::copy_from_slice(&self.tail[handed_over..good]),
        };
        let keep = perhaps.unwrap_or(all.saturating_sub(MIN_PART - 1));
        match keep.checked_sub(before) {
            Some(keep) => {
                self.tail.clear();
                self.tail.extend_from_slice(&piece[keep..]);
            }
            None => {
                self.tail.drain(..keep);
                self.tail.extend_from_slice(piece);
            }
        }
        self.held = all - good;
        Ok(passed)
    }

    /// Returns how many bytes are held back.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Ends the answer. It must not end in bytes that are held back, because they may begin a token.
    pub(crate) fn end(&self) -> Result<(), Found> {
        if self.held == 0 { Ok(()) } else { Err(Found) }
    }

    /// Adds tokens that have come into use since, for example because the token has been renewed.
    fn look_for_new(&mut self) {
        let known = self.secrets.known();
        if Arc::ptr_eq(&known, &self.known) {
            return;
        }
        let mut beginnings: Vec<&[u8; MIN_PART]> = known.iter().filter_map(|secret| secret.beginning()).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        self.beginnings = beginnings.into_iter().map(|beginning| Finder::new(beginning).into_owned()).collect();
        self.known = known;
    }

    /// The first place in the tail where a token may begin.
    fn across(&mut self, piece: &[u8]) -> Result<Option<usize>, Found> {
        if self.tail.is_empty() {
            return Ok(None);
        }
        self.border.clear();
        self.border.extend_from_slice(&self.tail);
        self.border.extend_from_slice(&piece[..piece.len().min(MIN_PART - 1)]);
        self.search(&self.border, 0, &self.tail, piece)
    }

    /// The first place in the piece where a token may begin.
    fn scan(&self, tail: &[u8], piece: &[u8]) -> Result<Option<usize>, Found> {
        self.search(piece, tail.len(), tail, piece)
    }

    /// Looks for beginnings in `searched`, which starts at position `from` of tail and piece together.
    fn search(&self, searched: &[u8], from: usize, tail: &[u8], piece: &[u8]) -> Result<Option<usize>, Found> {
        let mut first = None;
        for beginning in &self.beginnings {
            let mut next = 0;
            // Beginnings may overlap.
            while let Some(at) = beginning.find(&searched[next..]) {
                let at = next + at;
                match self.begins(beginning.needle(), tail, piece, from + at) {
                    Begins::Token => return Err(Found),
                    Begins::Perhaps => first = Some(first.map_or(from + at, |first: usize| first.min(from + at))),
                    Begins::Nothing => {}
                }
                next = at + 1;
            }
        }
        Ok(first)
    }

    /// What begins at this position of tail and piece together.
    fn begins(&self, beginning: &[u8], tail: &[u8], piece: &[u8], at: usize) -> Begins {
        let (tail, piece) = (&tail[at.min(tail.len())..], &piece[at.saturating_sub(tail.len())..]);
        let mut begins = Begins::Nothing;
        for secret in self.known.iter().map(|secret| secret.decisive()).filter(|secret| secret.starts_with(beginning)) {
            let (in_tail, in_piece) = secret.split_at(tail.len().min(secret.len()));
            let there = piece.len().min(in_piece.len());
            if tail.starts_with(in_tail) && piece[..there] == in_piece[..there] {
                if there == in_piece.len() {
                    return Begins::Token;
                }
                begins = Begins::Perhaps;
            }
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;
    use std::time::SystemTime;

    /// A JWT whose header repeats itself, and the length of the part that decides.
    const TOKEN: &str = "abababababababababac.e30.the-signature-is-longer";
    const DECISIVE: usize = 25 + MIN_PART;

    fn guard(tokens: &[&str]) -> Guard {
        let secrets = Secrets::default();
        tokens.iter().for_each(|token| secrets.add(token.as_bytes(), SystemTime::UNIX_EPOCH));
        Guard::new(Arc::new(secrets))
    }

    /// What is handed over of these pieces, and whether that is all.
    fn passed<'a>(guard: &mut Guard, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
        let mut passed = Vec::new();
        for piece in pieces {
            match guard.pass(&Bytes::copy_from_slice(piece)) {
                Ok(piece) => passed.extend_from_slice(&piece),
                Err(Found) => return (passed, false),
            }
        }
        (passed, guard.end().is_ok())
    }

    #[test]
    fn the_token_is_found_however_the_answer_is_cut() {
        for token in [TOKEN, &TOKEN[..DECISIVE], "opaque-but-long-enough"] {
            let answer = ["abab", token, "ab"].concat();
            for size in 1..=answer.len() {
                let (passed, all) = passed(&mut guard(&[TOKEN, "opaque-but-long-enough"]), answer.as_bytes().chunks(size));
                assert!(!all && passed.len() < 4 + MIN_PART, "{size}: {}", passed.len());
            }
        }
    }

    #[test]
    fn what_is_not_the_token_is_handed_over() {
        let answer = "ab".repeat(40) + "x";
        for size in 1..=8 {
            assert_eq!(passed(&mut guard(&[TOKEN]), answer.as_bytes().chunks(size)), (answer.clone().into(), true), "{size}");
        }
        assert_eq!(passed(&mut guard(&["short"]), [&b"short"[..]]), (b"short".to_vec(), true));
    }

    /// An answer that ends in a token's first characters does not wait; one that ends in the middle of a token is not handed over.
    #[test]
    fn a_beginning_is_held_back() {
        let mut guard = guard(&[TOKEN]);
        assert_eq!(guard.pass(&Bytes::from(TOKEN[..MIN_PART - 1].to_string())).unwrap().len(), MIN_PART - 1);
        assert_eq!(guard.pass(&Bytes::from_static(b"b")), Ok(Bytes::new()), "this decides nothing");
        assert_eq!(guard.pass(&Bytes::from_static(b"x")), Ok(Bytes::from_static(b"bx")));
        let undecided = &TOKEN.as_bytes()[..DECISIVE - 1];
        assert_eq!(passed(&mut guard, [undecided]), (Vec::new(), false));
        assert_eq!(passed(&mut self::guard(&[TOKEN]), [undecided, b"x"]).0.len(), DECISIVE, "it is another token");
    }

    #[test]
    fn a_token_that_is_used_later_is_found_too() {
        let mut guard = guard(&["the-first-of-two-tokens"]);
        assert!(guard.pass(&Bytes::from_static(b"the-second-of-two")).is_ok());
        guard.secrets.add(b"the-second-of-two-tokens", SystemTime::UNIX_EPOCH);
        for token in ["the-first-of-two-tokens", "the-second-of-two-tokens"] {
            assert_eq!(guard.pass(&Bytes::from(token)), Err(Found));
        }
    }

    #[test]
    fn tokens_are_found_in_headers() {
        let headers = |value: &str| HeaderMap::from_iter([(http::header::WARNING, value.parse().unwrap())]);
        let guard = guard(&[TOKEN]);
        assert!(guard.finds_in_headers(&headers(&format!("saw {TOKEN}"))));
        assert!(guard.finds_in_headers(&headers(&TOKEN[3..TOKEN.len() - 3])), "a part of it");
        assert!(!guard.finds_in_headers(&headers(&TOKEN[..MIN_PART - 1])));
        let name = |name: &str| HeaderMap::from_iter([(HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap())]);
        assert!(guard.finds_in_headers(&name(&format!("x-{TOKEN}"))));
        assert!(self::guard(&[testbed::TOKEN]).finds_in_headers(&name(testbed::TOKEN)), "in lower case");
        assert!(!guard.finds_in_headers(&name("content-security-policy-report-only")));
    }

    proptest! {
        /// Tokens with much in common, in texts of the same characters.
        #[test]
        fn whatever_is_handed_over_is_the_answer_and_has_no_more_than_15_characters_of_a_token(
            tokens in proptest::collection::vec("[ab]{16,40}|[ab]{4,20}\\.e30\\.[ab]{1,40}", 1..4),
            parts in proptest::collection::vec(("[ab]{0,40}", 0..5usize, 0..40usize), 0..6),
            cuts in proptest::collection::vec(0..60usize, 1..30),
        ) {
            let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
            let mut answer = String::new();
            for (noise, which, length) in &parts {
                let token = tokens.get(*which).copied().unwrap_or("-");
                answer.extend([noise.as_str(), &token[..token.len().min(*length)]]);
            }
            let mut pieces = Vec::new();
            let mut rest = answer.as_bytes();
            for cut in cuts.iter().cycle().take(100) {
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let mut guard = guard(&tokens);
            let decisive: Vec<Vec<u8>> = guard.known.iter().filter(|s| s.beginning().is_some()).map(|s| s.decisive().into()).collect();
            let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
            let mut passed = Vec::new();
            let (mut all, mut came) = (true, 0);
            for piece in pieces {
                match guard.pass(&Bytes::copy_from_slice(piece)) {
                    Ok(piece) => passed.extend_from_slice(&piece),
                    Err(Found) => {
                        all = false;
                        break;
                    }
                }
                came += piece.len();
                // Only a useless part of a possible token is handed over, unless later bytes have shown that it is not a token.
                for token in &decisive {
                    let may_be = |cut: usize| answer.as_bytes()[passed.len() - cut..came].iter().zip(token).all(|(came, of)| came == of);
                    prop_assert!((MIN_PART..=token.len()).all(|cut| !passed.ends_with(&token[..cut]) || !may_be(cut)));
                }
            }
            all &= guard.end().is_ok();
            prop_assert!(answer.as_bytes().starts_with(&passed));
            prop_assert!(!all || passed.len() == answer.len());
            prop_assert!(decisive.iter().all(|token| !has(&passed, token)));
            let may_begin = decisive.iter().any(|token| (MIN_PART..=token.len()).any(|cut| answer.as_bytes().ends_with(&token[..cut])));
            prop_assert_eq!(all, !may_begin && decisive.iter().all(|token| !has(answer.as_bytes(), token)));
        }
    }
}
