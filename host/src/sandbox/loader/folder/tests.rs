//! Good entries, and entries that somebody has changed.

use super::*;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const MOST: u64 = 1 << 20;

fn of(number: u8) -> Head {
    Head { settings: 7, key: [number; 32] }
}

struct Kept {
    dir: TempDir,
    folder: Folder,
}

impl Kept {
    fn new(most: u64) -> Kept {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("a/b"), most).unwrap();
        Kept { dir, folder }
    }

    fn path(&self, head: &Head) -> PathBuf {
        self.dir.path().join("a/b").join(name(head).to_str().unwrap())
    }

    fn found(&self, head: &Head) -> Option<Vec<u8>> {
        use std::io::{Seek, SeekFrom};
        self.folder.find(head).map(|mut file| {
            let mut code = Vec::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(&mut code).unwrap();
            code
        })
    }

    fn names(&self) -> usize {
        fs::read_dir(self.dir.path().join("a/b")).unwrap().count()
    }
}

#[test]
fn an_entry_is_found_by_its_head() {
    let kept = Kept::new(MOST);
    kept.folder.keep(&of(1), b"one");
    kept.folder.keep(&of(2), b"two");
    assert_eq!(
        (kept.found(&of(1)).unwrap(), kept.found(&of(2)).unwrap(), kept.found(&of(3))),
        (b"one".into(), b"two".into(), None)
    );
    assert_eq!(kept.found(&Head { settings: 8, ..of(1) }), None);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept.dir.path().join("a/b")), mode(&kept.path(&of(1))), kept.names()), (0o700, 0o600, 2));
}

#[test]
fn entries_that_somebody_may_have_changed_are_not_used_and_removed() {
    let kept = Kept::new(MOST);
    let damage: [&dyn Fn(&Path); 7] = [
        &|path| fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap(),
        &|path| fs::set_permissions(path, Permissions::from_mode(0o620)).unwrap(),
        &|path| fs::write(path, b"something else").unwrap(),
        &|path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        &|path| fs::write(path, &fs::read(path).unwrap()[..60]).unwrap(),
        &|path| {
            fs::rename(path, path.with_extension("other")).unwrap();
            symlink(path.with_extension("other"), path).unwrap();
        },
        &|path| {
            fs::remove_file(path).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        },
    ];
    for (number, damage) in damage.iter().enumerate() {
        kept.folder.keep(&of(1), b"one");
        assert!(kept.found(&of(1)).is_some());
        damage(&kept.path(&of(1)));
        assert_eq!(kept.found(&of(1)), None, "{number}");
        assert!(fs::symlink_metadata(kept.path(&of(1))).is_err(), "{number}: the entry is still there");
    }
    if geteuid().is_root() {
        kept.folder.keep(&of(1), b"one");
        std::os::unix::fs::chown(kept.path(&of(1)), Some(65_534), None).unwrap();
        assert_eq!(kept.found(&of(1)), None);
    }
    // An entry is not used under the name of another one.
    kept.folder.keep(&of(1), b"one");
    fs::rename(kept.path(&of(1)), kept.path(&of(2))).unwrap();
    assert_eq!(kept.found(&of(2)), None);
}

#[test]
fn a_folder_of_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| Folder::open(path, MOST).unwrap_err().to_string();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(refused(dir.path()).contains("others may write to it: make it this user's own, with mode 0700"));
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(refused(&dir.path().join("file")).contains("cannot be"));
    assert!(refused(&dir.path().join("file/below")).contains("cannot be made"));
    if geteuid().is_root() {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
        assert!(refused(dir.path()).contains("it belongs to another user"));
    }
}

#[test]
fn the_least_recently_used_entries_are_removed_first() {
    let kept = Kept::new(1000);
    let at = |head: &Head, seconds: u64| {
        let file = File::options().write(true).open(kept.path(head)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    for (number, used) in [(1, 300), (2, 100), (3, 200)] {
        kept.folder.keep(&of(number), &[number; 200]);
        at(&of(number), used);
    }
    // This makes it recently used.
    assert!(kept.found(&of(2)).is_some());
    kept.folder.keep(&of(4), &[4; 200]);
    assert_eq!([1, 2, 3, 4].map(|number| kept.path(&of(number)).exists()), [true, true, false, true]);
    // An entry that is too large is not kept, and removes no other.
    kept.folder.keep(&of(5), &[5; 1001]);
    assert_eq!(kept.names(), 3);
    // Files that a process left behind do not stay for ever.
    let left = kept.dir.path().join("a/b/1-1.unfinished");
    fs::write(&left, "half").unwrap();
    kept.folder.keep(&of(4), &[4; 200]);
    assert!(left.exists());
    File::options().write(true).open(&left).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    kept.folder.keep(&of(4), &[4; 200]);
    assert!(!left.exists());
}

/// If the disk is full or read-only, only the cache is lost.
#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let kept = Kept::new(MOST);
    let dir = kept.dir.path().join("a/b");
    // This makes writing fail as on a full disk, even for root.
    fs::create_dir(kept.path(&of(1))).unwrap();
    kept.folder.keep(&of(1), b"one");
    assert_eq!(kept.names(), 1);
    fs::remove_dir(kept.path(&of(1))).unwrap();
    fs::remove_dir(&dir).unwrap();
    kept.folder.keep(&of(1), b"one");
    assert_eq!(kept.found(&of(1)), None);
}

/// A reader meanwhile finds a complete entry, or none.
#[test]
fn processes_that_write_at_the_same_time_do_not_interfere() {
    let kept = Kept::new(MOST);
    let codes = [vec![1; 100_000], vec![2; 100_000]];
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            codes.iter().map(|code| scope.spawn(|| (0..50).for_each(|_| kept.folder.keep(&of(1), code)))).collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            assert!(kept.found(&of(1)).is_none_or(|found| codes.contains(&found)));
        }
    });
    assert_eq!(kept.names(), 1);
}

/// Files with other names belong to somebody else, and are not removed.
#[test]
fn files_of_other_names_stay() {
    let kept = Kept::new(1000);
    let dir = kept.dir.path().join("a/b");
    let others = ["mine.cwasm", "draft.unfinished", "7-x.unfinished", "-.unfinished"].map(|name| dir.join(name));
    for other in &others {
        fs::write(other, [0; 900]).unwrap();
        File::options().write(true).open(other).unwrap().set_modified(SystemTime::now() - Duration::from_secs(72_000)).unwrap();
    }
    kept.folder.keep(&of(1), &[1; 200]);
    assert!(kept.found(&of(1)).is_some() && others.iter().all(|other| other.exists()));
}

/// On a disk with less room than the cache may take, the most recently used entries stay.
#[test]
fn a_full_disk_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=5m", "tmpfs"]).arg(dir.path()).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        eprintln!("ignored: a_full_disk_makes_room needs to mount a small disk");
        return;
    }
    let _mounted = Mounted(dir.path());
    let folder = Folder::open(&dir.path().join("cache"), 1 << 30).unwrap();
    for number in 0..12 {
        folder.keep(&of(number), &vec![7; 1 << 20]);
        assert!(folder.find(&of(number)).is_some(), "{number}");
    }
    // An entry that is larger than the disk is not kept, and does not block the cache.
    folder.keep(&of(99), &vec![7; 6 << 20]);
    assert!(folder.find(&of(99)).is_none());
    folder.keep(&of(1), &vec![7; 1 << 20]);
    assert!(folder.find(&of(1)).is_some());
}

/// A disk that is unmounted when the test ends.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazy: files on it may still be open.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
