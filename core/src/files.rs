//! Reads files from the service account's volume, which kubelet may be swapping. The caller passes in the function that reads one file.

use crate::ConfigError;

/// Where Kubernetes mounts a pod's service account.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The name of the token's file in [`SERVICE_ACCOUNT_DIR`].
pub const TOKEN: &str = "token";
/// The name of the file with the CAs that may have issued the API server's certificate, in [`SERVICE_ACCOUNT_DIR`].
pub const CA: &str = "ca.crt";
/// The name of the file with the pod's namespace, in [`SERVICE_ACCOUNT_DIR`].
pub const NAMESPACE: &str = "namespace";

/// The largest file that is read: 1 MiB. No token, certificate bundle or namespace is larger.
pub const MAX_BYTES: u64 = 1 << 20;

/// The reason given for a path that is not a regular file. Opening a pipe, for example, would wait for a writer.
pub const NOT_A_FILE: &str = "it is not a file";

/// The reason given on every system when a file may not be read: for example, a volume's files are readable by root alone, and the pod does
/// not run as root.
pub const PERMISSION_DENIED: &str = "permission denied";

/// How many times to look for a missing file; each look takes microseconds. kubelet renews a volume by making a new folder and removing the
/// old one, perhaps while a path through the old one is being resolved.
const LOOKS: usize = 20;

/// Reads at most `at_most` bytes of the file at `path`.
pub type ReadFile = fn(path: &str, at_most: u64) -> Result<Vec<u8>, NotRead>;

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// There is no such file.
    Missing,
    /// Any other reason, in words.
    Other(String),
}

/// The path of a file of the service account, where Kubernetes mounts it.
pub fn mounted(name: &str) -> String {
    format!("{SERVICE_ACCOUNT_DIR}/{name}")
}

/// Reads the whole content of a file.
pub fn read(read_file: ReadFile, path: &str) -> Result<Vec<u8>, ConfigError> {
    let path = || path.to_string();
    match look_again(|| read_file(&path(), MAX_BYTES + 1)) {
        Ok(content) if content.len() as u64 > MAX_BYTES => Err(ConfigError::FileTooLarge(path())),
        Ok(content) => Ok(content),
        Err(NotRead::Missing) => Err(ConfigError::FileMissing(path())),
        Err(NotRead::Other(reason)) => Err(ConfigError::FileUnreadable { path: path(), reason }),
    }
}

/// Like [`read`], but returns `None` for a file that does not exist.
pub fn read_optional(read_file: ReadFile, path: &str) -> Result<Option<Vec<u8>>, ConfigError> {
    match read(read_file, path) {
        Err(ConfigError::FileMissing(_)) => Ok(None),
        read => read.map(Some),
    }
}

/// Repeats a read while the file is missing, up to `LOOKS` times in all.
fn look_again(mut read: impl FnMut() -> Result<Vec<u8>, NotRead>) -> Result<Vec<u8>, NotRead> {
    let mut last = read();
    for _ in 1..LOOKS {
        if last != Err(NotRead::Missing) {
            break;
        }
        last = read();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(content: usize) -> Result<usize, ConfigError> {
        let read_file: ReadFile = match content {
            0 => |_, _| Err(NotRead::Missing),
            1 => |_, _| Err(NotRead::Other("why".into())),
            2 => |_, at_most| Ok(vec![b'a'; at_most as usize - 1]),
            _ => |_, at_most| Ok(vec![b'a'; at_most as usize]),
        };
        let content = read(read_file, "/f").map(|content| content.len());
        assert_eq!(
            read_optional(read_file, "/f").map(|content| content.map(|content| content.len())),
            match &content {
                Err(ConfigError::FileMissing(_)) => Ok(None),
                content => content.clone().map(Some),
            }
        );
        content
    }

    #[test]
    fn each_cause_has_its_case() {
        assert_eq!(read_as(0), Err(ConfigError::FileMissing("/f".into())));
        assert_eq!(read_as(1), Err(ConfigError::FileUnreadable { path: "/f".into(), reason: "why".into() }));
        assert_eq!(read_as(2), Ok(MAX_BYTES as usize));
        assert_eq!(read_as(3), Err(ConfigError::FileTooLarge("/f".into())));
    }

    #[test]
    fn a_file_that_was_missing_is_looked_for_again_and_nothing_else_is() {
        let looks = |found: &[Result<Vec<u8>, NotRead>]| {
            let mut looks = 0;
            let last = look_again(|| {
                looks += 1;
                found[(looks - 1).min(found.len() - 1)].clone()
            });
            (looks, last)
        };
        let (missing, good, other) = (Err(NotRead::Missing), Ok(vec![1]), Err(NotRead::Other("why".into())));
        assert_eq!(looks(std::slice::from_ref(&good)), (1, good.clone()));
        assert_eq!(looks(&[missing.clone(), missing.clone(), good.clone()]), (3, good.clone()));
        assert_eq!(looks(std::slice::from_ref(&missing)), (LOOKS, missing));
        assert_eq!(looks(&[other.clone(), good]), (1, other));
    }
}
