//! Judges a watch's server by how its connections end: when to ask for the next connection, and when to give up.

use crate::machine::after;
use crate::retry;
use crate::types::{Error, Expired, Failure, RetryPolicy, TransportError};
use std::time::{Duration, Instant};

/// How long a connection must last not to count as a failure, whether or not anything happened meanwhile.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// How many times in a row a server may end a watch from one resource version without an event.
const EMPTY_ENDS: u32 = 5;

/// How long past the time at which a server should have ended the watch, or sent a bookmark, to wait before treating it as stuck.
pub const GRACE: Duration = Duration::from_secs(5);

/// The longest wait for ca.crt to follow the server's certificate.
const LONGEST_WAIT_FOR_CA: Duration = Duration::from_secs(30);

/// The longest usual time between two bookmarks of a server.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// How long objects may change among the initial ones before the end of these comes. A server that sends the end does so as soon as it
/// knows everything that came before.
const CHANGES_WITHOUT_END: Duration = Duration::from_secs(60);

/// The bookmarks of a watch, which show whether its connection still works.
#[derive(Debug, Default)]
pub struct Bookmarks {
    /// When the last one came on this connection.
    last: Option<Instant>,
    /// The longest time between two bookmarks.
    interval: Option<Duration>,
    /// Since when objects have changed before the initial ones ended.
    changed_since: Option<Instant>,
}

impl Bookmarks {
    /// Notes a new connection.
    pub fn connected(&mut self) {
        self.last = None;
    }

    /// Notes a bookmark.
    pub fn came(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            self.interval = self.interval.max(Some(now.saturating_duration_since(last)));
        }
    }

    /// Notes that an object has changed before the initial ones ended. Returns whether the bookmark that ends them should have come.
    pub fn is_end_overdue(&mut self, now: Instant) -> bool {
        now >= after(*self.changed_since.get_or_insert(now), CHANGES_WITHOUT_END)
    }

    /// How long a connection may be silent: until two bookmarks are missing. `None` until it is known that the server sends them.
    pub fn longest_pause(&self) -> Option<Duration> {
        let interval = self.interval.or(self.last.map(|_| BOOKMARK_INTERVAL))?;
        Some(interval.max(BOOKMARK_INTERVAL).saturating_mul(2).saturating_add(GRACE))
    }
}

/// What has been wrong with the last connections.
#[derive(Debug, Default)]
pub struct Trouble {
    /// The number of connections that were soon over.
    short: u32,
    /// The number of connections that brought no event, and since when.
    fruitless: u32,
    since: Option<Instant>,
    /// The number of connections that the server ended without an event, and without saying why.
    empty: u32,
    /// How many times the server had not yet reached the resource version from which the watch goes on.
    too_large: u32,
    /// How many times the server's certificate was no longer trusted.
    untrusted: u32,
}

/// A connection that has ended.
pub struct Ended<'a> {
    /// When it began, and when it ended.
    pub lasted: (Instant, Instant),
    /// Whether it brought an event.
    pub fruitful: bool,
    /// Why it ended; `None` if the server just ended it.
    pub error: Option<Error>,
    /// The resource version after which the watch goes on, if it does.
    pub from: Option<&'a str>,
}

impl Trouble {
    /// Notes an event.
    pub fn fruitful(&mut self) {
        *self = Trouble { short: self.short, ..Trouble::default() };
    }

    /// Notes that the server's certificate is no longer trusted. Returns how long to wait for ca.crt to follow it.
    pub fn untrusted(&mut self, random: u64) -> Duration {
        self.untrusted = self.untrusted.saturating_add(1);
        retry::backoff_up_to(LONGEST_WAIT_FOR_CA, self.untrusted, random)
    }

    /// Notes that the server is trusted.
    pub fn trusted(&mut self) {
        self.untrusted = 0;
    }

    /// Notes an event that can neither be read nor skipped. Returns how long to wait before asking the server for it again.
    pub fn unreadable(&mut self, random: u64) -> Duration {
        self.short = self.short.saturating_add(1);
        retry::backoff(self.short, random)
    }

    /// Notes that the server has no such resource version yet. Returns whether that happened before.
    pub fn is_behind(&mut self) -> bool {
        self.too_large += 1;
        self.too_large > 1
    }

    /// Returns how long to wait before the next connection, or why there must be none. After a good connection, and after the first one
    /// that brought events and was soon over, the wait is what the server asked for. After others, it grows, so that a server that ends
    /// connections soon is not asked too often.
    pub fn ended(&mut self, ended: Ended<'_>, policy: RetryPolicy, random: u64) -> Result<Duration, Failure> {
        let (begun, now) = ended.lasted;
        let asked = ended.error.as_ref().and_then(retry::worth_it).unwrap_or_default();
        let deadline = Duration::from_millis(policy.deadline.max(1).into());
        if let Some(error) = ended.error.as_ref().filter(|_| asked >= deadline) {
            let (since, times) = (self.since.take().unwrap_or(begun), std::mem::take(&mut self.fruitless));
            return Err(retry::gave_up(error.clone(), times + 1, now.saturating_duration_since(since)));
        }
        if now.saturating_duration_since(begun) > GOOD_CONNECTION {
            *self = Trouble { too_large: self.too_large, ..Trouble::default() };
            return Ok(asked);
        }
        self.short += 1;
        if ended.fruitful {
            // A single connection that was cut does not mean that the server ends connections soon.
            let others = self.short - 1;
            return Ok(asked + if others > 0 { retry::backoff(others, random) } else { Duration::ZERO });
        }
        let wait = asked + retry::backoff(self.short, random);
        self.fruitless += 1;
        self.empty = if ended.error.is_none() { self.empty + 1 } else { 0 };
        if let (Some(from), EMPTY_ENDS..) = (ended.from, self.empty) {
            let message = format!("the server ends the watch from resource version {from:?} again and again without an event");
            return Err(Error::Expired(Expired { message, continue_token: None }).into());
        }
        let since = *self.since.get_or_insert(begun);
        let is_late = after(now, wait) >= after(since, deadline);
        if is_late || policy.attempts.is_some_and(|most| self.fruitless >= most) {
            self.since = None;
            let times = std::mem::take(&mut self.fruitless);
            let error = ended.error.unwrap_or_else(|| {
                Error::Transport(TransportError::ConnectionLost("the watch ended again and again without an event".into()))
            });
            return Err(retry::gave_up(error, times, now.saturating_duration_since(since)));
        }
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Status;

    const POLICY: RetryPolicy = RetryPolicy::DEFAULT;
    const MOMENT: Duration = Duration::from_millis(20);

    /// A server, represented by its connections.
    struct Server {
        trouble: Trouble,
        now: Instant,
        random: u64,
    }

    impl Server {
        fn new() -> Server {
            Server { trouble: Trouble::default(), now: Instant::now(), random: 1 }
        }

        /// A connection, and the wait after it.
        fn ends(&mut self, lasted: Duration, fruitful: bool, error: Option<Error>) -> Result<Duration, Failure> {
            self.random = self.random.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ 7;
            if fruitful {
                self.trouble.fruitful();
            }
            let lasted = (self.now, self.now + lasted);
            let waited = self.trouble.ended(Ended { lasted, fruitful, error, from: Some("5") }, POLICY, self.random);
            self.now = lasted.1 + *waited.as_ref().unwrap_or(&Duration::ZERO);
            waited
        }
    }

    fn status(code: u16, retry_after_seconds: Option<u32>) -> Option<Error> {
        Some(Error::Api(Status { code, reason: None, message: "no".into(), details: None, retry_after_seconds }))
    }

    #[test]
    fn a_good_connection_is_made_again_at_once() {
        let mut server = Server::new();
        for fruitful in [true, false, true] {
            assert_eq!(server.ends(Duration::from_secs(11), fruitful, None).unwrap(), Duration::ZERO);
        }
        assert_eq!(server.ends(Duration::from_secs(11), false, status(503, Some(7))).unwrap(), Duration::from_secs(7));
    }

    /// A server that closes each connection after one event is asked a handful of times in five seconds, not a hundred.
    #[test]
    fn a_server_that_hurries_is_not_asked_in_a_hurry() {
        let mut server = Server::new();
        let begun = server.now;
        let mut connections = 0;
        while server.now < begun + Duration::from_secs(5) {
            server.ends(MOMENT, true, None).unwrap();
            connections += 1;
        }
        assert!((3..=15).contains(&connections), "{connections}");
        // A good connection ends that.
        server.ends(Duration::from_secs(60), true, None).unwrap();
        assert_eq!(server.ends(MOMENT, true, None).unwrap(), Duration::ZERO);
        assert!(server.ends(MOMENT, true, None).unwrap() <= Duration::from_millis(200));
    }

    #[test]
    fn a_server_that_has_forgotten_is_found_out() {
        let mut server = Server::new();
        for _ in 1..EMPTY_ENDS {
            server.ends(MOMENT, false, None).unwrap();
        }
        let failure = server.ends(MOMENT, false, None).unwrap_err();
        let Error::Expired(Expired { message, .. }) = failure.error else { panic!() };
        assert!(message.contains("resource version \"5\""), "{message}");
        // An event in between, or an error, is a different case.
        for other in [(true, None), (false, status(500, None))] {
            let mut server = Server::new();
            for round in 0..8 {
                let (fruitful, error) = if round % 4 == 3 { other.clone() } else { (false, None) };
                server.ends(MOMENT, fruitful, error).unwrap();
            }
        }
    }

    #[test]
    fn the_watch_fails_with_the_last_error_and_waits_as_long_as_the_server_asks() {
        let mut server = Server::new();
        let begun = server.now;
        let failure = loop {
            match server.ends(MOMENT, false, status(500, Some(4))) {
                Ok(waited) => assert!(waited >= Duration::from_secs(4)),
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure.error, Error::Api(Status { code: 500, .. })), "{failure:?}");
        assert!(server.now < begun + Duration::from_millis(POLICY.deadline.into()));
        assert!(failure.attempts > 3);
    }

    /// The error is reported at once, not kept for a day.
    #[test]
    fn a_wait_that_outlasts_the_deadline_is_not_begun() {
        let seconds = POLICY.deadline / 1000;
        for lasted in [MOMENT, Duration::from_secs(11)] {
            let mut server = Server::new();
            assert!(server.ends(lasted, true, status(429, Some(seconds - 1))).is_ok());
            let failure = server.ends(lasted, true, status(429, Some(seconds))).unwrap_err();
            assert!(matches!(failure.error, Error::Api(Status { code: 429, .. })), "{failure:?}");
        }
    }

    #[test]
    fn waits_for_a_ca_grow_to_half_a_minute() {
        let mut trouble = Trouble::default();
        let mut longest = || trouble.untrusted(LONGEST_WAIT_FOR_CA.as_micros() as u64);
        assert!(longest() <= Duration::from_millis(200));
        let waits: Vec<_> = (0..9).map(|_| longest()).collect();
        assert_eq!(waits.last(), Some(&LONGEST_WAIT_FOR_CA), "{waits:?}");
        trouble.trusted();
        assert!(trouble.untrusted(u64::MAX) <= Duration::from_millis(200));
    }

    #[test]
    fn silence_is_noticed_when_two_bookmarks_are_missing() {
        let (begun, mut bookmarks) = (Instant::now(), Bookmarks::default());
        let second = Duration::from_secs(1);
        bookmarks.came(begun);
        assert_eq!(bookmarks.longest_pause(), Some(125 * second));
        // A new connection has sent none yet.
        bookmarks.connected();
        assert_eq!(bookmarks.longest_pause(), None);
        bookmarks.came(begun + 500 * second);
        assert_eq!(bookmarks.longest_pause(), Some(125 * second));
        // In a hurry, bookmarks say nothing about their usual interval.
        bookmarks.came(begun + 501 * second);
        assert_eq!(bookmarks.longest_pause(), Some(125 * second));
        bookmarks.came(begun + 571 * second);
        assert_eq!(bookmarks.longest_pause(), Some(145 * second));
    }

    #[test]
    fn a_server_may_be_behind_once() {
        let mut trouble = Trouble::default();
        assert!(!trouble.is_behind());
        trouble.fruitful();
        assert!(!trouble.is_behind());
        assert!(trouble.is_behind());
    }
}
