//! When to read the files again.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The first wait before an extension is loaded again that could not be loaded because of this machine, for example for lack of
/// memory. The longest wait is `TRY_AGAIN_AT_THE_LATEST`.
const TRY_AGAIN: Duration = Duration::from_secs(30);
const TRY_AGAIN_AT_THE_LATEST: Duration = Duration::from_secs(600);

/// What shows that a file has changed or appeared: its path, and its time and size if it exists.
pub(crate) type Mark = (PathBuf, Option<(SystemTime, u64)>);

/// What was seen when the files were read last.
#[derive(Default)]
pub(crate) struct Look {
    marks: Vec<Mark>,
    /// When to read the files again although they have not changed, and how long that wait is.
    again: Option<(Instant, Duration)>,
}

impl Look {
    /// The next look: the more often the same files were tried, the longer the wait.
    pub(crate) fn then(&self, marks: Vec<Mark>, may_pass: bool, now: Instant) -> Look {
        let before = self.again.filter(|_| self.marks == marks).map_or(Duration::ZERO, |(_, waited)| waited * 2);
        let wait = before.clamp(TRY_AGAIN, TRY_AGAIN_AT_THE_LATEST);
        Look { marks, again: may_pass.then(|| (now + wait, wait)) }
    }

    pub(crate) fn is_to_be_followed(&self, marks: &[Mark], now: Instant) -> bool {
        self.marks != marks || self.again.is_some_and(|(at, _)| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_again_when_they_change_or_when_something_may_have_passed() {
        let (file, now) = (PathBuf::from("gateway.yaml"), Instant::now());
        let marks = |size| vec![(file.clone(), Some((SystemTime::UNIX_EPOCH, size)))];
        let good = Look::default().then(marks(1), false, now);
        assert!(Look::default().is_to_be_followed(&marks(1), now));
        assert!(!good.is_to_be_followed(&marks(1), now + TRY_AGAIN * 100));
        assert!(good.is_to_be_followed(&marks(2), now) && good.is_to_be_followed(&[(file.clone(), None)], now));
        let passing = good.then(marks(1), true, now);
        assert!(!passing.is_to_be_followed(&marks(1), now) && passing.is_to_be_followed(&marks(1), now + TRY_AGAIN));
        let again = passing.then(marks(1), true, now);
        assert!(!again.is_to_be_followed(&marks(1), now + TRY_AGAIN) && again.is_to_be_followed(&marks(1), now + TRY_AGAIN * 2));
        let often = (0..20).fold(again, |look, _| look.then(marks(1), true, now));
        assert!(often.is_to_be_followed(&marks(1), now + TRY_AGAIN_AT_THE_LATEST));
        let changed = often.then(marks(2), true, now);
        assert!(changed.is_to_be_followed(&marks(2), now + TRY_AGAIN));
    }
}
