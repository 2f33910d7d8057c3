//! The protocol between the host and the compiling process: a question on its standard input, an answer on its standard output.
//!
//! Each is a line that names this protocol and its version, a head in JSON, and bytes: the component, or the result. A program of another
//! version, or another program, is detected by the line.

use super::compose::{Client, Imports};
use super::inspection::Inspection;
use crate::extension_error::ExtensionError;
use crate::load_limits::LoadLimits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::time::Duration;

/// The first line of questions and answers.
const LINE: &str = concat!("incluster-compile ", env!("CARGO_PKG_VERSION"), "\n");

/// The longest head, in bytes: an [`Inspection`] has some thousand names.
const MAX_HEAD: u32 = 8 << 20;

/// The number of bytes before the head: the line, and the head's length.
pub(crate) const START: usize = LINE.len() + size_of::<u32>();

/// What to do with a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Load,
    Compose(Client),
    Inspect,
    /// Inspect the component without compiling it, because compiling it ended with this error.
    Survey(ExtensionError),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) action: Action,
    /// What the component may import.
    pub(crate) imports: Imports,
    pub(crate) limits: LoadLimits,
    /// The settings of the engine that the code is for.
    pub(crate) engine: u64,
    /// The limits of the process: its memory in bytes, and its processor time.
    pub(crate) memory: u64,
    pub(crate) cpu_time: Duration,
    /// The size of the component.
    pub(crate) bytes: u64,
}

/// An answer. It says how many bytes follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Made(u64),
    Inspected(Box<Inspection>, u64),
    Refused(ExtensionError),
    /// The child's program has no engine with the settings that were asked for.
    OtherEngine,
}

/// Writes a question or an answer, without the bytes that follow.
pub(crate) fn write(to: &mut impl Write, head: &impl Serialize) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = u32::try_from(head.len()).map_err(io::Error::other)?;
    to.write_all(LINE.as_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&head)
}

/// The length of the head that follows these first [`START`] bytes.
pub(crate) fn head_length(start: &[u8]) -> io::Result<usize> {
    let invalid = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
    let (line, length) = start.split_at_checked(LINE.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    if line != LINE.as_bytes() {
        return Err(invalid("it does not speak this version's protocol"));
    }
    let length = u32::from_le_bytes(length.try_into().map_err(|_| io::ErrorKind::UnexpectedEof)?);
    if length > MAX_HEAD {
        return Err(invalid("its head is too long"));
    }
    usize::try_from(length).map_err(io::Error::other)
}

/// Reads what [`write()`] wrote.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut start = [0; START];
    from.read_exact(&mut start)?;
    let mut head = vec![0; head_length(&start)?];
    from.read_exact(&mut head)?;
    Ok(serde_json::from_slice(&head)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut pipe = Vec::new();
        write(&mut pipe, &Answer::Made(3)).unwrap();
        pipe.extend(b"abc");
        let mut from = pipe.as_slice();
        assert_eq!(read::<Answer>(&mut from).unwrap(), Answer::Made(3));
        assert_eq!(from, b"abc");
    }

    #[test]
    fn another_program_is_detected() {
        for said in [&b""[..], b"hello", b"incluster-compile 9.9.9\n\0\0\0\0", &[LINE.as_bytes(), &[255; 8]].concat()] {
            assert!(read::<Answer>(&mut &*said).is_err(), "{said:?}");
        }
    }
}
