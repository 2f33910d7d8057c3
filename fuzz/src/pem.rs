//! Fuzz target for reading ca.crt, the bundle of trusted certificates.

use incluster_core::files::{self, NotRead};
use incluster_core::tls::{Trust, TrustError};
use rustls::crypto::ring;
use std::fs;
use std::sync::Arc;

/// A CA's certificate: the good content that the input replaces.
const GOOD: &[u8] = include_bytes!("../corpus/pem/one");

fn read_file(path: &str, at_most: u64) -> Result<Vec<u8>, NotRead> {
    let content = fs::read(path).map_err(|_| NotRead::Missing)?;
    Ok(content.into_iter().take(at_most as usize).collect())
}

/// Reads the input as `ca.crt`: when it is the first content, and when it replaces good content.
pub fn pem(data: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let write = |content: &[u8]| fs::write(file.path(), content).expect("the file is written");
    write(data);
    let path = file.path().to_string_lossy().into_owned();
    let read = |path: String| Box::new(move || files::read(read_file, &path));
    let trust = || Trust::new(path.clone(), read(path.clone()), ring::default_provider(), &["http/1.1"]);
    let first = trust();
    match first.config(&|_| {}) {
        Ok(config) => {
            assert!(data.windows(11).any(|text| text == b"-----BEGIN "), "a file without a PEM header was accepted");
            assert!(Arc::ptr_eq(&config, &first.config(&|_| {}).expect("unchanged content was refused")));
        }
        Err(TrustError::Empty) => assert!(data.trim_ascii().is_empty()),
        Err(TrustError::NoCertificate) => {}
        Err(error) => panic!("{error:?}"),
    }
    write(GOOD);
    let second = trust();
    second.config(&|_| {}).expect("good content was refused");
    write(data);
    second.config(&|_| {}).expect("the last good content is no longer used");
}
