//! Certificates.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::process::Command;
use time::{Duration, OffsetDateTime};

/// A certificate authority.
pub struct Ca {
    params: CertificateParams,
    make_key: fn() -> KeyPair,
    key: KeyPair,
    pem: String,
}

/// A server's certificate and its key.
pub struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
}

impl Identity {
    /// The same, for a server that knows no newer TLS than 1.2.
    pub fn with_tls_1_2_alone(self) -> Identity {
        static TLS_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        Identity { versions: TLS_1_2, ..self }
    }
}

impl Ca {
    /// A CA as Kubernetes makes them.
    pub fn new(name: &str) -> Ca {
        Ca::with(name, ecdsa_key, is_ca)
    }

    /// The same with RSA keys of 2048 bits, its own and those of the servers whose certificates it issues.
    pub fn rsa(name: &str) -> Ca {
        Ca::with(name, rsa_key, is_ca)
    }

    /// A CA whose certificate has no key identifiers, as some managed clusters have.
    pub fn without_key_identifiers(name: &str) -> Ca {
        Ca::with(name, ecdsa_key, |params| {
            // A CA by its basic constraints alone: SEQUENCE { BOOLEAN TRUE }.
            let mut basic_constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
            basic_constraints.set_criticality(true);
            params.custom_extensions.push(basic_constraints);
        })
    }

    fn with(name: &str, make_key: fn() -> KeyPair, make: impl FnOnce(&mut CertificateParams)) -> Ca {
        let mut params = params(name, &[]);
        make(&mut params);
        let key = make_key();
        let pem = params.self_signed(&key).expect("a CA").pem();
        Ca { params, make_key, key, pem }
    }

    /// The CA's certificate, as it stands in ca.crt.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    /// A server's certificate for these addresses and names, valid now.
    pub fn identity(&self, names: &[&str]) -> Identity {
        self.identity_valid(names, -Duration::HOUR, Duration::DAY)
    }

    /// A certificate that has expired.
    pub fn expired_identity(&self, names: &[&str]) -> Identity {
        self.identity_valid(names, -Duration::DAY, -Duration::HOUR)
    }

    /// A certificate that is not valid yet.
    pub fn future_identity(&self, names: &[&str]) -> Identity {
        self.identity_valid(names, Duration::HOUR, Duration::DAY)
    }

    fn identity_valid(&self, names: &[&str], from: Duration, to: Duration) -> Identity {
        let mut params = params("kube-apiserver", names);
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now + from, now + to);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = (self.make_key)();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Identity {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            versions: rustls::DEFAULT_VERSIONS,
        }
    }
}

fn is_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn ecdsa_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// ring makes no RSA keys.
fn rsa_key() -> KeyPair {
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output();
    let pem = String::from_utf8(made.expect("openssl").stdout).expect("PEM");
    KeyPair::from_pem(&pem).expect("an RSA key")
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
