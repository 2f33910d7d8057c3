//! Reads the service account's files.

use incluster_core::files::{NOT_A_FILE, NotRead, PERMISSION_DENIED};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::DecInt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Reads the file at a path, but no more than `at_most` bytes.
pub(crate) fn read_file(path: &str, at_most: u64) -> Result<Vec<u8>, NotRead> {
    read(path, at_most).map_err(|e| match e.kind() {
        ErrorKind::NotFound => NotRead::Missing,
        ErrorKind::PermissionDenied => NotRead::Other(PERMISSION_DENIED.into()),
        _ => NotRead::Other(e.to_string()),
    })
}

fn read(path: &str, at_most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_file() {
        return Err(io::Error::other(NOT_A_FILE));
    }
    let mut content = Vec::new();
    file.take(at_most).read_to_end(&mut content)?;
    Ok(content)
}

/// Opens a file in a folder. Symbolic links may lead anywhere in the folder, as kubelet's do, but not outside it.
fn open(path: &str) -> io::Result<File> {
    // `Path::components` would cost more than all else here.
    let (dir, name) = match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => (".", path),
    };
    let folder = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Opening a pipe does not wait for a writer. Its kind is checked after that, as an open file cannot be swapped.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&folder, name, flags, Mode::empty(), beneath) {
        // Linux before 5.6, or a seccomp filter that does not know openat2.
        Err(Errno::NOSYS | Errno::PERM) => {
            let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            // The real paths of both, now that they are open.
            let place = |fd: BorrowedFd<'_>| fs::read_link(["/proc/self/fd/", DecInt::from_fd(fd).as_str()].concat());
            let (file_at, folder_at) = (place(file.as_fd())?, place(folder.as_fd())?);
            let below = file_at.as_os_str().as_bytes().strip_prefix(folder_at.as_os_str().as_bytes());
            if below.is_some_and(|below| below.starts_with(b"/") || folder_at.as_os_str() == "/") {
                return Ok(file);
            }
            Err(Errno::XDEV.into())
        }
        opened => Ok(opened?.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use incluster_core::ConfigError;
    use incluster_core::files::{self, MAX_BYTES};

    #[test]
    fn each_cause_has_its_case() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        fs::write(path("good"), "text").unwrap();
        fs::write(path("largest"), vec![b'a'; MAX_BYTES as usize]).unwrap();
        fs::write(path("too-large"), vec![b'a'; MAX_BYTES as usize + 1]).unwrap();
        fs::create_dir(path("directory")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();

        let read = |path: &str| files::read(read_file, path);
        assert_eq!(read(&path("good")), Ok(b"text".to_vec()));
        assert_eq!(read(&path("largest")).unwrap().len() as u64, MAX_BYTES);
        assert_eq!(read(&path("too-large")), Err(ConfigError::FileTooLarge(path("too-large"))));
        let not_a_file = ConfigError::FileUnreadable { path: path("directory"), reason: NOT_A_FILE.into() };
        assert_eq!(read(&path("directory")), Err(not_a_file));
        for absent in ["absent", "dangling"] {
            assert_eq!(read(&path(absent)), Err(ConfigError::FileMissing(path(absent))));
        }
    }

    #[test]
    fn links_do_not_lead_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        fs::create_dir(path("..now")).unwrap();
        fs::write(path("..now/token"), "text").unwrap();
        for (link, to) in [("..data", "..now"), ("token", "..data/token")] {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        assert_eq!(files::read(read_file, &path("token")), Ok(b"text".to_vec()));
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "another's").unwrap();
        for to in [outside.path().to_str().unwrap(), "/proc/self/environ", "/proc/self/fd/0", "../../etc/passwd"] {
            let _ = fs::remove_file(path("namespace"));
            std::os::unix::fs::symlink(to, path("namespace")).unwrap();
            let read = files::read(read_file, &path("namespace"));
            assert!(matches!(read, Err(ConfigError::FileUnreadable { .. })), "{to}: {read:?}");
        }
    }

    /// Swaps the volume as kubelet does, as fast as possible: a new folder, a new link `..data` to it, and the old folder removed.
    #[test]
    fn a_volume_that_is_swapped_always_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let swap = |generation: usize| {
            let new = format!("..{generation}");
            fs::create_dir(at(&new)).unwrap();
            fs::write(at(&new).join("token"), "text").unwrap();
            std::os::unix::fs::symlink(&new, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
            if let Some(old) = generation.checked_sub(1) {
                fs::remove_dir_all(at(&format!("..{old}"))).unwrap();
            }
        };
        swap(0);
        std::os::unix::fs::symlink("..data/token", at("token")).unwrap();
        let path = at("token").to_str().unwrap().to_string();
        std::thread::scope(|scope| {
            let swapping = scope.spawn(|| (1..5_000).for_each(swap));
            while !swapping.is_finished() {
                assert_eq!(files::read(read_file, &path), Ok(b"text".to_vec()));
            }
        });
    }
}
