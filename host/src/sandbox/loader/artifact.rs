//! The format of stored compiled extensions: a head that says what the code is for, and the code.
//!
//! The head detects code of another version or for another engine, and damage. It does not show who made the code: whoever can write to a
//! file of code can make this process do anything.

use super::Key;
use crate::sandbox::in_memory::filled;
use crc32fast::Hasher;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

/// The first line, which names this crate's version.
const LINE: &str = concat!("incluster-extension ", env!("CARGO_PKG_VERSION"), "\n");

/// How many bytes are read at once: few enough to stay in the processor's cache.
const PIECE: usize = 128 << 10;

/// What the code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The settings of the code's engine.
    pub(super) settings: u64,
    /// The hash of what the code was made from.
    pub(super) key: Key,
}

/// Why code is not used.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The code was made by another version of this crate, or is something else.
    Version,
    /// The code is for an engine with other settings, or for another kind of processor, or was composed with another client.
    Settings,
    /// The code was made from another component, or with other limits.
    Key,
    /// The code is truncated, or changed.
    Damaged,
    /// The code cannot be read.
    Io(io::Error),
}

/// Writes code with its head.
pub(super) fn write(to: &mut impl Write, head: &Head, code: &[u8]) -> io::Result<()> {
    let fields = fields(head, code.len() as u64);
    let mut sum = Hasher::new();
    sum.update(&fields);
    sum.update(code);
    to.write_all(LINE.as_bytes())?;
    to.write_all(&fields)?;
    to.write_all(&sum.finalize().to_le_bytes())?;
    to.write_all(code)
}

/// Reads code, if it is for this engine and, if a key is given, has that key. The code is returned in memory that nobody can change any more.
pub(super) fn read(from: &mut impl Read, settings: u64, key: Option<&Key>) -> Result<(Head, File), Unfit> {
    if read_array(from)? != *LINE.as_bytes().first_chunk::<{ LINE.len() }>().ok_or(Unfit::Version)? {
        return Err(Unfit::Version);
    }
    let fields: [u8; FIELDS] = read_array(from)?;
    let expected: [u8; 4] = read_array(from)?;
    let (head, bytes) = head(&fields).ok_or(Unfit::Damaged)?;
    if head.settings != settings {
        return Err(Unfit::Settings);
    }
    if key.is_some_and(|key| head.key != *key) {
        return Err(Unfit::Key);
    }
    let mut sum = Hasher::new();
    sum.update(&fields);
    let mut left = bytes;
    let file = filled(|file| {
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let count = from.read(&mut piece[..most])?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            sum.update(&piece[..count]);
            file.write_all(&piece[..count])?;
            left -= count as u64;
        }
        Ok(())
    });
    let file = file.map_err(Unfit::from)?;
    let ends = from.read(&mut [0]).map_err(Unfit::Io)? == 0;
    if !ends || sum.finalize().to_le_bytes() != expected {
        return Err(Unfit::Damaged);
    }
    Ok((head, file))
}

/// The settings, the key, and how many bytes of code follow.
const FIELDS: usize = size_of::<u64>() + size_of::<Key>() + size_of::<u64>();

fn fields(head: &Head, bytes: u64) -> Vec<u8> {
    [&head.settings.to_le_bytes()[..], &head.key, &bytes.to_le_bytes()].concat()
}

fn head(fields: &[u8; FIELDS]) -> Option<(Head, u64)> {
    let (settings, rest) = fields.split_first_chunk()?;
    let (key, bytes) = rest.split_first_chunk()?;
    Some((Head { settings: u64::from_le_bytes(*settings), key: *key }, u64::from_le_bytes(*bytes.first_chunk()?)))
}

fn read_array<const N: usize>(from: &mut impl Read) -> Result<[u8; N], Unfit> {
    let mut array = [0; N];
    from.read_exact(&mut array)?;
    Ok(array)
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Unfit {
        match error.kind() {
            ErrorKind::UnexpectedEof => Unfit::Damaged,
            _ => Unfit::Io(error),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Version => write!(f, "it was not made by incluster {}", env!("CARGO_PKG_VERSION")),
            Unfit::Settings => f.write_str(
                "it is for an engine with other settings, for another kind of processor, or contains another build of the client",
            ),
            Unfit::Key => f.write_str("it was made from another component, or with other limits"),
            Unfit::Damaged => f.write_str("it is cut or damaged"),
            Unfit::Io(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    const HEAD: Head = Head { settings: 7, key: [3; 32] };

    fn written(code: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &HEAD, code).unwrap();
        bytes
    }

    fn content(file: &File) -> Vec<u8> {
        let mut content = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut content, 0).unwrap();
        content
    }

    #[test]
    fn what_is_written_is_read_and_cannot_be_changed() {
        let code = vec![9; 3 * PIECE + 5];
        let (head, file) = read(&mut &*written(&code), 7, Some(&[3; 32])).unwrap();
        assert_eq!((head, content(&file) == code), (HEAD, true));
        assert!((&file).write_all(b"x").is_err() && file.set_len(0).is_err());
    }

    #[test]
    fn code_for_others_is_not_read() {
        let good = written(b"code");
        assert!(matches!(read(&mut &*good, 8, None), Err(Unfit::Settings)));
        assert!(matches!(read(&mut &*good, 7, Some(&[4; 32])), Err(Unfit::Key)));
        let other = String::from_utf8_lossy(&good).replacen("incluster-extension 0", "incluster-extension 9", 1);
        assert!(matches!(read(&mut other.as_bytes(), 7, None), Err(Unfit::Version)));
        assert!(matches!(
            read(&mut &b"\x7fELF and more than that, so that there is enough to read"[..], 7, None),
            Err(Unfit::Version)
        ));
    }

    proptest! {
        #[test]
        fn nothing_that_is_cut_or_changed_is_read(at in 0..150_usize, bit in 0..8_u8, cut in 0..150_usize, more in any::<bool>()) {
            let good = written(&[5; 64]);
            prop_assert!(read(&mut &good[..cut.min(good.len() - 1)], 7, Some(&[3; 32])).is_err());
            let mut changed = good.clone();
            if more {
                changed.push(0);
            } else {
                let at = at % good.len();
                changed[at] ^= 1 << bit;
            }
            prop_assert!(read(&mut &*changed, 7, Some(&[3; 32])).is_err());
        }
    }
}
