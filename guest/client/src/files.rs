//! Reads the service account's volume. The host compiles this file, too.

use crate::look_again::look_again;
use crate::types::{ConfigError, UnreadableFile};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};

/// No token, certificate bundle or namespace is larger: 1 MiB.
pub const MAX_BYTES: u64 = 1 << 20;

/// The whole content of a file.
pub fn read(path: &str) -> Result<Vec<u8>, ConfigError> {
    look_again(|| read_once(path), |error| matches!(error, ConfigError::FileMissing(_)))
}

fn read_once(path: &str) -> Result<Vec<u8>, ConfigError> {
    let mut content = Vec::new();
    let mut read = || {
        // Opening a pipe would wait for somebody to write.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)
    };
    match read() {
        Ok(n) if n as u64 > MAX_BYTES => Err(ConfigError::FileTooLarge(path.into())),
        Ok(_) => Ok(content),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(ConfigError::FileMissing(path.into())),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// The same for a file that may be absent.
pub fn read_optional(path: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    match read(path) {
        Err(ConfigError::FileMissing(_)) => Ok(None),
        read => read.map(Some),
    }
}

fn unreadable(path: &str, error: &io::Error) -> ConfigError {
    ConfigError::FileUnreadable(UnreadableFile { path: path.into(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
