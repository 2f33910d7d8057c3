//! A folder of compiled extensions, which processes of one user share.
//!
//! Whoever can write to an entry can make this process do anything. So the folder and its entries must belong to the user, and nobody else may
//! be able to write to them; otherwise an entry is not read.

use super::artifact::{self, Head, Unfit};
use crate::error::Error;
use crate::figures::TARGET;
use ring::digest::{Context, SHA256};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::{CStr, CString};
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of an entry's name.
const ENTRY: &str = ".cwasm";

/// The end of the name of a file that will become an entry.
const UNFINISHED: &str = ".unfinished";

/// The age, in seconds, from which an unfinished file counts as left behind by a process that ended.
const LEFT_BEHIND: i64 = 3600;

/// The largest size of an entry without its code, in bytes.
const MOST_HEAD_BYTES: u64 = 4096;

/// The permission that nobody else may have: to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A folder of compiled extensions.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    dir: OwnedFd,
    /// The limit of the total size of the entries, in bytes.
    most: u64,
}

impl Folder {
    /// Opens the folder at this path, and creates it if it is missing.
    pub(crate) fn open(path: &Path, most: u64) -> Result<Folder, Error> {
        let fail = |reason: String| Error::CacheFolder { path: path.into(), reason };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| fail(format!("it cannot be made: {error}")))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(format!("it cannot be opened: {e}")))?;
        let stat = rustix::fs::fstat(&dir).map_err(|e| fail(e.to_string()))?;
        if let Some(not_ours) = not_ours(&stat) {
            return Err(fail(format!("{not_ours}: make it this user's own, with mode 0700")));
        }
        Ok(Folder { path: path.into(), dir, most })
    }

    /// Finds the entry for this head. Returns its code in memory that nobody can change. An entry that cannot be used is removed.
    pub(super) fn find(&self, head: &Head) -> Option<File> {
        let name = name(head);
        match self.read(&name, head) {
            Ok(code) => code,
            Err(why) => {
                // The entry itself may be good: this process may have no descriptor or no memory left.
                const OURS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR];
                let is_ours = |error: &io::Error| OURS.iter().any(|ours| error.raw_os_error() == Some(ours.raw_os_error()));
                let is_the_entrys = !matches!(&why, Unfit::Io(error) if is_ours(error));
                let (path, why) = (self.path.display(), why.to_string());
                tracing::warn!(target: TARGET, %path, entry = ?name, why, "a compiled extension in the cache cannot be used: it is compiled anew");
                if is_the_entrys {
                    let _ = rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty());
                }
                None
            }
        }
    }

    fn read(&self, name: &CStr, head: &Head) -> Result<Option<File>, Unfit> {
        // The entry may be anything, even a pipe, or a link to another place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()).map(File::from) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unfit::Io(error.into())),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| Unfit::Io(e.into()))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Unfit::Io(io::Error::other("it is not a file")));
        }
        if let Some(not_ours) = not_ours(&stat) {
            return Err(Unfit::Io(io::Error::other(not_ours)));
        }
        if u64::try_from(stat.st_size).is_ok_and(|bytes| bytes > self.most.saturating_add(MOST_HEAD_BYTES)) {
            return Err(Unfit::Io(io::Error::other("it is larger than the cache may be")));
        }
        let (_, code) = artifact::read(&mut BufReader::new(&file), head.settings, Some(&head.key))?;
        // Recently used entries stay longest. If this fails because the folder is read-only, nothing is removed from it either.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: Timespec { tv_nsec: UTIME_OMIT, ..now }, last_modification: now };
        let _ = rustix::fs::futimens(&file, &times);
        Ok(Some(code))
    }

    /// Stores this code, if possible. The entry appears at once and complete, and takes the place of the least recently used ones.
    pub(super) fn keep(&self, head: &Head, code: &[u8]) {
        if code.len() as u64 > self.most {
            return;
        }
        let most = self.most;
        let written = match self.write(head, code) {
            // The disk has less room than the cache may take.
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                self.trim(most.min(self.bytes() / 2)).and_then(|()| self.write(head, code))
            }
            written => written,
        };
        if let Err(error) = written.and_then(|()| self.trim(most)) {
            let path = self.path.display();
            tracing::warn!(target: TARGET, %path, %error, "a compiled extension is not kept in the cache");
        }
    }

    fn write(&self, head: &Head, code: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = name(head);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = c_string(format!("{}-{number}{UNFINISHED}", std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&self.dir, &unfinished, flags, Mode::RUSR | Mode::WUSR);
        let file = match create() {
            // A process that has ended had the same number; or one in another PID namespace has it, whose entry is then not kept.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                rustix::fs::unlinkat(&self.dir, &unfinished, AtFlags::empty())?;
                create()?
            }
            file => file?,
        };
        let written = write_to(&File::from(file), head, code)
            .and_then(|()| Ok(rustix::fs::renameat(&self.dir, &unfinished, &self.dir, &name)?));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.dir, &unfinished, AtFlags::empty());
        }
        written
    }

    /// The entries: when each was used last, its size in bytes, and its name. Removes files that were left behind.
    fn entries(&self) -> io::Result<Vec<(i64, u64, u64, CString)>> {
        let mut entries = Vec::new();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        for entry in Dir::read_from(&self.dir)? {
            let name = entry?.file_name().to_owned();
            let Ok(stat) = rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if is_entry(name.to_bytes()) {
                let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec);
                entries.push((seconds, nanoseconds, u64::try_from(stat.st_size).unwrap_or(0), name));
            } else if is_unfinished(name.to_bytes()) && now.saturating_sub(stat.st_mtime) > LEFT_BEHIND {
                let _ = rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty());
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// The total size of the entries, in bytes.
    fn bytes(&self) -> u64 {
        self.entries().map_or(0, |entries| entries.iter().map(|(.., bytes, _)| bytes).sum())
    }

    /// Removes the least recently used entries until the others have at most this many bytes, and files that were left behind.
    fn trim(&self, most: u64) -> io::Result<()> {
        let entries = self.entries()?;
        let mut all: u64 = entries.iter().map(|(.., bytes, _)| bytes).sum();
        for (.., bytes, name) in &entries {
            if all <= most {
                break;
            }
            rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?;
            all -= bytes;
        }
        Ok(())
    }
}

fn write_to(file: &File, head: &Head, code: &[u8]) -> io::Result<()> {
    let mut to = BufWriter::new(file);
    artifact::write(&mut to, head, code)?;
    to.flush()
}

/// Why somebody else may have changed a file; `None` if nobody else can have changed it.
fn not_ours(stat: &Stat) -> Option<&'static str> {
    if stat.st_uid != geteuid().as_raw() {
        return Some("it belongs to another user");
    }
    (stat.st_mode & WRITABLE_BY_OTHERS != 0).then_some("others may write to it")
}

/// An entry's name. Code of other versions, engines, components and limits has other names.
fn name(head: &Head) -> CString {
    let mut hash = Context::new(&SHA256);
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    hash.update(&head.settings.to_le_bytes());
    hash.update(&head.key);
    let hash: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    c_string(hash + ENTRY)
}

/// Whether a file has the name of an entry. Other files are somebody else's, and stay.
fn is_entry(name: &[u8]) -> bool {
    name.strip_suffix(ENTRY.as_bytes()).is_some_and(|hash| hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a file has the name of a file that will become an entry.
fn is_unfinished(name: &[u8]) -> bool {
    name.strip_suffix(UNFINISHED.as_bytes()).is_some_and(|numbers| {
        let mut numbers = numbers.splitn(2, |byte| *byte == b'-');
        let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        numbers.next().is_some_and(is_number) && numbers.next().is_some_and(is_number)
    })
}

fn c_string(name: String) -> CString {
    // Our names contain no zero byte.
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests;
