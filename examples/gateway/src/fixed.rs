//! The settings that take effect at the start alone.

use crate::config::{Config, Listen};
use incluster::LoadLimits;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// These settings, as they were at the start.
pub(crate) struct Fixed {
    listen: Listen,
    status: SocketAddr,
    cache: Option<PathBuf>,
    load_limits: LoadLimits,
    /// Those that the configuration that was read last would change.
    changed: Mutex<Vec<&'static str>>,
}

impl Fixed {
    pub(crate) fn of(config: &Config) -> Fixed {
        let Config { listen, status, cache, load_limits, .. } = config.clone();
        Fixed { listen, status, cache, load_limits, changed: Mutex::default() }
    }

    /// The names of those that another configuration would change, and that the configuration before it would not.
    pub(crate) fn newly_changed(&self, config: &Config) -> Vec<&'static str> {
        let changed = [
            ("listen", self.listen != config.listen),
            ("status", self.status != config.status),
            ("cache", self.cache != config.cache),
            ("loadLimits", self.load_limits != config.load_limits),
        ];
        let changed = changed.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect::<Vec<_>>();
        let before = std::mem::replace(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner), changed.clone());
        changed.into_iter().filter(|name| !before.contains(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(port: u16, more: &str) -> Config {
        Config::parse(format!("listen: 127.0.0.1:{port}\nstatus: 127.0.0.1:0\n{more}").as_bytes()).unwrap()
    }

    #[test]
    fn a_change_that_needs_a_start_is_named_once() {
        let fixed = Fixed::of(&config(1, ""));
        let newly = |port, more| fixed.newly_changed(&config(port, more));
        assert!(newly(1, "drainTime: 1s").is_empty());
        assert_eq!(newly(2, ""), ["listen"]);
        assert_eq!(newly(2, "cache: /cache"), ["cache"]);
        assert!(newly(2, "cache: /cache").is_empty());
        assert!(newly(1, "").is_empty());
        assert_eq!(newly(2, "loadLimits: {bytes: 1Mi}"), ["listen", "loadLimits"]);
    }
}
