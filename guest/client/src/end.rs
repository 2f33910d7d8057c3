//! The end of a watch.

use crate::machine::after;
use std::time::{Duration, Instant};

/// The end of a watch whose time the caller may have limited.
pub enum End {
    /// There is no end.
    Never,
    /// The end is this long after the first use.
    In(Duration),
    /// The end is at this time.
    At(Instant),
}

impl End {
    /// Makes an end this many seconds after the first use; none if `seconds` is `None`.
    pub fn after(seconds: Option<u32>) -> End {
        seconds.map_or(End::Never, |seconds| End::In(Duration::from_secs(seconds.into())))
    }

    /// Notes that the watch is used.
    pub fn begin(&mut self, now: Instant) {
        if let End::In(time) = *self {
            *self = End::At(after(now, time));
        }
    }

    /// The time of the end, once it is known.
    pub fn at(&self) -> Option<Instant> {
        match self {
            End::At(end) => Some(*end),
            End::Never | End::In(_) => None,
        }
    }

    /// How much time is left; `None` means for ever.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.at().map(|end| end.saturating_duration_since(now))
    }
}
