//! How often something is logged that may happen with each request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the same thing is not logged again.
const ONCE_IN: Duration = Duration::from_secs(1);

/// When something was logged that may happen often.
#[derive(Default)]
pub(crate) struct Told(Mutex<Option<(Instant, u64)>>);

impl Told {
    /// If it is to be logged again, returns how many times it was left out.
    pub(crate) fn tell(&self, now: Instant) -> Option<u64> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, suppressed)) if now.saturating_duration_since(*at) < ONCE_IN => {
                *suppressed += 1;
                None
            }
            last => Some(last.replace((now, 0)).map_or(0, |(_, suppressed)| suppressed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_second() {
        let (told, begun) = (Told::default(), Instant::now());
        let tell = |milliseconds| told.tell(begun + Duration::from_millis(milliseconds));
        assert_eq!([0, 1, 999, 1000, 1001, 2000].map(tell), [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
