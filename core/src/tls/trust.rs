//! Which certificates are trusted: those that CAs in ca.crt issued, a server's own certificate that is in ca.crt itself, and no others.

use super::authority::Authority;
use super::verifier::Verifier;
use crate::ConfigError;
use crate::text::MAX_NAMES;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of sections of a ca.crt that are read; a bundle of all public CAs has fewer than 200.
const MAX_CERTIFICATES: usize = 1000;

/// A ca.crt, and the TLS configuration that was made from its last good content.
pub struct Trust {
    path: String,
    read: ReadCa,
    provider: Arc<CryptoProvider>,
    protocols: Vec<Vec<u8>>,
    last: Mutex<Option<(Vec<u8>, Arc<ClientConfig>)>>,
}

/// Why ca.crt provides nothing to trust.
#[derive(Debug)]
pub enum TrustError {
    /// The file cannot be read.
    File(ConfigError),
    /// The file has nothing in it.
    Empty,
    /// The file has no usable certificate.
    NoCertificate,
    /// The file ends within a certificate: it is being written.
    Half,
    /// TLS cannot be set up at all.
    Tls(rustls::Error),
}

/// An event of reading ca.crt.
#[derive(Debug)]
pub enum News<'a> {
    /// The file has changed: new connections trust its new content.
    Changed,
    /// The file cannot be used, for this reason: its last good content stays in use.
    Kept(&'a TrustError),
    /// The certificate at this position cannot be used now, for this reason, and is skipped.
    PassedOver(usize, &'a str),
}

/// A function that receives the events of reading ca.crt.
pub type Tell<'a> = &'a dyn Fn(News<'_>);

/// Reads the current content of a ca.crt.
pub type ReadCa = Box<dyn Fn() -> Result<Vec<u8>, ConfigError> + Send + Sync>;

impl Trust {
    /// Trusts the ca.crt at `path`, which `read` reads. Connections speak one of these protocols (ALPN, RFC 7301), best first.
    pub fn new(path: String, read: ReadCa, provider: CryptoProvider, protocols: &[&str]) -> Trust {
        let protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
        Trust { path, read, provider: Arc::new(provider), protocols, last: Mutex::new(None) }
    }

    /// The file's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the configuration for a new connection. The file is read each time, which is quick compared with a handshake. Its content is
    /// parsed only when it has changed. While the file cannot be used, its last good content stays in use.
    pub fn config(&self, tell: Tell<'_>) -> Result<Arc<ClientConfig>, TrustError> {
        let content = (self.read)().map_err(TrustError::File).and_then(not_empty);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(content), Some((same, config))) = (&content, &*last)
            && content == same
        {
            return Ok(config.clone());
        }
        let made = content.and_then(|content| {
            let (authorities, is_whole) = authorities(&content, tell)?;
            match is_whole || last.is_none() {
                true => Ok((content, Arc::new(self.client_config(authorities, tell).map_err(TrustError::Tls)?))),
                false => Err(TrustError::Half),
            }
        });
        match (made, &*last) {
            (Ok(good), previous) => {
                if previous.is_some() {
                    tell(News::Changed);
                }
                let config = good.1.clone();
                *last = Some(good);
                Ok(config)
            }
            (Err(error), Some((_, config))) => {
                tell(News::Kept(&error));
                Ok(config.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn client_config(&self, authorities: Vec<Authority>, tell: Tell<'_>) -> Result<ClientConfig, rustls::Error> {
        let verifier = Arc::new(Verifier::new(authorities, self.provider.signature_verification_algorithms));
        // A verifier of our own makes more checks, not fewer: rustls's trusts CAs that have expired.
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        // This is the clock that handshakes use.
        if let Some(now) = config.time_provider.current_time() {
            let out_of_date = |authority: &Authority| Some((authority.place, authority.valid_at(now).err()?));
            for (place, why) in verifier.authorities().iter().filter_map(out_of_date).take(MAX_NAMES) {
                tell(News::PassedOver(place, &format!("it {why}")));
            }
        }
        config.alpn_protocols.clone_from(&self.protocols);
        // A resumed session would not check the certificate again, although it may have expired.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Whether a handshake failed because of the server's certificate. The cluster's CA may have been rotated since ca.crt was read.
pub fn is_untrusted(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

fn not_empty(content: Vec<u8>) -> Result<Vec<u8>, TrustError> {
    if content.trim_ascii().is_empty() { Err(TrustError::Empty) } else { Ok(content) }
}

/// Returns the bundle's certificates, and whether the bundle is complete. A certificate that can never be used is skipped, as long as there
/// is a good one.
fn authorities(pem: &[u8], tell: Tell<'_>) -> Result<(Vec<Authority>, bool), TrustError> {
    let mut authorities = Vec::new();
    let (mut is_whole, mut passed_over) = (true, 0);
    for (place, certificate) in CertificateDer::pem_slice_iter(pem).enumerate().take(MAX_CERTIFICATES) {
        is_whole &= !matches!(&certificate, Err(pem::Error::MissingSectionEnd { .. }));
        match certificate.map_err(|e| of_pem(&e).to_string()).and_then(|der| Authority::parse(place, der)) {
            Ok(authority) => authorities.push(authority),
            Err(error) => {
                passed_over += 1;
                if passed_over <= MAX_NAMES {
                    tell(News::PassedOver(place, &error));
                }
            }
        }
    }
    if authorities.is_empty() { Err(TrustError::NoCertificate) } else { Ok((authorities, is_whole)) }
}

/// Says what is wrong with a section, without its content.
fn of_pem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its end is missing",
        pem::Error::IllegalSectionStart { .. } => "its first line is malformed",
        pem::Error::Base64Decode(_) => "it is not base64",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{self, NotRead};
    use rustls::crypto::ring;
    use rustls::{ClientConnection, ConnectionCommon, HandshakeKind, ServerConnection};
    use std::fs;
    use std::path::Path;
    use testbed::Ca;

    const TOO_LARGE: usize = (1 << 20) + 1;

    fn read_file(path: &str, at_most: u64) -> Result<Vec<u8>, NotRead> {
        let content = fs::read(path).map_err(|_| NotRead::Missing)?;
        Ok(content[..content.len().min(at_most as usize)].into())
    }

    fn trust(path: &Path) -> Trust {
        let path = path.to_str().unwrap().to_string();
        let read = Box::new({
            let path = path.clone();
            move || files::read(read_file, &path)
        });
        Trust::new(path, read, ring::default_provider(), &["http/1.1"])
    }

    fn authorities(pem: &[u8]) -> Result<(Vec<Authority>, bool), TrustError> {
        super::authorities(pem, &|_| {})
    }

    fn config(trust: &Trust) -> Result<Arc<ClientConfig>, TrustError> {
        trust.config(&|_| {})
    }

    #[test]
    fn only_what_the_bundle_has_is_trusted() {
        let (one, two) = (Ca::new("one").pem(), Ca::new("two").pem());
        assert_eq!(authorities(one.as_bytes()).unwrap().0.len(), 1);
        assert_eq!(authorities(format!("{one}\nnoise\n{two}").as_bytes()).unwrap().0.len(), 2);
        let truncated = &one[..one.len() - 40];
        let (kept, is_whole) = authorities(format!("{two}{truncated}").as_bytes()).unwrap();
        assert_eq!((kept.len(), is_whole), (1, false));
        for nothing in ["text", truncated, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(authorities(nothing.as_bytes()), Err(TrustError::NoCertificate)), "{nothing}");
        }
    }

    #[test]
    fn what_was_good_last_stays_while_the_file_is_no_good() {
        let (one, two) = (Ca::new("one").pem(), Ca::new("two").pem());
        let file = tempfile::NamedTempFile::new().unwrap();
        let trust = trust(file.path());
        assert!(matches!(config(&trust), Err(TrustError::Empty)));
        fs::write(file.path(), &one).unwrap();
        let first = config(&trust).unwrap();
        assert!(Arc::ptr_eq(&first, &config(&trust).unwrap()));
        let too_large = vec![b' '; TOO_LARGE];
        let half = format!("{two}{}", &two[..two.len() / 2]);
        for bad in [&b""[..], b"\n", &two.as_bytes()[..100], half.as_bytes(), b"text", &too_large] {
            fs::write(file.path(), bad).unwrap();
            assert!(Arc::ptr_eq(&first, &config(&trust).unwrap()));
        }
        fs::write(file.path(), &two).unwrap();
        let second = config(&trust).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::remove_file(file.path()).unwrap();
        assert!(Arc::ptr_eq(&second, &config(&trust).unwrap()));
    }

    /// The certificates of this bundle that are skipped, and why.
    fn passed_over(pem: &str) -> Vec<(usize, String)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), pem).unwrap();
        let passed = std::cell::RefCell::new(Vec::new());
        let tell = |news: News<'_>| match news {
            News::PassedOver(place, why) => passed.borrow_mut().push((place, why.to_string())),
            other => panic!("{other:?}"),
        };
        trust(file.path()).config(&tell).unwrap();
        passed.into_inner()
    }

    #[test]
    fn a_ca_that_is_not_valid_now_is_passed_over_and_reported() {
        let [good, expired, future] = [Ca::new("a"), Ca::expired("b"), Ca::future("c")].map(|ca| ca.pem());
        assert_eq!(passed_over(&good), []);
        let found = passed_over(&format!("{good}{expired}{good}{future}"));
        assert!(
            matches!(&found[..], [(1, one), (3, other)] if one.starts_with("it expired at 20") && other.starts_with("it is not valid before 20")),
            "{found:?}"
        );
    }

    /// A resumed session would not check a certificate that has expired since.
    #[test]
    fn each_handshake_looks_at_the_certificate() {
        let ca = Ca::new("ca");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), ca.pem()).unwrap();
        let (client, server) = (config(&trust(file.path())).unwrap(), ca.identity(&["10.0.0.1"]).server_config());
        for _ in 0..2 {
            let mut client = ClientConnection::new(client.clone(), "10.0.0.1".try_into().unwrap()).unwrap();
            let mut server = ServerConnection::new(server.clone()).unwrap();
            while client.wants_write() || server.wants_write() {
                pass(&mut client, &mut server);
                pass(&mut server, &mut client);
            }
            assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        }
    }

    /// Passes what one side has to send to the other.
    fn pass<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
        let mut said = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut said).unwrap();
        }
        if !said.is_empty() {
            to.read_tls(&mut said.as_slice()).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    #[test]
    fn what_was_never_good_is_an_error_of_its_own_kind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = |content: &[u8]| {
            fs::write(file.path(), content).unwrap();
            config(&trust(file.path())).unwrap_err()
        };
        assert!(matches!(error(b" \n"), TrustError::Empty));
        assert!(matches!(error(b"text"), TrustError::NoCertificate));
        assert!(matches!(error(&vec![b' '; TOO_LARGE]), TrustError::File(ConfigError::FileTooLarge(_))));
        let missing = trust(Path::new("/no/such/ca.crt"));
        assert!(matches!(config(&missing), Err(TrustError::File(ConfigError::FileMissing(_)))));
    }
}
