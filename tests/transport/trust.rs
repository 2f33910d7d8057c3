//! Tests of which servers are trusted; the others get no request. Each transport's tests compile this file, with a `crate::caller`
//! that makes calls with that transport.

use crate::caller::Caller;
use crate::faults::Call;
use incluster::types::{ConfigError, Error, TransportError};
use testbed::{Ca, Identity, PodApi, Protocol, Server, TOKEN, Testbed, Volume};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// A testbed whose server has this identity, and whose ca.crt is this bundle.
async fn testbed(identity: Identity, bundle: &str) -> Testbed {
    let server = Server::start(identity, Protocol::Any, PodApi::answer).await;
    Testbed { ca: Ca::new("unused"), server, volume: Volume::new(TOKEN, bundle, "shop") }
}

/// Lists the pods in one attempt, and returns their number.
async fn list_shop(testbed: &Testbed) -> Result<usize, Error> {
    Caller::at(&testbed.server.url(), testbed).outcome(Call::List).await
}

async fn accepted(identity: Identity, bundle: &str) {
    let testbed = testbed(identity, bundle).await;
    assert_eq!(list_shop(&testbed).await, Ok(7));
}

/// Checks that the server is refused with this text, and gets no request.
async fn refused(identity: Identity, bundle: &str, says: &str) {
    let testbed = testbed(identity, bundle).await;
    match list_shop(&testbed).await {
        Err(Error::Transport(TransportError::Certificate(why))) => assert!(why.contains(says), "{why}"),
        other => panic!("{says}: {other:?}"),
    }
    assert_eq!(testbed.server.requests().len(), 0);
}

const HERE: &[&str] = &["127.0.0.1"];

#[tokio::test]
async fn invalid_certificates_are_refused_and_the_error_says_why() {
    let (ca, other) = (Ca::new("kubernetes-ca"), Ca::new("kubernetes-ca"));
    refused(other.identity(HERE), &ca.pem(), "was not issued by a CA in ca.crt").await;
    refused(Ca::new("another").identity(HERE), &ca.pem(), "was not issued by a CA in ca.crt").await;
    refused(Ca::rsa("kubernetes-ca").identity(HERE), &ca.pem(), "was not issued by a CA in ca.crt").await;
    refused(ca.expired_identity(HERE), &ca.pem(), "Z, and this machine's clock says 20").await;
    refused(ca.future_identity(HERE), &ca.pem(), "is not valid before 20").await;
    refused(ca.identity(&["10.0.0.1", "kubernetes"]), &ca.pem(), "is not for 127.0.0.1, but for").await;
    refused(ca.identity(&["localhost"]), &ca.pem(), "is not for 127.0.0.1, but for").await;
    refused(ca.identity(&[]), &ca.pem(), "127.0.0.1").await;
}

#[tokio::test]
async fn keys_and_versions_of_every_kind() {
    for ca in [Ca::new("kubernetes-ca"), Ca::rsa("kubernetes-ca")] {
        accepted(ca.identity(HERE), &ca.pem()).await;
        accepted(ca.identity(HERE).with_tls_1_2_alone(), &ca.pem()).await;
    }
}

/// Signatures that `openssl` and Go accept and ring does not are refused, and the error names their kind.
#[tokio::test]
async fn an_unsupported_signature_is_named() {
    for (curve, hash, named) in [
        ("P-384", "sha512", "by an unsupported algorithm: ECDSA with SHA-512"),
        ("P-521", "sha512", "by an unsupported algorithm: ECDSA with SHA-512"),
        ("P-521", "sha256", "has an issuer whose key is of an unsupported kind: ECDSA by P-521"),
        ("secp256k1", "sha256", "has an issuer whose key is of an unsupported kind: ECDSA by secp256k1"),
    ] {
        let (ca, identity) = Identity::signed_by(curve, hash);
        refused(identity, &ca, &format!("{named}. Supported:")).await;
    }
    for (curve, hash) in [("P-384", "sha384"), ("P-384", "sha256"), ("P-256", "sha384")] {
        let (ca, identity) = Identity::signed_by(curve, hash);
        accepted(identity, &ca).await;
    }
}

#[tokio::test]
async fn a_bundle_is_as_good_as_its_good_certificates() {
    let (ca, old) = (Ca::new("new"), Ca::new("old"));
    accepted(ca.identity(HERE), &format!("# comment\n{}\n{}", old.pem(), ca.pem())).await;
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    accepted(ca.identity(HERE), &format!("{broken}{}{broken}", ca.pem())).await;
    let testbed = testbed(ca.identity(HERE), broken).await;
    assert!(matches!(list_shop(&testbed).await, Err(Error::Config(ConfigError::NoCertificate(_)))));
    assert_eq!(testbed.server.connections(), 0);
}

#[tokio::test]
async fn a_ca_is_trusted_while_it_is_valid() {
    let (ca, expired, future) = (Ca::new("kubernetes-ca"), Ca::expired("expired"), Ca::future("future"));
    refused(expired.identity(HERE), &expired.pem(), "was issued by a CA in ca.crt that expired at 20").await;
    refused(future.identity(HERE), &future.pem(), "was issued by a CA in ca.crt that is not valid before 20").await;
    refused(ca.identity(HERE), &expired.pem(), "none of which is valid now: the first one expired at 20").await;
    let all = format!("{}{}{}", expired.pem(), ca.pem(), future.pem());
    accepted(ca.identity(HERE), &all).await;
    refused(expired.identity(HERE), &all, "was issued by a CA in ca.crt that expired at 20").await;
}

#[tokio::test]
async fn a_certificate_in_ca_crt_is_accepted_from_its_server() {
    let ca = Ca::new("kubernetes-ca");
    for identity in [ca.identity(HERE), Ca::self_signed(HERE, true), Ca::self_signed(HERE, false)] {
        let pem = identity.pem();
        accepted(identity, &pem).await;
        refused(ca.identity(HERE), &pem, "ca.crt").await;
    }
    let elsewhere = ca.identity(&["10.0.0.1"]);
    let pem = elsewhere.pem();
    refused(elsewhere, &pem, "is not for 127.0.0.1, but for").await;
    let expired = ca.expired_identity(HERE);
    let pem = expired.pem();
    refused(expired, &pem, "expired at 20").await;
    refused(Ca::self_signed(HERE, true), &ca.pem(), "is a CA's own").await;
    let (pem, issued) = ca.identity(HERE).issuing(HERE);
    refused(issued, &pem, "was issued by a certificate in ca.crt that is not a CA's").await;
}

#[tokio::test]
async fn an_intermediate_ca_alone_is_enough() {
    let root = Ca::new("root");
    let intermediate = root.intermediate("intermediate");
    accepted(intermediate.identity(HERE), &intermediate.pem()).await;
    refused(root.identity(HERE), &intermediate.pem(), "was not issued by a CA in ca.crt").await;
}

/// The error says that the server wants a client certificate. (With TLS 1.3, the client has finished its part of the handshake, and may have
/// sent its request, before it learns that.)
#[tokio::test]
async fn a_server_that_wants_client_certificates_says_so() {
    let ca = Ca::new("kubernetes-ca");
    for (version, protocol) in [(13, Protocol::Any), (13, Protocol::Http1), (12, Protocol::Any), (12, Protocol::Http1)] {
        let asking = ca.identity(HERE).asking_for_certificates();
        let identity = if version == 12 { asking.with_tls_1_2_alone() } else { asking };
        let server = Server::start(identity, protocol, PodApi::answer).await;
        let testbed = Testbed { ca: Ca::new("unused"), server, volume: Volume::new(TOKEN, &ca.pem(), "shop") };
        match list_shop(&testbed).await {
            Err(Error::Transport(TransportError::Tls(why))) => assert!(why.contains("wants a client certificate"), "{why}"),
            other => panic!("{version} {protocol:?}: {other:?}"),
        }
        assert_eq!(testbed.server.requests().len(), 0);
    }
}

#[tokio::test]
async fn a_ca_needs_no_key_identifiers() {
    let ca = Ca::without_key_identifiers("eks");
    accepted(ca.identity(HERE), &ca.pem()).await;
    refused(Ca::without_key_identifiers("eks").identity(HERE), &ca.pem(), "ca.crt").await;
}

#[tokio::test]
async fn names_and_addresses_of_every_kind() {
    let ca = Ca::new("ca");
    let testbed = testbed(ca.identity(&["localhost"]), &ca.pem()).await;
    let by_name = Caller::at(&format!("https://localhost:{}", testbed.server.address().port()), &testbed);
    assert!(by_name.outcome(Call::List).await.is_ok());
    assert!(list_shop(&testbed).await.is_err());
    let absolute = Caller::at(&format!("https://LOCALHOST.:{}", testbed.server.address().port()), &testbed);
    assert_eq!(absolute.outcome(Call::List).await, Ok(7));

    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("IPv6 is not tested: this machine has no ::1");
        return;
    }
    let server = Server::start_at("[::1]:0", ca.identity(&["::1"]), Protocol::Any, PodApi::answer).await;
    let testbed = Testbed { ca: Ca::new("unused"), server, volume: Volume::new(TOKEN, &ca.pem(), "shop") };
    assert_eq!(list_shop(&testbed).await, Ok(7));
}

#[tokio::test]
async fn without_a_ca_there_is_not_even_a_connection() {
    let ca = Ca::new("ca");
    let testbed = testbed(ca.identity(HERE), &ca.pem()).await;
    for content in [&b""[..], b"text", &vec![b' '; 2 << 20]] {
        testbed.volume.set("ca.crt", content);
        let answer = list_shop(&testbed).await;
        assert!(matches!(&answer, Err(Error::Config(_))), "{answer:?}");
    }
    testbed.volume.set("ca.crt", ca.pem().as_bytes());
    assert_eq!(testbed.server.connections(), 0);
    assert!(list_shop(&testbed).await.is_ok());
}

/// A server without TLS, which passes on what it receives.
async fn plain(answer: &'static [u8]) -> (Server, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (heard, hearing) = mpsc::unbounded_channel();
    let server = Server::start_raw(move |mut stream| {
        let heard = heard.clone();
        async move {
            let mut first = vec![0; 65536];
            let n = stream.read(&mut first).await.unwrap_or(0);
            first.truncate(n);
            let _ = heard.send(first);
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    (server, hearing)
}

#[tokio::test]
async fn a_plain_http_server_gets_no_request() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";
    let (server, mut hearing) = plain(answer).await;
    let testbed = Testbed { ca: Ca::new("unused"), server, volume: Volume::new(TOKEN, &Ca::new("ca").pem(), "shop") };
    let error = list_shop(&testbed).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Tls(_))), "{error:?}");
    let heard = hearing.recv().await.unwrap();
    assert_eq!(heard[0], 0x16, "not a TLS handshake");
    for secret in [TOKEN.as_bytes(), b"GET ", b"/api/v1", b"Bearer"] {
        assert!(!heard.windows(secret.len()).any(|w| w == secret));
    }
}

#[tokio::test]
async fn nothing_there() {
    let ca = Ca::new("ca");
    let testbed = testbed(ca.identity(HERE), &ca.pem()).await;
    let refused = Caller::at("https://127.0.0.1:1", &testbed);
    let error = refused.outcome(Call::List).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::ConnectionRefused(_))), "{error:?}");
    let nameless = Caller::at("https://no-such-host.invalid", &testbed);
    let error = nameless.outcome(Call::List).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::NameNotResolved(_))), "{error:?}");
}

#[tokio::test]
async fn a_broken_connection_is_not_a_tls_error() {
    let (server, _hearing) = plain(b"").await;
    let testbed = Testbed { ca: Ca::new("unused"), server, volume: Volume::new(TOKEN, &Ca::new("ca").pem(), "shop") };
    let error = list_shop(&testbed).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::ConnectionLost(_))), "{error:?}");
}
