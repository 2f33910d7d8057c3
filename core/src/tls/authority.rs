//! A certificate in ca.crt, and what it can be trusted for.
//!
//! webpki accepts a trust anchor for ever: it checks neither an anchor's dates nor whether it is a CA's. Go and OpenSSL check both.

use super::why::date;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::fmt;
use x509_cert::der::asn1::{AnyRef, OctetStringRef};
use x509_cert::der::{self, Decode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};
use x509_cert::time::Validity;

/// A certificate in ca.crt.
pub struct Authority {
    /// The certificate's position in ca.crt, from 0.
    pub place: usize,
    /// The certificate, as a server would present it.
    pub certificate: CertificateDer<'static>,
    /// The certificate as a trust anchor, which verifies what it issues.
    pub anchor: TrustAnchor<'static>,
    /// Whether the certificate may issue others.
    pub is_ca: bool,
    not_before: UnixTime,
    not_after: UnixTime,
}

/// Why a certificate is not valid at a time. Its `Display` follows the certificate's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfDate {
    /// The certificate was valid until this time.
    Expired(UnixTime),
    /// The certificate is valid from this time on.
    NotYet(UnixTime),
}

impl Authority {
    /// Parses the certificate at this position, or says why it can never be used.
    pub fn parse(place: usize, certificate: CertificateDer<'static>) -> Result<Authority, String> {
        let mut anchors = RootCertStore::empty();
        anchors.add(certificate.clone()).map_err(|e| e.to_string())?;
        let anchor = anchors.roots.pop().ok_or("it is not a trust anchor")?;
        let (validity, is_ca) = read(&certificate).map_err(|_| "its dates or its extensions cannot be read")?;
        Ok(Authority {
            place,
            anchor,
            is_ca,
            not_before: UnixTime::since_unix_epoch(validity.not_before.to_unix_duration()),
            not_after: UnixTime::since_unix_epoch(validity.not_after.to_unix_duration()),
            certificate,
        })
    }

    /// Checks that the certificate is valid at this time. Both dates belong to the validity period (RFC 5280, section 4.1.2.5).
    pub fn valid_at(&self, now: UnixTime) -> Result<(), OutOfDate> {
        if now < self.not_before {
            Err(OutOfDate::NotYet(self.not_before))
        } else if now > self.not_after {
            Err(OutOfDate::Expired(self.not_after))
        } else {
            Ok(())
        }
    }
}

/// Reads a certificate's dates, and whether it is a CA's. `Certificate` of x509-cert reads these too, but also everything else, which adds
/// 25 KB to a component.
fn read(certificate: &[u8]) -> der::Result<(Validity, bool)> {
    SliceReader::new(certificate)?.sequence(|certificate| {
        let read = certificate.sequence(|tbs| {
            let version = tbs.context_specific::<u8>(TagNumber(0), TagMode::Explicit)?;
            let [_serial_number, _signature, _issuer] = [tbs.tlv_bytes()?, tbs.tlv_bytes()?, tbs.tlv_bytes()?];
            let validity = Validity::decode(tbs)?;
            // X.509 version 1 has no extensions, so such a certificate cannot say whether it is a CA's. Go takes it for a CA's, too.
            let mut is_ca = version.is_none();
            while !tbs.is_finished() {
                let field = AnyRef::decode(tbs)?;
                if field.tag() == EXTENSIONS {
                    is_ca = SliceReader::new(field.value())?.sequence(has_ca_constraint)?;
                }
            }
            Ok::<_, der::Error>((validity, is_ca))
        })?;
        skip(certificate)?;
        Ok(read)
    })
}

const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };

/// The extension's object identifier: 2.5.29.19.
const BASIC_CONSTRAINTS: [u8; 5] = [6, 3, 0x55, 0x1d, 0x13];

fn has_ca_constraint(extensions: &mut SliceReader<'_>) -> der::Result<bool> {
    let mut is_ca = false;
    while !extensions.is_finished() {
        extensions.sequence(|extension| {
            if extension.tlv_bytes()? != BASIC_CONSTRAINTS {
                return skip(extension);
            }
            let _is_critical = Option::<bool>::decode(extension)?;
            let value: &OctetStringRef = extension.decode()?;
            SliceReader::new(value.as_bytes())?.sequence(|constraints| {
                is_ca = Option::<bool>::decode(constraints)?.unwrap_or_default();
                skip(constraints)
            })
        })?;
    }
    Ok(is_ca)
}

/// Skips the remaining fields.
fn skip(fields: &mut SliceReader<'_>) -> der::Result<()> {
    while !fields.is_finished() {
        fields.tlv_bytes()?;
    }
    Ok(())
}

impl fmt::Display for OutOfDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfDate::Expired(at) => write!(f, "expired at {}", date(*at)),
            OutOfDate::NotYet(from) => write!(f, "is not valid before {}", date(*from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use std::time::Duration;
    use testbed::{Ca, Identity};

    fn authority(pem: &str) -> Authority {
        Authority::parse(0, CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let mut ca = authority(&Ca::new("ca").pem());
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        (ca.not_before, ca.not_after) = (at(100), at(200));
        assert_eq!(ca.valid_at(at(99)), Err(OutOfDate::NotYet(at(100))));
        assert_eq!((ca.valid_at(at(100)), ca.valid_at(at(200))), (Ok(()), Ok(())));
        assert_eq!(ca.valid_at(at(201)), Err(OutOfDate::Expired(at(200))));
        assert_eq!(ca.valid_at(at(201)).unwrap_err().to_string(), "expired at 1970-01-01T00:03:20Z");
    }

    #[test]
    fn a_certificate_says_whether_it_is_a_cas() {
        let ca = Ca::new("ca");
        assert!(authority(&ca.pem()).is_ca);
        assert!(authority(&Ca::without_key_identifiers("ca").pem()).is_ca);
        assert!(!authority(&ca.identity(&["10.0.0.1"]).pem()).is_ca);
        assert!(!authority(&Ca::self_signed(&["10.0.0.1"], false).pem()).is_ca);
    }

    /// The result is the same as that of x509-cert's own `Certificate`.
    #[test]
    fn what_is_read_is_what_the_whole_certificate_says() {
        let ca = Ca::new("ca");
        for pem in [ca.pem(), Ca::expired("b").pem(), Ca::rsa("c").pem(), ca.identity(&["10.0.0.1", "a.example"]).pem()] {
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let whole = x509_cert::Certificate::from_der(&certificate).unwrap();
            assert_eq!(read(&certificate).unwrap().0, *whole.tbs_certificate().validity());
            for end in 0..certificate.len() {
                assert!(read(&certificate[..end]).is_err());
            }
            for place in 0..certificate.len() {
                let mut broken = certificate.to_vec();
                broken[place] ^= 0xff;
                // Reading may succeed, but must not panic.
                let _ = read(&broken);
            }
        }
    }

    /// `openssl` makes such a certificate when it is asked for no extensions.
    #[test]
    fn a_certificate_of_the_first_version_is_a_cas() {
        let certificate = Identity::signed_by("P-256", "sha256").1.pem();
        assert!(!authority(&certificate).is_ca);
        assert!(authority(&Identity::of_version_1().pem()).is_ca);
    }
}
