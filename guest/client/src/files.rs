//! Reads the service account's volume. The host compiles this file, too.

use crate::look_again::look_again;
use crate::types::{ConfigError, UnreadableFile};

/// No token, certificate bundle or namespace is larger: 1 MiB.
pub const MAX_BYTES: u64 = 1 << 20;

/// The whole content of a file.
pub fn read(path: &str) -> Result<Vec<u8>, ConfigError> {
    look_again(|| read_once(path), |error| matches!(error, ConfigError::FileMissing(_)))
}

fn read_once(path: &str) -> Result<Vec<u8>, ConfigError> {
    match system::read(path, MAX_BYTES + 1) {
        Ok(content) if content.len() as u64 > MAX_BYTES => Err(ConfigError::FileTooLarge(path.into())),
        Ok(content) => Ok(content),
        Err(Failure::Missing) => Err(ConfigError::FileMissing(path.into())),
        Err(Failure::Other(reason)) => Err(ConfigError::FileUnreadable(UnreadableFile { path: path.into(), reason })),
    }
}

/// Why the system did not read a file.
enum Failure {
    /// There is none.
    Missing,
    /// For this reason.
    Other(String),
}

/// A pipe, say: opening one would wait for somebody to write.
const NOT_A_FILE: &str = "it is not a file";

/// The same for a file that may be absent.
pub fn read_optional(path: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    match read(path) {
        Err(ConfigError::FileMissing(_)) => Ok(None),
        read => read.map(Some),
    }
}

#[cfg(not(target_os = "wasi"))]
mod system {
    use super::{Failure, NOT_A_FILE};
    use std::fs::{self, File};
    use std::io::{self, ErrorKind, Read};

    pub fn read(path: &str, at_most: u64) -> Result<Vec<u8>, Failure> {
        read_file(path, at_most).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Failure::Missing,
            _ => Failure::Other(e.to_string()),
        })
    }

    fn read_file(path: &str, at_most: u64) -> io::Result<Vec<u8>> {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other(NOT_A_FILE));
        }
        let mut content = Vec::new();
        File::open(path)?.take(at_most).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// wasi:filesystem itself: half as many calls of the host as by `std::fs`, and 17 KB less of the component.
#[cfg(target_os = "wasi")]
mod system {
    use super::{Failure, NOT_A_FILE, below};
    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags};

    pub fn read(path: &str, at_most: u64) -> Result<Vec<u8>, Failure> {
        let directories = get_directories();
        let places = directories.iter().filter_map(|(directory, name)| Some((directory, below(name, path)?)));
        // The innermost of those that the path is in.
        let (directory, path) = places.min_by_key(|(_, path)| path.len()).ok_or(Failure::Missing)?;
        read_in(directory, path, at_most).map_err(|code| match code {
            ErrorCode::NoEntry => Failure::Missing,
            // What is no file cannot be read as one.
            ErrorCode::Invalid | ErrorCode::IsDirectory => Failure::Other(NOT_A_FILE.into()),
            ErrorCode::Access => Failure::Other("permission denied".into()),
            code => Failure::Other(code.name().into()),
        })
    }

    fn read_in(directory: &Descriptor, path: &str, at_most: u64) -> Result<Vec<u8>, ErrorCode> {
        let stat = directory.stat_at(PathFlags::SYMLINK_FOLLOW, path)?;
        if stat.type_ != DescriptorType::RegularFile {
            return Err(ErrorCode::Invalid);
        }
        let file = directory.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)?;
        let mut content = Vec::new();
        loop {
            // Meanwhile it may be another file, of another size: only the end of the file is its end.
            let left = at_most.saturating_sub(content.len() as u64);
            let (bytes, _) = file.read(left.min(stat.size.max(64)), content.len() as u64)?;
            if bytes.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(&bytes);
        }
    }
}

/// The path in a folder that is called this.
#[cfg(any(target_os = "wasi", test))]
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_cause_has_its_case() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        fs::write(path("good"), "text").unwrap();
        fs::write(path("largest"), vec![b'a'; MAX_BYTES as usize]).unwrap();
        fs::write(path("too-large"), vec![b'a'; MAX_BYTES as usize + 1]).unwrap();
        fs::create_dir(path("directory")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();

        assert_eq!(read(&path("good")), Ok(b"text".to_vec()));
        assert_eq!(read(&path("largest")).unwrap().len() as u64, MAX_BYTES);
        assert_eq!(read(&path("too-large")), Err(ConfigError::FileTooLarge(path("too-large"))));
        assert!(matches!(read(&path("directory")), Err(ConfigError::FileUnreadable(f)) if f.path == path("directory")));
        for absent in ["absent", "dangling"] {
            assert_eq!(read(&path(absent)), Err(ConfigError::FileMissing(path(absent))));
            assert_eq!(read_optional(&path(absent)), Ok(None));
        }
        assert!(read_optional(&path("directory")).is_err());
    }

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

    /// As kubelet does it, as fast as it goes: a new folder, `..data` renamed to it, and the old folder removed.
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
                assert_eq!(read(&path), Ok(b"text".to_vec()));
            }
        });
    }
}
