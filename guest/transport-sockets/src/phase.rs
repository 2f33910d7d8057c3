//! How long a part of a request may take.

use incluster_client::machine::{after, late};
use incluster_client::system::wait;
use incluster_client::transport::Stopped;
use std::time::{Duration, Instant};
use wasip2::io::poll::Pollable;

/// Something that may take so long, and not longer.
pub struct Phase {
    until: Instant,
    /// What is late when it is over; `None` where the client's own time is over, too.
    name: Option<&'static str>,
}

impl Phase {
    /// Until this time, which is the client's own.
    pub fn until_time(until: Instant) -> Phase {
        Phase { until, name: None }
    }

    /// For so long, but not after the client's own time.
    pub fn of(name: &'static str, time: Duration, until: Instant) -> Phase {
        let end = after(Instant::now(), time);
        if end < until { Phase { until: end, name: Some(name) } } else { Phase::until_time(until) }
    }

    /// When it is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// That it is over.
    pub fn over(&self) -> Stopped {
        self.name.map_or(Stopped::TimeOver, |name| Stopped::Failed(late(name)))
    }

    /// Waits for one of these.
    pub fn wait(&self, ready: &[&Pollable]) -> Result<(), Stopped> {
        if wait(ready, self.until) { Ok(()) } else { Err(self.over()) }
    }
}
