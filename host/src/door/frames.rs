//! Counts the frames of an HTTP/2 connection that carry nothing, before they reach the HTTP library, which would answer each of them.

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many frames that carry nothing may arrive per second. A server that refuses every request sends one for each, and a tenant may send
/// as many requests by default.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// How many frames that carry nothing may arrive in one burst.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(2000).unwrap();

/// How many heads may arrive per second. Each answer has one, or two with trailers; interim heads (1xx) could go on for ever.
const HEADS_PER_SECOND: NonZeroU32 = NonZeroU32::new(2000).unwrap();
/// How many heads may arrive in one burst.
const HEADS_AT_ONCE: NonZeroU32 = NonZeroU32::new(4000).unwrap();

/// Pieces with fewer bytes are small. They cost the library more than their content, and flow-control windows count the content alone.
const SMALL: usize = 256;

/// How many unread small pieces there may be on a connection: they take some MiB.
const MOST_SMALL: usize = 8192;

/// The size of a frame's head (RFC 9113, section 4.1): its length in three bytes, type, flags, and stream. In a padded DATA frame, the length
/// of the padding follows (section 6.1).
const HEAD: usize = 9;

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
/// A flag of SETTINGS.
const ACK: u8 = 0x1;
/// Flags of DATA.
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;

/// The text of the error for each kind of flood: frames without content, heads, and small pieces that nobody reads.
pub(crate) fn flood() -> String {
    format!(
        "the server sent more than {PER_SECOND} HTTP/2 frames without content in a second, more than {HEADS_PER_SECOND} heads in a second, or more than \
         {MOST_SMALL} tiny pieces that were not read yet"
    )
}

/// The count of small pieces of answers that have arrived on a connection and were not passed on yet.
#[derive(Default)]
pub(crate) struct Pieces(AtomicUsize);

impl Pieces {
    /// Counts a piece that has arrived. Returns false if there are too many.
    fn came(&self, length: usize) -> bool {
        length >= SMALL || self.0.fetch_add(1, Ordering::Relaxed) < MOST_SMALL
    }

    /// Counts a piece that was passed on.
    pub(crate) fn handed_on(&self, length: usize) {
        if length < SMALL {
            // Not below 0: the empty frame that may end an answer is passed on, too, but was not counted.
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        }
    }

    /// Resets the count, because the connection has no answer any more.
    pub(crate) fn none_left(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

type Rate<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Reads the heads of the frames that pass.
pub(crate) struct Frames<C: Clock = DefaultClock> {
    head: [u8; HEAD + 1],
    /// How much of the head has been read.
    read: usize,
    /// How much of the frame is still to come.
    rest: usize,
    rate: Rate<C>,
    heads: Rate<C>,
    is_over: bool,
    /// Whether the server's SETTINGS have begun.
    settings: bool,
    pieces: Arc<Pieces>,
}

impl<C: Clock + Clone> Frames<C> {
    pub(crate) fn new(clock: C, pieces: Arc<Pieces>) -> Frames<C> {
        let heads = Quota::per_second(HEADS_PER_SECOND).allow_burst(HEADS_AT_ONCE);
        let heads = RateLimiter::direct_with_clock(heads, clock.clone());
        let rate = RateLimiter::direct_with_clock(Quota::per_second(PER_SECOND).allow_burst(AT_ONCE), clock);
        Frames { head: [0; HEAD + 1], read: 0, rest: 0, rate, heads, is_over: false, settings: false, pieces }
    }

    /// Takes the next bytes that the server sent. Returns whether they may be passed to the library; after a flood, none may.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && !self.is_over {
            if self.rest > 0 {
                let gone = self.rest.min(bytes.len());
                self.rest -= gone;
                bytes = &bytes[gone..];
                continue;
            }
            let (more, after) = bytes.split_at(bytes.len().min(self.head_length() - self.read));
            self.head[self.read..][..more.len()].copy_from_slice(more);
            self.read += more.len();
            bytes = after;
            if self.read == self.head_length() {
                self.frame();
            }
        }
        !self.is_over
    }

    /// Whether the server's SETTINGS have arrived completely.
    pub(crate) fn has_settings(&self) -> bool {
        self.settings && self.rest == 0
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.head;
        u32::from_be_bytes([0, high, middle, low]) as usize
    }

    /// How many bytes at the frame's beginning are looked at, as far as this is known.
    fn head_length(&self) -> usize {
        let [.., kind, flags, _, _, _, _, _] = self.head;
        let is_padded = self.read >= HEAD && kind == DATA && flags & PADDED != 0 && self.length() > 0;
        HEAD + usize::from(is_padded)
    }

    /// Handles a frame whose head has been read.
    fn frame(&mut self) {
        let [.., kind, flags, _, _, _, _, padding] = self.head;
        let padding = if self.read > HEAD { 1 + usize::from(padding) } else { 0 };
        let content = self.length().saturating_sub(padding);
        self.rest = self.length() - (self.read - HEAD);
        self.read = 0;
        let carries_nothing = match kind {
            DATA => content == 0 && flags & END_STREAM == 0,
            HEADERS | CONTINUATION => content == 0,
            _ => true,
        };
        // The server's own SETTINGS, not an acknowledgement of ours.
        self.settings |= kind == SETTINGS && flags & ACK == 0;
        let is_head = matches!(kind, HEADERS | CONTINUATION);
        let is_piece = kind == DATA && content > 0;
        self.is_over = carries_nothing && self.rate.check().is_err()
            || is_head && self.heads.check().is_err()
            || is_piece && !self.pieces.came(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        // The payload looks like frames, too.
        [vec![high, middle, low, kind, flags, 0, 0, 0, 1], vec![6; length]].concat()
    }

    fn frames() -> (FakeRelativeClock, Frames<FakeRelativeClock>) {
        let clock = FakeRelativeClock::default();
        (clock.clone(), Frames::new(clock, Arc::default()))
    }

    /// How many of these frames pass at once, in pieces of this size.
    fn passing(frame: &[u8], cut: usize) -> usize {
        let (_, mut frames) = frames();
        (0..10_000).take_while(|_| frame.chunks(cut).all(|piece| frames.pass(piece))).count()
    }

    #[test]
    fn a_flood_of_frames_that_carry_nothing_ends() {
        // PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, and an unknown type.
        for kind in (2..9).chain([0xbe]) {
            assert_eq!(passing(&frame(kind, 0, 8), 5), 2000, "{kind}");
        }
        // The first of the seven bytes says that the other six are padding.
        for (kind, flags, length) in [(DATA, 0, 0), (DATA, PADDED, 7), (DATA, PADDED, 0), (HEADERS, 4, 0), (CONTINUATION, 0, 0)] {
            assert_eq!(passing(&frame(kind, flags, length), 1), 2000, "{kind}");
        }
    }

    #[test]
    fn an_answer_may_have_as_many_frames_as_it_likes() {
        // Of the seven additional bytes, the first says that six are padding.
        for (kind, flags, length) in [(DATA, 0, SMALL), (DATA, 0, 0x4000), (DATA, PADDED, SMALL + 7), (DATA, END_STREAM, 0)] {
            assert_eq!(passing(&frame(kind, flags, length), 4096), 10_000, "{kind}");
        }
    }

    /// `:status: 103` again and again.
    #[test]
    fn a_flood_of_heads_ends_too() {
        assert_eq!((passing(&frame(HEADERS, 4, 5), 4096), passing(&frame(CONTINUATION, 4, 1), 4096)), (4000, 4000));
    }

    #[test]
    fn frames_that_are_spread_over_time_are_not_a_flood() {
        let (clock, mut frames) = frames();
        for _ in 0..100 {
            assert!((0..1000).all(|_| frames.pass(&frame(6, 0, 8))));
            clock.advance(Duration::from_secs(1));
        }
    }

    /// Each piece costs some hundred bytes that no flow-control window counts.
    #[test]
    fn tiny_pieces_that_nobody_reads_end_the_connection() {
        let pieces = Arc::<Pieces>::default();
        let mut frames = Frames::new(FakeRelativeClock::default(), pieces.clone());
        let mut pass = |length| frames.pass(&frame(DATA, 0, length));
        assert!((0..10 * MOST_SMALL).all(|_| pass(SMALL)), "these are counted by their bytes");
        for _ in 0..3 {
            assert!((0..MOST_SMALL).all(|_| pass(1)));
            (0..MOST_SMALL).for_each(|_| pieces.handed_on(1));
        }
        assert!((0..MOST_SMALL).all(|_| pass(1)));
        pieces.none_left();
        assert!((0..MOST_SMALL).all(|_| pass(1)) && !pass(1));
    }
}
