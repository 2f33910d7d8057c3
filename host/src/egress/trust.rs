//! Which certificates are trusted: those that ca.crt's CAs issued, and no others.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// No bundle is larger: 1 MiB.
const MAX_BUNDLE_BYTES: u64 = 1 << 20;

/// A ca.crt, and the TLS configuration that its content of last time made.
pub(crate) struct Trust {
    path: PathBuf,
    last: Mutex<Option<(Vec<u8>, Arc<ClientConfig>)>>,
}

/// Why ca.crt gives nothing to trust.
#[derive(Debug)]
pub(crate) enum TrustError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is larger than any bundle is.
    TooLarge,
    /// It has no usable certificate.
    NoCertificate,
    /// TLS cannot be set up at all.
    Tls(rustls::Error),
}

impl Trust {
    pub(crate) fn new(path: PathBuf) -> Trust {
        Trust { path, last: Mutex::new(None) }
    }

    /// The configuration for a new connection. The file is read each time, which is short beside a handshake; its content
    /// is parsed when it changed.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let content = read(&self.path)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((same, config)) if *same == content => Ok(config.clone()),
            _ => {
                let config = Arc::new(client_config(roots(&content)?).map_err(TrustError::Tls)?);
                *last = Some((content, config.clone()));
                Ok(config)
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    // Opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(TrustError::Unreadable)?.is_file() {
        return Err(TrustError::Unreadable(io::Error::other("it is not a file")));
    }
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BUNDLE_BYTES + 1).read_to_end(&mut content));
    match read.map_err(TrustError::Unreadable)? as u64 {
        n if n > MAX_BUNDLE_BYTES => Err(TrustError::TooLarge),
        _ => Ok(content),
    }
}

/// The bundle's CAs. A certificate that cannot be used is passed over with a warning, as long as there is a good one.
fn roots(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for (place, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let added = match certificate {
            Ok(der) => roots.add(der).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        if let Err(error) = added {
            tracing::warn!(place, error, "passing over a certificate in ca.crt");
        }
    }
    if roots.is_empty() { Err(TrustError::NoCertificate) } else { Ok(roots) }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testbed::Ca;

    #[test]
    fn only_what_the_bundle_has_is_trusted() {
        let (one, two) = (Ca::new("one").pem(), Ca::new("two").pem());
        assert_eq!(roots(one.as_bytes()).unwrap().len(), 1);
        assert_eq!(roots(format!("{one}\nnoise\n{two}").as_bytes()).unwrap().len(), 2);
        let truncated = &one[..one.len() - 40];
        assert_eq!(roots(format!("{two}{truncated}").as_bytes()).unwrap().len(), 1);
        for nothing in ["", "text", truncated, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(roots(nothing.as_bytes()), Err(TrustError::NoCertificate)), "{nothing}");
        }
    }

    #[test]
    fn the_file_is_parsed_again_when_it_changes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), Ca::new("one").pem()).unwrap();
        let trust = Trust::new(file.path().into());
        let first = trust.config().unwrap();
        assert!(Arc::ptr_eq(&first, &trust.config().unwrap()));
        fs::write(file.path(), Ca::new("two").pem()).unwrap();
        assert!(!Arc::ptr_eq(&first, &trust.config().unwrap()));
        fs::write(file.path(), vec![b' '; MAX_BUNDLE_BYTES as usize + 1]).unwrap();
        assert!(matches!(trust.config(), Err(TrustError::TooLarge)));
        fs::remove_file(file.path()).unwrap();
        assert!(matches!(trust.config(), Err(TrustError::Unreadable(_))));
    }
}
