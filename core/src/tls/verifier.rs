//! Which server certificates are accepted: those that Go, and so kubectl, accepts with ca.crt as its root certificates.

use super::authority::{Authority, OutOfDate};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use std::fmt;
use std::ptr;
use std::sync::Arc;

/// Verifies servers' certificates against those in ca.crt. The validity of these is checked in each handshake, because a CA may have
/// expired since the last one.
pub struct Verifier {
    authorities: Vec<Authority>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a server's certificate is not accepted, where rustls has no case for it. Its `Display` follows "the certificate".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// The CA that issued the certificate is not valid now.
    IssuerOutOfDate(OutOfDate),
    /// The issuer is in ca.crt, but may not issue certificates.
    IssuerIsNoCa,
    /// No CA in ca.crt issued the certificate, and none of them is valid now. The reason is that of the first CA.
    NoneIsValid(OutOfDate),
    /// The certificate is not in ca.crt, which has other servers' certificates but no CA's.
    NoCa,
    /// The certificate is a CA's own, and is not in ca.crt.
    IsOfACa,
}

impl Verifier {
    /// Makes a verifier that trusts these authorities.
    pub fn new(authorities: Vec<Authority>, algorithms: WebPkiSupportedAlgorithms) -> Verifier {
        Verifier { authorities, algorithms }
    }

    /// The certificates of ca.crt.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// Checks that one of the authorities that `by` selects issued the certificate, directly or through the intermediate certificates.
    fn is_issued(
        &self,
        certificate: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        by: &dyn Fn(&Authority) -> bool,
        now: UnixTime,
    ) -> Result<(), Error> {
        let authorities = self.authorities.iter().filter(|authority| by(authority));
        let roots = RootCertStore { roots: authorities.map(|authority| authority.anchor.clone()).collect() };
        verify_server_cert_signed_by_trust_anchor(certificate, &roots, intermediates, now, self.algorithms.all)
    }

    /// Whether the certificate is in ca.crt itself, and good for a server: then it needs no issuer.
    fn is_listed(&self, der: &CertificateDer<'_>, certificate: &ParsedCertificate<'_>, now: UnixTime) -> bool {
        let Some(listed) = self.authorities.iter().find(|authority| authority.certificate == *der) else { return false };
        // Without a CA, rustls checks the certificate alone: its dates, then whether it is a CA's, then its purpose.
        let alone = self.is_issued(certificate, &[], &|_| false, now);
        listed.valid_at(now).is_ok()
            && match alone {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => true,
                // The certificate is a CA's, for which rustls has no error of its own. Trusting a CA's own certificate allows no more than
                // what it could issue.
                Err(Error::InvalidCertificate(CertificateError::Other(_))) => listed.is_ca,
                _ => false,
            }
    }

    /// Finds a more exact reason than rustls gives.
    fn why(&self, certificate: &ParsedCertificate<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Option<Untrusted> {
        for authority in self.authorities.iter().filter(|authority| !authority.may_issue_at(now)) {
            if self.is_issued(certificate, intermediates, &|by| ptr::eq(by, authority), now).is_ok() {
                let out_of_date = authority.valid_at(now).err();
                return Some(out_of_date.map_or(Untrusted::IssuerIsNoCa, Untrusted::IssuerOutOfDate));
            }
        }
        let mut cas = self.authorities.iter().filter(|authority| authority.is_ca).peekable();
        let Some(first) = cas.peek() else { return Some(Untrusted::NoCa) };
        let first = first.valid_at(now).err()?;
        cas.all(|authority| authority.valid_at(now).is_err()).then_some(Untrusted::NoneIsValid(first))
    }
}

impl Authority {
    fn may_issue_at(&self, now: UnixTime) -> bool {
        self.is_ca && self.valid_at(now).is_ok()
    }
}

fn is_of_a_ca(certificate: &CertificateDer<'_>) -> bool {
    Authority::parse(0, certificate.clone().into_owned()).is_ok_and(|certificate| certificate.is_ca)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if let Err(error) = self.is_issued(&certificate, intermediates, &|by| by.may_issue_at(now), now)
            && !self.is_listed(end_entity, &certificate, now)
        {
            let why = match &error {
                Error::InvalidCertificate(CertificateError::UnknownIssuer) => self.why(&certificate, intermediates, now),
                Error::InvalidCertificate(CertificateError::Other(_)) => is_of_a_ca(end_entity).then_some(Untrusted::IsOfACa),
                _ => None,
            };
            return Err(why.map_or(error, |why| CertificateError::Other(OtherError(Arc::new(why))).into()));
        }
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Shows no fields. rustls requires `Debug`, but a derived implementation, which nobody would use, would add kilobytes to a component.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Untrusted::IssuerOutOfDate(why) => write!(f, "was issued by a CA in ca.crt that {why}"),
            Untrusted::IssuerIsNoCa => {
                f.write_str("was issued by a certificate in ca.crt that is not a CA's (its basic constraints do not say CA:TRUE)")
            }
            Untrusted::NoneIsValid(first) => {
                write!(f, "was not issued by a CA in ca.crt, none of which is valid now: the first one {first}")
            }
            Untrusted::NoCa => f.write_str("is not in ca.crt, which has other certificates, but no CA's"),
            Untrusted::IsOfACa => f.write_str("is a CA's own, which is accepted only if it is in ca.crt itself"),
        }
    }
}

impl std::error::Error for Untrusted {}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use std::time::Duration;
    use testbed::{Ca, Identity};

    const SERVER: &[&str] = &["10.0.0.1"];
    const HOUR: Duration = Duration::from_secs(3600);

    fn ders(pem: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
    }

    /// Verifies this server with this ca.crt, at the time `later` from now.
    fn verified_after(later: Duration, ca_crt: &str, server: &Identity) -> Result<(), Error> {
        let authorities = ders(ca_crt).into_iter().enumerate().map(|(place, der)| Authority::parse(place, der).unwrap());
        let verifier = Verifier::new(authorities.collect(), ring::default_provider().signature_verification_algorithms);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + later);
        let name = "10.0.0.1".try_into().unwrap();
        verifier.verify_server_cert(&ders(&server.pem())[0], &[], &name, &[], now).map(drop)
    }

    fn verified(ca_crt: &str, server: &Identity) -> Result<(), Error> {
        verified_after(Duration::ZERO, ca_crt, server)
    }

    fn untrusted(result: Result<(), Error>) -> Untrusted {
        match result {
            Err(Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => *why.downcast_ref().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_ca_is_trusted_while_it_is_valid() {
        let ca = Ca::future("future");
        let server = ca.identity(SERVER);
        assert!(matches!(untrusted(verified(&ca.pem(), &server)), Untrusted::IssuerOutOfDate(OutOfDate::NotYet(_))));
        assert_eq!(verified_after(2 * HOUR, &ca.pem(), &server), Ok(()));

        let (expired, good) = (Ca::expired("expired"), Ca::new("good"));
        let both = format!("{}{}", expired.pem(), good.pem());
        assert!(matches!(
            untrusted(verified(&both, &expired.identity(SERVER))),
            Untrusted::IssuerOutOfDate(OutOfDate::Expired(_))
        ));
        assert_eq!(verified(&both, &good.identity(SERVER)), Ok(()));
        assert!(matches!(
            untrusted(verified(&expired.pem(), &good.identity(SERVER))),
            Untrusted::NoneIsValid(OutOfDate::Expired(_))
        ));
        assert_eq!(verified(&both, &Ca::new("other").identity(SERVER)), Err(CertificateError::UnknownIssuer.into()));
    }

    #[test]
    fn a_certificate_that_is_in_ca_crt_is_accepted_for_itself_alone() {
        let ca = Ca::new("ca");
        let (server, other) = (ca.identity(SERVER), ca.identity(SERVER));
        assert_eq!(verified(&server.pem(), &server), Ok(()));
        assert_eq!(untrusted(verified(&server.pem(), &other)), Untrusted::NoCa);
        assert_eq!(
            verified(&format!("{}{}", server.pem(), Ca::new("b").pem()), &other),
            Err(CertificateError::UnknownIssuer.into())
        );
        let elsewhere = ca.identity(&["10.0.0.2"]);
        assert!(matches!(
            verified(&elsewhere.pem(), &elsewhere),
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))
        ));
        for (out_of_date, later) in [(ca.expired_identity(SERVER), 0), (ca.identity(SERVER), 25), (ca.future_identity(SERVER), 0)]
        {
            assert!(matches!(
                verified_after(HOUR * later, &out_of_date.pem(), &out_of_date),
                Err(Error::InvalidCertificate(
                    CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }
                ))
            ));
        }
        let client = ca.client_identity(SERVER);
        assert!(matches!(
            verified(&client.pem(), &client),
            Err(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }))
        ));
    }

    #[test]
    fn what_a_server_issued_to_itself_is_accepted_where_ca_crt_has_it() {
        for as_ca in [true, false] {
            let (server, other) = (Ca::self_signed(SERVER, as_ca), Ca::self_signed(SERVER, as_ca));
            assert_eq!(verified(&server.pem(), &server), Ok(()));
            let both = format!("{}{}", Ca::new("ca").pem(), server.pem());
            assert_eq!(verified(&both, &server), Ok(()));
            assert!(verified(&both, &other).is_err());
        }
        let unknown = Ca::self_signed(SERVER, true);
        assert_eq!(untrusted(verified(&Ca::new("ca").pem(), &unknown)), Untrusted::IsOfACa);
    }

    /// Whoever has a server's key must not become a CA with it.
    #[test]
    fn a_servers_certificate_in_ca_crt_issues_nothing() {
        let (pem, issued) = Ca::new("ca").identity(SERVER).issuing(SERVER);
        assert_eq!(untrusted(verified(&pem, &issued)), Untrusted::IssuerIsNoCa);
    }
}
