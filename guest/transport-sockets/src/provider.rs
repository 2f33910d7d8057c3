//! The cryptography of TLS: ring, as the guest needs it.

use rustls::crypto::ring::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use std::sync::Arc;

/// ring's algorithms. WebAssembly has no AES instructions, and without them ChaCha20 is several times as fast: it goes first, so that the
/// server prefers it. There are no private keys, and so there is no code for them.
pub fn provider() -> CryptoProvider {
    let mut provider = CryptoProvider { key_provider: &NoKeys, ..ring::default_provider() };
    provider.cipher_suites.sort_by_key(|suite| {
        ![
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ]
        .contains(suite)
    });
    provider
}

#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("a service account has no private key".into()))
    }
}
