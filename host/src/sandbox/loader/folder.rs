//! A folder of compiled extensions, which processes of one user share.
//!
//! Whoever may write to an entry may have this process do anything. So the folder and its entries are the user's own, and nobody else may
//! write to them; an entry that is not so is not read.

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

/// What the names of entries end in.
const ENTRY: &str = ".cwasm";

/// What the names of files end in that become entries.
const UNFINISHED: &str = ".unfinished";

/// An unfinished file that is older was left behind by a process that ended, in seconds.
const LEFT_BEHIND: i64 = 3600;

/// What an entry has beside its code, at most.
const MOST_HEAD_BYTES: u64 = 4096;

/// The permissions that nobody else may have: to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    dir: OwnedFd,
    /// How many bytes its entries may have together.
    most: u64,
}

impl Folder {
    /// The folder at this path, which is made where there is none.
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

    /// The code that is kept for this, in memory that nobody can change. What cannot be used is removed.
    pub(super) fn find(&self, head: &Head) -> Option<File> {
        let name = name(head);
        match self.read(&name, head) {
            Ok(code) => code,
            Err(why) => {
                // It may be good, where this process has no descriptor or no memory left.
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
        // What is there may be anything, a pipe or a link to somewhere else.
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
        // Those that were used last stay longest. Where nobody can write, nothing is removed either.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: Timespec { tv_nsec: UTIME_OMIT, ..now }, last_modification: now };
        let _ = rustix::fs::futimens(&file, &times);
        Ok(Some(code))
    }

    /// Keeps this code, if it can: at once for all who look, and in the place of those that were not used for longest.
    pub(super) fn keep(&self, head: &Head, code: &[u8]) {
        if code.len() as u64 > self.most {
            return;
        }
        let most = self.most;
        let written = match self.write(head, code) {
            // The disk is smaller than the cache may be.
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
            // Another process, which ended, had the same number; or one in another PID namespace, whose entry is then not kept.
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

    /// The entries: when each was used last, how many bytes it has, and its name. What was left behind is removed.
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

    /// How many bytes the entries have together.
    fn bytes(&self) -> u64 {
        self.entries().map_or(0, |entries| entries.iter().map(|(.., bytes, _)| bytes).sum())
    }

    /// Removes the entries that were not used for longest, until the others have so many bytes; and what was left behind.
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

/// Why somebody else may have had a hand in it.
fn not_ours(stat: &Stat) -> Option<&'static str> {
    if stat.st_uid != geteuid().as_raw() {
        return Some("it belongs to another user");
    }
    (stat.st_mode & WRITABLE_BY_OTHERS != 0).then_some("others may write to it")
}

/// An entry's name: code of other versions, engines, components and limits has others.
fn name(head: &Head) -> CString {
    let mut hash = Context::new(&SHA256);
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    hash.update(&head.settings.to_le_bytes());
    hash.update(&head.key);
    let hash: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    c_string(hash + ENTRY)
}

/// Whether a file has the name of an entry. Others are somebody's, and stay.
fn is_entry(name: &[u8]) -> bool {
    name.strip_suffix(ENTRY.as_bytes()).is_some_and(|hash| hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit))
}

/// Whether a file has the name of one that becomes an entry.
fn is_unfinished(name: &[u8]) -> bool {
    name.strip_suffix(UNFINISHED.as_bytes()).is_some_and(|numbers| {
        let mut numbers = numbers.splitn(2, |byte| *byte == b'-');
        let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        numbers.next().is_some_and(is_number) && numbers.next().is_some_and(is_number)
    })
}

fn c_string(name: String) -> CString {
    // No name of ours has a zero in it.
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests;
