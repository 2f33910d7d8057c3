//! What WASI provides: the time, files, random numbers, and waiting.

use incluster_core::credentials::Now;
use incluster_core::files::{NOT_A_FILE, NotRead, PERMISSION_DENIED};
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Instant, SystemTime};
use wasip2::clocks::monotonic_clock;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags};
use wasip2::io::poll::{Pollable, poll};

/// The current time.
pub fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}

/// The current time of the monotonic clock.
pub fn instant() -> Instant {
    Instant::now()
}

/// The environment: names and values. (It is read directly, because `std::env` first makes a copy for C.)
pub fn environment() -> Vec<(String, String)> {
    wasip2::cli::environment::get_environment()
}

/// A number that nobody can guess.
pub fn random() -> u64 {
    wasip2::random::random::get_random_u64()
}

/// What unfinished work waits for before it can go on.
#[derive(Default)]
pub struct Waits(RefCell<Waiting>);

#[derive(Default)]
struct Waiting {
    ready: Vec<Rc<Pollable>>,
    until: Option<Instant>,
    is_late: bool,
}

impl Waits {
    /// Suspends the work until one of these may be ready. Returns `false` if `until` has passed: the caller has checked before what
    /// is ready.
    pub async fn wait(&self, ready: &[&Rc<Pollable>], until: Instant) -> bool {
        if until <= Instant::now() {
            return false;
        }
        let ready = ready.iter().map(|ready| Rc::clone(ready)).collect();
        *self.0.borrow_mut() = Waiting { ready, until: Some(until), is_late: false };
        let mut is_first = true;
        poll_fn(|_| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }).await;
        !self.0.take().is_late
    }

    /// Forgets what it waits for: WASI requires that a pollable goes before its resource.
    pub fn clear(&self) {
        self.0.take();
    }
}

/// Waits until one of these works may go on, or until a time.
pub fn wait(waits: &[&Waits], until: Option<Instant>) {
    let all: Vec<_> = waits.iter().map(|waits| waits.0.borrow()).collect();
    let end = all.iter().filter_map(|waiting| waiting.until).chain(until).min();
    let timer = end.map(|end| {
        let left = end.saturating_duration_since(Instant::now());
        monotonic_clock::subscribe_duration(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
    });
    let counts: Vec<_> = all.iter().map(|waiting| waiting.ready.len() as u32).collect();
    let ready: Vec<&Pollable> = all.iter().flat_map(|waiting| &waiting.ready).map(|ready| &**ready).chain(&timer).collect();
    if ready.is_empty() {
        return;
    }
    let happened = poll(&ready);
    let timer_place = ready.len() as u32 - 1;
    drop(all);
    if timer.is_none() || !happened.contains(&timer_place) {
        return;
    }
    let now = Instant::now();
    let mut place = 0;
    for (waits, count) in waits.iter().zip(counts) {
        let places = place..place + count;
        place = places.end;
        let mut waiting = waits.0.borrow_mut();
        waiting.is_late = waiting.until.is_some_and(|until| until <= now) && !happened.iter().any(|place| places.contains(place));
    }
}

thread_local! {
    /// The preopened directories, which stay the same. (Asking again would cost a fortieth of loading the configuration.)
    static DIRECTORIES: OnceCell<Vec<(Descriptor, String)>> = const { OnceCell::new() };
}

/// Reads a file by wasi:filesystem itself: this takes half as many host calls as `std::fs`, and 17 KB less of the component.
pub fn read_file(path: &str, at_most: u64) -> Result<Vec<u8>, NotRead> {
    DIRECTORIES.with(|directories| {
        let directories = directories.get_or_init(get_directories);
        let places = directories.iter().filter_map(|(directory, name)| Some((directory, below(name, path)?)));
        // The innermost of the directories that the path is in.
        let (directory, path) = places.min_by_key(|(_, path)| path.len()).ok_or(NotRead::Missing)?;
        read_in(directory, path, at_most).map_err(not_read)
    })
}

fn not_read(code: ErrorCode) -> NotRead {
    match code {
        ErrorCode::NoEntry => NotRead::Missing,
        // The path is not a regular file.
        ErrorCode::Invalid | ErrorCode::IsDirectory => NotRead::Other(NOT_A_FILE.into()),
        ErrorCode::Access => NotRead::Other(PERMISSION_DENIED.into()),
        code => NotRead::Other(code.name().into()),
    }
}

fn read_in(directory: &Descriptor, path: &str, at_most: u64) -> Result<Vec<u8>, ErrorCode> {
    let stat = directory.stat_at(PathFlags::SYMLINK_FOLLOW, path)?;
    if stat.type_ != DescriptorType::RegularFile {
        return Err(ErrorCode::Invalid);
    }
    let file = directory.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)?;
    let mut content = Vec::new();
    loop {
        // The file may be replaced meanwhile by one of another size, so only an empty read is the end.
        let left = at_most.saturating_sub(content.len() as u64);
        let (bytes, _) = file.read(left.min(stat.size.max(64)), content.len() as u64)?;
        if bytes.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&bytes);
    }
}

/// The rest of a path that is below a folder.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_a_folder_or_not() {
        for folder in ["/var/run", "/var/run/"] {
            assert_eq!(below(folder, "/var/run/a/token"), Some("a/token"));
            assert_eq!(below(folder, "/var/runner/token"), None);
            assert_eq!(below(folder, "/var"), None);
        }
        assert_eq!(below("/", "/var/token"), Some("var/token"));
        assert_eq!(below(".", "/var/token"), None);
    }
}
