//! The time limits of the parts of a request.

use incluster_client::machine::{after, late};
use incluster_client::system::Waits;
use incluster_client::transport::Stopped;
use std::rc::Rc;
use std::time::{Duration, Instant};
use wasip2::io::poll::Pollable;

/// A part of a request with a limited time.
pub struct Phase<'a> {
    until: Instant,
    /// What is late when the phase is over; `None` if the client's own time is over, too.
    name: Option<&'static str>,
    waits: &'a Waits,
}

impl Phase<'_> {
    /// A phase until this time, which is the client's own.
    pub fn until_time(until: Instant, waits: &Waits) -> Phase<'_> {
        Phase { until, name: None, waits }
    }

    /// A phase of at most `time`, which does not last longer than the client's own time.
    pub fn of<'a>(name: &'static str, time: Duration, until: Instant, waits: &'a Waits) -> Phase<'a> {
        let end = after(Instant::now(), time);
        if end < until { Phase { until: end, name: Some(name), waits } } else { Phase::until_time(until, waits) }
    }

    /// The time at which the phase is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether the phase is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Makes the error that the phase is over.
    pub fn over(&self) -> Stopped {
        self.name.map_or(Stopped::TimeOver, |name| Stopped::Failed(late(name)))
    }

    /// Waits until one of these may be ready.
    pub async fn wait(&self, ready: &[&Rc<Pollable>]) -> Result<(), Stopped> {
        self.wait_at_most(ready, None).await.map(drop)
    }

    /// Waits until one of these may be ready, or for `time`. Returns whether one may be ready.
    pub async fn wait_at_most(&self, ready: &[&Rc<Pollable>], time: Option<Duration>) -> Result<bool, Stopped> {
        let brief = time.map(|time| after(Instant::now(), time)).filter(|brief| *brief < self.until);
        match (self.waits.wait(ready, brief.unwrap_or(self.until)).await, brief) {
            (true, _) => Ok(true),
            (false, Some(_)) => Ok(false),
            (false, None) => Err(self.over()),
        }
    }
}
