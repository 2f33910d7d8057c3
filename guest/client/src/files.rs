//! Reads the service account's volume.

use crate::types::{ConfigError, UnreadableFile};
use std::fs::File;
use std::io::{self, ErrorKind, Read};

/// No token, certificate bundle or namespace is larger: 1 MiB.
const MAX_BYTES: u64 = 1 << 20;

/// kubelet renews a volume by a new folder, and removes the old one, perhaps while we are on our way through it to a file.
/// So often a file that is not there is looked for; it takes microseconds.
const LOOKS: usize = 5;

/// The whole content of a file.
pub fn read(path: &str) -> Result<Vec<u8>, ConfigError> {
    let is_missing = |read: &Result<_, _>| matches!(read, Err(ConfigError::FileMissing(_)));
    let mut read = read_once(path);
    for _ in 1..LOOKS {
        if !is_missing(&read) {
            break;
        }
        read = read_once(path);
    }
    read
}

fn read_once(path: &str) -> Result<Vec<u8>, ConfigError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content));
    match read {
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
}
