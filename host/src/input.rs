//! Reads files that others wrote: only regular files, and only up to a limit.

use rustix::fs::OFlags;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a regular file of at most `at_most` bytes. No more than that is read of a larger file. The limit for files of extensions is
/// `LoadLimits::bytes`.
///
/// # Errors
///
/// The file cannot be read, is larger ([`ErrorKind::FileTooLarge`]), or is not a regular file ([`ErrorKind::InvalidInput`]): reading a pipe or
/// a device could wait for data, or never end.
pub fn read(path: &Path, at_most: u64) -> Result<Vec<u8>, Error> {
    // Opening a pipe does not wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(at_most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > at_most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it has more than {at_most} bytes, which is its limit")));
    }
    Ok(bytes)
}

/// The largest policy or configuration, in bytes: 1 MiB.
pub const MAX_DOCUMENT: u64 = 1 << 20;

/// Reads a policy, or another configuration, from YAML or JSON text. The text may be at most [`MAX_DOCUMENT`] bytes long and nested 64 levels
/// deep; anything beyond that is refused before it is built.
///
/// # Errors
///
/// [`DocumentError`] says what is wrong with the text, and where.
#[cfg(feature = "yaml")]
pub fn yaml<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, DocumentError> {
    if text.len() as u64 > MAX_DOCUMENT {
        return Err(DocumentError::TooLarge);
    }
    let text = std::str::from_utf8(text).map_err(DocumentError::NotText)?;
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| DocumentError::Invalid(incluster_core::text::error(&e)))
}

/// Why a document cannot be used. The error's text is one line of at most 4 KiB, safe for a terminal and a log.
#[cfg(feature = "yaml")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// The document has more than [`MAX_DOCUMENT`] bytes.
    TooLarge,
    /// The document is not UTF-8 text.
    NotText(std::str::Utf8Error),
    /// The document is malformed, nested too deep, or of another kind than expected. The text gives the reason, with line and column.
    Invalid(String),
}

#[cfg(feature = "yaml")]
impl Display for DocumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DocumentError::TooLarge => write!(f, "it has more than {MAX_DOCUMENT} bytes, which is its limit"),
            DocumentError::NotText(error) => write!(f, "it is not UTF-8 text: {error}"),
            DocumentError::Invalid(reason) => f.write_str(reason),
        }
    }
}

#[cfg(feature = "yaml")]
impl std::error::Error for DocumentError {}

/// Makes the text of an error, a name, or anything else that others wrote safe for a terminal and a log: control characters are escaped, and
/// the text is cut after 4 KiB.
pub fn printable(text: &impl Display) -> String {
    incluster_core::text::error(text)
}

/// Makes JSON text safe for a terminal: escapes, in its strings, the control characters that JSON itself does not require to be escaped.
pub fn json(json: String) -> String {
    incluster_core::text::json(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        // A sparse file of 3 GiB: reading it would take seconds, and 3 GiB of memory.
        fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
        assert_eq!(read(&path, 1 << 20).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn pipes_devices_and_folders_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [&*pipe, Path::new("/dev/zero"), dir.path()] {
            let error = read(path, 10).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn a_document_is_bounded_in_bytes_depth_and_text() {
        use crate::policy::Policy;
        let says = |text: &str, words: &str| {
            let error = yaml::<Policy>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) && error.len() < 5000 && !error.contains(incluster_core::text::is_control), "{error}");
        };
        says(&"[".repeat(200_000), "recursion limit exceeded");
        says(&format!("rules: {}", "[".repeat(200_000)), "recursion limit exceeded");
        says(&"? ".repeat(100_000), "Depth");
        says(&format!("rules: [{}]", "a,".repeat(600_000)), "more than 1048576 bytes");
        says(&format!("{}: 1\n", "x".repeat(1000)), "unknown field");
        says(&format!("? \"{}\"\n: 1\n", "\\e[2J\\u202e".repeat(50_000)), "unknown field");
        says("rules: [{verbs: [\"\\e[2J\"]}]", "unknown variant");
        assert!(matches!(yaml::<Policy>(b"rules: []\xff"), Err(DocumentError::NotText(_))));
    }
}
