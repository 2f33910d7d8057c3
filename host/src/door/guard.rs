//! Keeps the token out of a sandbox that is not to have it, also where a server sends it back.

use http::HeaderMap;
use memchr::memmem::Finder;

/// A shorter secret could be found in texts that have nothing to do with it. Kubernetes's tokens are longer.
const SHORTEST: usize = 16;

/// Looks for one token in an answer, however the answer is cut in pieces.
pub(crate) struct Guard {
    token: Finder<'static>,
    /// The end of what has been seen, in which the token may begin.
    tail: Vec<u8>,
}

impl Guard {
    pub(crate) fn new(token: &[u8]) -> Option<Guard> {
        (token.len() >= SHORTEST).then(|| Guard { token: Finder::new(token).into_owned(), tail: Vec::new() })
    }

    /// Whether the token is in a header's value, or is its name.
    pub(crate) fn finds_in_headers(&self, headers: &HeaderMap) -> bool {
        let has = |text: &[u8]| self.token.find(text).is_some();
        headers.iter().any(|(name, value)| has(name.as_str().as_bytes()) || has(value.as_bytes()))
    }

    /// Whether the token has been seen whole, with this next piece.
    pub(crate) fn finds_in(&mut self, piece: &[u8]) -> bool {
        let overlap = self.token.needle().len() - 1;
        // Across the border first: the tail is shorter than the token.
        self.tail.extend_from_slice(&piece[..piece.len().min(overlap)]);
        let found = self.token.find(&self.tail).is_some() || self.token.find(piece).is_some();
        if piece.len() >= overlap {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - overlap..]);
        } else {
            let surplus = self.tail.len().saturating_sub(overlap);
            self.tail.drain(..surplus);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderName;

    const TOKEN: &[u8] = b"abababababababac";

    #[test]
    fn the_token_is_found_however_the_answer_is_cut() {
        let answer = [b"abab", TOKEN, b"ab"].concat();
        for size in 1..=answer.len() {
            let mut guard = Guard::new(TOKEN).unwrap();
            assert!(answer.chunks(size).any(|piece| guard.finds_in(piece)), "{size}");
        }
    }

    #[test]
    fn what_is_not_the_token_is_let_through() {
        for size in 1..=8 {
            let mut guard = Guard::new(TOKEN).unwrap();
            assert!(![b'a', b'b'].repeat(20).chunks(size).any(|piece| guard.finds_in(piece)), "{size}");
        }
        assert!(Guard::new(b"short").is_none());
    }

    #[test]
    fn headers_are_looked_at() {
        let headers = |value: &'static str| HeaderMap::from_iter([(http::header::WARNING, value.parse().unwrap())]);
        let guard = Guard::new(TOKEN).unwrap();
        assert!(guard.finds_in_headers(&headers("saw abababababababac")));
        assert!(!guard.finds_in_headers(&headers("abababababababab")));
        let name = HeaderName::from_bytes(&[b"x-", TOKEN].concat()).unwrap();
        assert!(guard.finds_in_headers(&HeaderMap::from_iter([(name, "1".parse().unwrap())])));
    }
}
