//! Certificate authorities and server certificates.

use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::process::Command;
use time::{Duration, OffsetDateTime};

/// A certificate authority (CA).
pub struct Ca {
    params: CertificateParams,
    make_key: fn() -> KeyPair,
    key: KeyPair,
    pem: String,
}

/// A server's certificate and private key.
pub struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) asks_for_certificate: bool,
}

impl Identity {
    fn new(certificate: Certificate, key: &KeyPair) -> Identity {
        Identity {
            certificate: certificate.into(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            versions: rustls::DEFAULT_VERSIONS,
            asks_for_certificate: false,
        }
    }

    pub(crate) fn from_pem(certificate: &str, key: &str) -> Identity {
        Identity {
            certificate: CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate"),
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
            versions: rustls::DEFAULT_VERSIONS,
            asks_for_certificate: false,
        }
    }

    /// Limits the server to TLS 1.2.
    pub fn with_tls_1_2_alone(self) -> Identity {
        static TLS_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        Identity { versions: TLS_1_2, ..self }
    }

    /// Makes the server require client certificates.
    pub fn asking_for_certificates(self) -> Identity {
        Identity { asks_for_certificate: true, ..self }
    }

    /// Returns this certificate in PEM, and an identity that this certificate's key has signed as if it were a CA.
    pub fn issuing(self, names: &[&str]) -> (String, Identity) {
        let PrivateKeyDer::Pkcs8(own_key) = &self.key else { panic!("a key of another kind") };
        let own_key = KeyPair::try_from(own_key.secret_pkcs8_der()).expect("a key");
        let issuer = params("kube-apiserver", &[]);
        let key = ecdsa_key();
        let issued = params("another", names).signed_by(&key, &Issuer::from_params(&issuer, &own_key)).expect("a certificate");
        (self.pem(), Identity::new(issued, &key))
    }

    /// Returns the server's certificate in PEM, as in ca.crt.
    pub fn pem(&self) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(&self.certificate))
    }
}

impl Ca {
    /// Creates a CA as Kubernetes does.
    pub fn new(name: &str) -> Ca {
        Ca::with(name, ecdsa_key, is_ca)
    }

    /// Creates a CA with 2048-bit RSA keys, for itself and for the servers whose certificates it issues.
    pub fn rsa(name: &str) -> Ca {
        Ca::with(name, rsa_key, is_ca)
    }

    /// Creates a CA whose certificate has no key identifiers, as in some managed clusters.
    pub fn without_key_identifiers(name: &str) -> Ca {
        Ca::with(name, ecdsa_key, |params| {
            // Only the basic constraints say that it is a CA: SEQUENCE { BOOLEAN TRUE }.
            let mut basic_constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
            basic_constraints.set_criticality(true);
            params.custom_extensions.push(basic_constraints);
        })
    }

    /// Creates a CA whose certificate has expired.
    pub fn expired(name: &str) -> Ca {
        Ca::with(name, ecdsa_key, |params| {
            is_ca(params);
            valid(params, -Duration::DAY, -Duration::HOUR);
        })
    }

    /// Creates a CA whose certificate is not valid yet.
    pub fn future(name: &str) -> Ca {
        Ca::with(name, ecdsa_key, |params| {
            is_ca(params);
            valid(params, Duration::HOUR, Duration::DAY);
        })
    }

    /// Issues a certificate for clients, which is not valid for servers.
    pub fn client_identity(&self, names: &[&str]) -> Identity {
        self.issue(names, (-Duration::HOUR, Duration::DAY), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Creates an intermediate CA, issued by this one.
    pub fn intermediate(&self, name: &str) -> Ca {
        let mut params = params(name, &[]);
        is_ca(&mut params);
        let key = (self.make_key)();
        let pem = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).expect("a CA").pem();
        Ca { params, make_key: self.make_key, key, pem }
    }

    /// Creates a self-signed certificate, as a CA or not.
    pub fn self_signed(names: &[&str], as_ca: bool) -> Identity {
        let mut params = params("kube-apiserver", names);
        if as_ca {
            is_ca(&mut params);
        }
        let key = ecdsa_key();
        Identity::new(params.self_signed(&key).expect("a certificate"), &key)
    }

    fn with(name: &str, make_key: fn() -> KeyPair, make: impl FnOnce(&mut CertificateParams)) -> Ca {
        let mut params = params(name, &[]);
        make(&mut params);
        let key = make_key();
        let pem = params.self_signed(&key).expect("a CA").pem();
        Ca { params, make_key, key, pem }
    }

    /// Returns the CA's certificate in PEM, as in ca.crt.
    pub fn pem(&self) -> String {
        self.pem.clone()
    }

    /// Issues a server's certificate for these addresses and names, valid now.
    pub fn identity(&self, names: &[&str]) -> Identity {
        self.issue(names, (-Duration::HOUR, Duration::DAY), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate that has expired.
    pub fn expired_identity(&self, names: &[&str]) -> Identity {
        self.issue(names, (-Duration::DAY, -Duration::HOUR), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate that is not valid yet.
    pub fn future_identity(&self, names: &[&str]) -> Identity {
        self.issue(names, (Duration::HOUR, Duration::DAY), ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(&self, names: &[&str], (from, to): (Duration, Duration), purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = params("kube-apiserver", names);
        valid(&mut params, from, to);
        params.extended_key_usages = vec![purpose];
        let key = (self.make_key)();
        let issuer = Issuer::from_params(&self.params, &self.key);
        Identity::new(params.signed_by(&key, &issuer).expect("a certificate"), &key)
    }
}

/// Sets the validity, as times relative to now.
fn valid(params: &mut CertificateParams, from: Duration, to: Duration) {
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now + from, now + to);
}

fn is_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn ecdsa_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Creates an RSA key with openssl, because ring cannot.
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
