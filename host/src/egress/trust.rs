//! Which certificates are trusted: those that ca.crt's CAs issued, and no others.

use crate::files;
use crate::types::ConfigError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A ca.crt, and the TLS configuration that its last good content made.
pub(crate) struct Trust {
    path: PathBuf,
    last: Mutex<Option<(Vec<u8>, Arc<ClientConfig>)>>,
}

/// Why ca.crt gives nothing to trust.
#[derive(Debug)]
pub(crate) enum TrustError {
    /// It cannot be read.
    File(ConfigError),
    /// There is nothing in it.
    Empty,
    /// It has no usable certificate.
    NoCertificate,
    /// It ends within a certificate: somebody is writing it.
    Half,
    /// TLS cannot be set up at all.
    Tls(rustls::Error),
}

impl Trust {
    pub(crate) fn new(path: PathBuf) -> Trust {
        Trust { path, last: Mutex::new(None) }
    }

    /// The configuration for a new connection. The file is read each time, which is short beside a handshake; its content
    /// is parsed when it changed. While it cannot be used, what was good last is good still.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let content = read(&self.path);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(content), Some((same, config))) = (&content, &*last)
            && content == same
        {
            return Ok(config.clone());
        }
        let made = content.and_then(|content| {
            let (roots, is_whole) = roots(&content)?;
            match is_whole || last.is_none() {
                true => Ok((content, Arc::new(client_config(roots).map_err(TrustError::Tls)?))),
                false => Err(TrustError::Half),
            }
        });
        match (made, &*last) {
            (Ok(good), previous) => {
                if previous.is_some() {
                    tracing::info!(path = %self.path.display(), "ca.crt has changed: new connections trust its new content");
                    metrics::counter!("incluster_ca_reloads_total", "outcome" => "changed").increment(1);
                }
                let config = good.1.clone();
                *last = Some(good);
                Ok(config)
            }
            (Err(error), Some((_, config))) => {
                tracing::warn!(path = %self.path.display(), ?error, "ca.crt cannot be used: its last good content stays");
                metrics::counter!("incluster_ca_reloads_total", "outcome" => "kept").increment(1);
                Ok(config.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    let content = files::read(&path.to_string_lossy()).map_err(TrustError::File)?;
    if content.trim_ascii().is_empty() { Err(TrustError::Empty) } else { Ok(content) }
}

/// The bundle's CAs, and whether it is whole. A certificate that cannot be used is passed over with a warning, as long as
/// there is a good one.
fn roots(pem: &[u8]) -> Result<(RootCertStore, bool), TrustError> {
    let mut roots = RootCertStore::empty();
    let mut is_whole = true;
    for (place, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        is_whole &= !matches!(&certificate, Err(pem::Error::MissingSectionEnd { .. }));
        let added = match certificate {
            Ok(der) => roots.add(der).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        if let Err(error) = added {
            tracing::warn!(place, error, "passing over a certificate in ca.crt");
        }
    }
    if roots.is_empty() { Err(TrustError::NoCertificate) } else { Ok((roots, is_whole)) }
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
    use std::fs;
    use testbed::Ca;

    const TOO_LARGE: usize = (1 << 20) + 1;

    #[test]
    fn only_what_the_bundle_has_is_trusted() {
        let (one, two) = (Ca::new("one").pem(), Ca::new("two").pem());
        assert_eq!(roots(one.as_bytes()).unwrap().0.len(), 1);
        assert_eq!(roots(format!("{one}\nnoise\n{two}").as_bytes()).unwrap().0.len(), 2);
        let truncated = &one[..one.len() - 40];
        let (kept, is_whole) = roots(format!("{two}{truncated}").as_bytes()).unwrap();
        assert_eq!((kept.len(), is_whole), (1, false));
        for nothing in ["text", truncated, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(roots(nothing.as_bytes()), Err(TrustError::NoCertificate)), "{nothing}");
        }
    }

    #[test]
    fn what_was_good_last_stays_while_the_file_is_no_good() {
        let (one, two) = (Ca::new("one").pem(), Ca::new("two").pem());
        let file = tempfile::NamedTempFile::new().unwrap();
        let trust = Trust::new(file.path().into());
        assert!(matches!(trust.config(), Err(TrustError::Empty)));
        fs::write(file.path(), &one).unwrap();
        let first = trust.config().unwrap();
        assert!(Arc::ptr_eq(&first, &trust.config().unwrap()));
        let too_large = vec![b' '; TOO_LARGE];
        let half = format!("{two}{}", &two[..two.len() / 2]);
        for bad in [&b""[..], b"\n", &two.as_bytes()[..100], half.as_bytes(), b"text", &too_large] {
            fs::write(file.path(), bad).unwrap();
            assert!(Arc::ptr_eq(&first, &trust.config().unwrap()));
        }
        fs::write(file.path(), &two).unwrap();
        let second = trust.config().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::remove_file(file.path()).unwrap();
        assert!(Arc::ptr_eq(&second, &trust.config().unwrap()));
    }

    #[test]
    fn what_was_never_good_is_an_error_of_its_own_kind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = |content: &[u8]| {
            fs::write(file.path(), content).unwrap();
            Trust::new(file.path().into()).config().unwrap_err()
        };
        assert!(matches!(error(b" \n"), TrustError::Empty));
        assert!(matches!(error(b"text"), TrustError::NoCertificate));
        assert!(matches!(error(&vec![b' '; TOO_LARGE]), TrustError::File(ConfigError::FileTooLarge(_))));
        let missing = Trust::new("/no/such/ca.crt".into());
        assert!(matches!(missing.config(), Err(TrustError::File(ConfigError::FileMissing(_)))));
    }
}
