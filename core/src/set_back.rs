//! The order in which a server's addresses are tried.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Addresses that accept connections but fail the handshake, such as those of a load balancer whose servers have gone. They are tried after
/// the others, the one that failed last at the very end.
#[derive(Debug, Default)]
pub struct SetBack(Mutex<Vec<SocketAddr>>);

impl SetBack {
    fn lock(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records whether a handshake succeeded at an address.
    pub fn tried(&self, address: SocketAddr, is_good: bool) {
        let mut set_back = self.lock();
        set_back.retain(|other| *other != address);
        if !is_good {
            set_back.push(address);
        }
    }

    /// Returns these addresses in the order in which to try them. Addresses that are not among them are forgotten.
    pub fn in_order(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut set_back = self.lock();
        set_back.retain(|address| addresses.contains(address));
        // The sort is stable, and addresses that are not set back (`None`) come first.
        addresses.sort_by_key(|address| set_back.iter().position(|other| other == address));
        addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_handshake_is_tried_after_the_others() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let set_back = SetBack::default();
        let order = || set_back.in_order(vec![a, b, c]);
        assert_eq!(order(), [a, b, c]);
        set_back.tried(a, false);
        assert_eq!(order(), [b, c, a]);
        set_back.tried(b, false);
        assert_eq!(order(), [c, a, b]);
        // All are set back: the one that failed longest ago is first.
        set_back.tried(c, false);
        set_back.tried(a, false);
        assert_eq!(order(), [b, c, a]);
        set_back.tried(c, true);
        assert_eq!(order(), [c, b, a]);
        // The name resolves to another address for a while, and then to these again.
        assert_eq!(set_back.in_order(vec![c]), [c]);
        assert_eq!(order(), [a, b, c]);
    }
}
