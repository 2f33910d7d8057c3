//! How much memory the compiling processes may have.
//!
//! Under cgroup v2, kubelet sets `memory.oom.group`: if a child is killed for memory, its whole container is killed. So all children
//! together are never given more than this process's control group has left.

use crate::extension_error::ExtensionError;
use crate::load_limits::LEAST_MEMORY;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The part of what is left that is kept for this process, as a divisor: one eighth.
const KEPT: u64 = 8;

/// The memory that the children of this process have been given.
static GIVEN: Given = Given { bytes: Mutex::new(0), returned: Notify::const_new() };

struct Given {
    bytes: Mutex<u64>,
    returned: Notify,
}

impl Given {
    fn bytes(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child's share of the memory, until this is dropped.
pub(crate) struct Share(u64);

impl Share {
    /// Waits until there is this much memory for a child. If no other child has any, the child may get less, but at least [`LEAST_MEMORY`].
    ///
    /// # Errors
    ///
    /// There is less than [`LEAST_MEMORY`], and no other child has any that it could return.
    pub(crate) async fn of(wanted: u64) -> Result<Share, ExtensionError> {
        loop {
            let returned = GIVEN.returned.notified();
            {
                let mut given = GIVEN.bytes();
                match decide(wanted, left(), *given) {
                    Decision::Give(bytes) => {
                        *given += bytes;
                        return Ok(Share(bytes));
                    }
                    Decision::Refuse(left) => return Err(ExtensionError::NoMemoryLeft { left, needed: LEAST_MEMORY }),
                    Decision::Wait => {}
                }
            }
            returned.await;
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *GIVEN.bytes() -= self.0;
        GIVEN.returned.notify_waiters();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Give(u64),
    Wait,
    Refuse(u64),
}

/// Decides what a child gets of the memory that is left. Other children may not yet use all that they have been given.
fn decide(wanted: u64, left: Option<u64>, given: u64) -> Decision {
    let Some(left) = left else { return Decision::Give(wanted) };
    let free = (left - left / KEPT).saturating_sub(given);
    match free {
        free if free >= wanted => Decision::Give(wanted),
        // With more memory, compiling might succeed.
        _ if given > 0 => Decision::Wait,
        free if free >= LEAST_MEMORY => Decision::Give(free),
        free => Decision::Refuse(free),
    }
}

/// The memory that the control groups of this process have left. `None` if none of them has a limit, or if there is no cgroup v2.
fn left() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let read = |group: &Path, file: &str| fs::read_to_string(group.join(file)).ok();
    let dirs = root.join(group);
    let dirs = dirs.ancestors().take_while(|dir| dir.starts_with(root));
    dirs.filter_map(|dir| left_of(&read(dir, "memory.max")?, &read(dir, "memory.current")?, &read(dir, "memory.stat")?)).min()
}

/// The memory that a control group has left, by its files; `None` without a limit. Inactive pages of files can be reclaimed.
fn left_of(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let unused = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(unused)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_used_is_left() {
        let stat = "anon 300\nfile 200\ninactive_file 150\n";
        assert_eq!(left_of("1000\n", "500\n", stat), Some(650));
        assert_eq!(left_of("max\n", "500\n", stat), None);
        assert_eq!(left_of("400\n", "900\n", stat), Some(0));
        assert_eq!(left_of("1000\n", "100\n", ""), Some(900));
        assert_eq!(left_of("", "100\n", ""), None);
    }

    #[test]
    fn all_children_together_get_no_more_than_is_left() {
        const MIB: u64 = 1 << 20;
        assert_eq!(decide(500 * MIB, None, 900 * MIB), Decision::Give(500 * MIB));
        assert_eq!(decide(500 * MIB, Some(800 * MIB), 0), Decision::Give(500 * MIB));
        // An eighth is kept, and the others may still use what they were given.
        assert_eq!(decide(200 * MIB, Some(800 * MIB), 500 * MIB), Decision::Give(200 * MIB));
        assert_eq!(decide(201 * MIB, Some(800 * MIB), 500 * MIB), Decision::Wait);
        assert_eq!(decide(800 * MIB, Some(800 * MIB), 0), Decision::Give(700 * MIB));
        assert_eq!(decide(500 * MIB, Some(80 * MIB), 0), Decision::Refuse(70 * MIB));
        assert_eq!(decide(500 * MIB, Some(0), 1), Decision::Wait);
    }
}
