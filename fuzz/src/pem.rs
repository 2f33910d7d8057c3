//! The bundle of certificates that are trusted, as whoever makes a connection reads it.

use incluster_core::files::{self, NotRead};
use incluster_core::tls::{Trust, TrustError};
use rustls::crypto::ring;
use std::fs;
use std::sync::Arc;

/// A CA's certificate, which is the first content of a file that changes.
const GOOD: &[u8] = include_bytes!("../corpus/pem/one");

fn read_file(path: &str, at_most: u64) -> Result<Vec<u8>, NotRead> {
    let content = fs::read(path).map_err(|_| NotRead::Missing)?;
    Ok(content.into_iter().take(at_most as usize).collect())
}

/// The file `ca.crt`, as it is first found, and as what a good one is replaced by.
pub fn pem(data: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let write = |content: &[u8]| fs::write(file.path(), content).expect("it is written");
    write(data);
    let path = file.path().to_string_lossy().into_owned();
    let read = |path: String| Box::new(move || files::read(read_file, &path));
    let trust = || Trust::new(path.clone(), read(path.clone()), ring::default_provider(), &["http/1.1"]);
    let first = trust();
    match first.config(&|_| {}) {
        Ok(config) => {
            assert!(data.windows(11).any(|text| text == b"-----BEGIN "), "nothing says that it is a certificate");
            assert!(Arc::ptr_eq(&config, &first.config(&|_| {}).expect("it is good still")));
        }
        Err(TrustError::Empty) => assert!(data.trim_ascii().is_empty()),
        Err(TrustError::NoCertificate) => {}
        Err(error) => panic!("{error:?}"),
    }
    write(GOOD);
    let second = trust();
    second.config(&|_| {}).expect("it is good");
    write(data);
    second.config(&|_| {}).expect("what was good last is good still");
}
