//! When a watch ends.

use crate::machine::after;
use std::time::{Duration, Instant};

/// When a watch ends of which the caller said how long it may take.
pub enum End {
    /// It does not.
    Never,
    /// So long after its first use.
    In(Duration),
    /// Then.
    At(Instant),
}

impl End {
    /// So many seconds after the first use; never, without any.
    pub fn after(seconds: Option<u32>) -> End {
        seconds.map_or(End::Never, |seconds| End::In(Duration::from_secs(seconds.into())))
    }

    /// The watch is used.
    pub fn begin(&mut self, now: Instant) {
        if let End::In(time) = *self {
            *self = End::At(after(now, time));
        }
    }

    /// The time, once it is known.
    pub fn at(&self) -> Option<Instant> {
        match self {
            End::At(end) => Some(*end),
            End::Never | End::In(_) => None,
        }
    }

    /// How long there is left; `None` is for ever.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.at().map(|end| end.saturating_duration_since(now))
    }
}
