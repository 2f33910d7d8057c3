//! What the host and the process that compiles say to each other: a question on its standard input, an answer on its standard output.
//!
//! Each is a line that names this protocol and this version of it, a head in JSON, and bytes: the component, or what was made of it.
//! A program of another version, or another program, is noticed by the line.

use super::error::ExtensionError;
use super::inspection::Inspection;
use super::limits::LoadLimits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::time::Duration;

/// The first line of questions and answers.
const LINE: &str = concat!("incluster-compile ", env!("CARGO_PKG_VERSION"), "\n");

/// No head is longer: it has at most the names of a component's imports and exports.
const MAX_HEAD: u32 = 64 << 20;

/// What is to be done with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Load,
    Compose,
    Inspect,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) action: Action,
    /// The interfaces beyond the harmless ones that the component may import.
    pub(crate) allowed: Vec<String>,
    pub(crate) limits: LoadLimits,
    /// The settings of the engine that the code is for.
    pub(crate) engine: u64,
    /// What the process may have: address space in bytes, processor time.
    pub(crate) memory: u64,
    pub(crate) cpu_time: Duration,
    /// The size of the component.
    pub(crate) bytes: u64,
}

/// An answer. So many bytes follow as it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Made(u64),
    Inspected(Box<Inspection>),
    Refused(ExtensionError),
    /// The engine there has other settings than this one.
    OtherEngine,
}

/// Writes a question or an answer, but for the bytes that follow.
pub(crate) fn write(to: &mut impl Write, head: &impl Serialize) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = u32::try_from(head.len()).map_err(io::Error::other)?;
    to.write_all(LINE.as_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&head)
}

/// Reads what [`write()`] wrote.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut line = [0; LINE.len()];
    from.read_exact(&mut line)?;
    if line != LINE.as_bytes() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak this version's protocol"));
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_HEAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer's head is too long"));
    }
    let mut head = Vec::new();
    from.take(length.into()).read_to_end(&mut head)?;
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
    fn another_program_is_noticed() {
        for said in [&b""[..], b"hello", b"incluster-compile 9.9.9\n\0\0\0\0", &[LINE.as_bytes(), &[255; 8]].concat()] {
            assert!(read::<Answer>(&mut &*said).is_err(), "{said:?}");
        }
    }
}
