//! Changes, as they happen.

use crate::Error;
use crate::bindings::incluster::kubernetes::client;
use crate::object::Object;
use std::fmt;
use std::time::Duration;

/// An event of a watch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<T> {
    /// An object was created, began to match the selectors, or existed when the watch began (`ADDED`).
    Added(T),
    /// An object changed. This is its new state (`MODIFIED`).
    Modified(T),
    /// An object was deleted, or no longer matches the selectors. This is its last state (`DELETED`).
    Deleted(T),
    /// All objects that existed when the watch began have come; what follows are changes. Has the resource version of that state.
    Synced(String),
    /// Nothing else changed up to this resource version, from which a watch can begin (`BOOKMARK`).
    Bookmark(String),
    /// The watch is over: its [timeout](crate::Collection::timeout) has passed, or it has expired. Nothing else will come.
    Ended,
    /// An event that a later version of the contract adds, in words. Code that does not know it can skip it.
    Other(String),
}

/// A watch: an iterator that waits for the next event, and ends when the watch has ended, or after a failure.
///
/// If a connection ends, the watch makes a new one and goes on from the last event: none is lost, and none comes twice. The watch goes on
/// when the client is dropped. A watch that [has expired](Error::is_expired) must begin again, and a table of objects that is kept from it
/// must be cleared then.
pub struct Watch<T: Object> {
    watch: T::Watch,
    doing: String,
    is_over: bool,
}

impl<T: Object> Watch<T> {
    pub(crate) fn new(watch: T::Watch, doing: String) -> Watch<T> {
        Watch { watch, doing, is_over: false }
    }

    /// Returns the next event, as soon as there is one; `None` if there is none in `timeout`, which is rounded up to milliseconds. Without
    /// a `timeout`, it waits as long as it takes; with zero, it does not wait.
    ///
    /// # Errors
    ///
    /// After a failure, it may be called again, and goes on from the last event. After a failure that is [expired](Error::is_expired), only
    /// [`Event::Ended`] comes. A permanent failure is returned at once each time: pause before you call it again. The next call skips an
    /// object that cannot be read as a `T` ([`Error::is_unexpected_type`]).
    pub fn next_event(&mut self, timeout: Option<Duration>) -> Result<Option<Event<T>>, Error> {
        T::next_event(&self.watch, timeout.map(milliseconds), &self.doing)
    }

    /// Returns this watch, to wait for it together with others.
    pub fn source(&self) -> Source<'_> {
        Source(T::source(&self.watch))
    }
}

impl<T: Object> Iterator for Watch<T> {
    type Item = Result<Event<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = self.next_event(None).transpose().filter(|event| !matches!(event, Ok(Event::Ended)));
        self.is_over = !matches!(event, Some(Ok(_)));
        event
    }
}

impl<T: Object> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("doing", &self.doing).field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

/// A watch of any objects, to [`wait`] for.
pub struct Source<'a>(client::Watch<'a>);

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Waits until one or more of these watches have something to say. The next call of [`next_event`](Watch::next_event) for each of them does
/// not wait.
///
/// Returns their positions in the list, in ascending order; none if the `timeout` has passed, which is rounded up to milliseconds. Without
/// a `timeout`, it waits as long as it takes. Without watches, it waits for the `timeout` alone, and returns at once if there is none. A
/// failure and an end are something to say: remove a watch that has ended from the list.
pub fn wait<'a>(sources: impl IntoIterator<Item = Source<'a>>, timeout: Option<Duration>) -> Vec<usize> {
    let watches: Vec<_> = sources.into_iter().map(|source| source.0).collect();
    client::wait(&watches, timeout.map(milliseconds)).into_iter().map(|place| place as usize).collect()
}

/// Rounds a timeout up, so that all of it has passed.
fn milliseconds(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_never_shorter_than_it_was() {
        let cases = [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)];
        assert!(cases.into_iter().all(|(nanoseconds, rounded)| milliseconds(Duration::from_nanos(nanoseconds)) == rounded));
        assert_eq!(milliseconds(Duration::MAX), u32::MAX);
    }
}
