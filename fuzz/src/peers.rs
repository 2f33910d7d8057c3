//! Fuzz targets for what a peer sends: tokens that come back, floods of frames, and names in certificates.

use crate::frames::Frames;
use crate::guard::{Found, Guard};
use crate::texts;
use bytes::Bytes;
use governor::clock::FakeRelativeClock;
use incluster_core::secrets::{MIN_PART, Secrets};
use incluster_core::text::MAX_ERROR;
use incluster_core::tls::of_tls;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZy1lbm91Z2g";

fn secrets<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Arc<Secrets> {
    let secrets = Secrets::default();
    tokens.into_iter().for_each(|token| secrets.add(token.as_bytes(), SystemTime::UNIX_EPOCH));
    Arc::new(secrets)
}

/// Passes an answer through the guard. The input has three parts, separated by NUL: the tokens, separated by spaces; the lengths of the pieces, one byte
/// each; the answer.
pub fn guard(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let tokens = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (cuts, answer) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let tokens: Vec<&str> = tokens.split_ascii_whitespace().filter(|token| token.is_ascii() && token.len() < 200).take(4).collect();
    let secrets = secrets(tokens.iter().copied());
    let known = secrets.known();
    let decisive: Vec<&[u8]> = known.iter().filter(|secret| secret.beginning().is_some()).map(|secret| secret.decisive()).collect();
    let mut guard = Guard::new(secrets.clone());
    let (mut passed, mut rest, mut cuts) = (Vec::new(), answer, cuts.iter().cycle());
    let mut all = true;
    while !rest.is_empty() && all {
        let (piece, after) = rest.split_at(usize::from(cuts.next().copied().unwrap_or(255)).clamp(1, rest.len()));
        rest = after;
        match guard.pass(&Bytes::copy_from_slice(piece)) {
            Ok(piece) => passed.extend_from_slice(&piece),
            Err(Found) => all = false,
        }
        for token in &decisive {
            // Later bytes may have shown that it is not a token.
            let came = |cut: usize| &answer[passed.len() - cut..answer.len() - rest.len()];
            let may_be = |cut: usize| came(cut).iter().zip(*token).all(|(came, of_token)| came == of_token);
            let is_out = |cut: &usize| passed.ends_with(&token[..*cut]) && may_be(*cut);
            assert!(!(MIN_PART..=token.len()).any(|cut| is_out(&cut)), "the beginning of a token was handed over");
        }
        assert!(!all || passed.len() + guard.held() + rest.len() == answer.len(), "bytes were lost");
    }
    all &= guard.end().is_ok();
    assert!(answer.starts_with(&passed));
    assert!(!all || passed.len() == answer.len());
    let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    for token in &decisive {
        assert!(!has(&passed, token), "a token was handed over");
        assert!(!all || !has(answer, token));
    }
    let may_be_one = tokens.iter().any(|token| token.len() >= MIN_PART && has(answer, &token.as_bytes()[..MIN_PART]));
    assert!(all || may_be_one, "an answer was withheld that contains no beginning of a token");
}

/// Counts HTTP/2 frames. The input has the lengths of the pieces, one byte each, then 0xff, then the bytes that a server sends.
pub fn frames(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0xff);
    let (cuts, sent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (mut whole, mut cut) = (Frames::new(FakeRelativeClock::default(), Arc::default()), Frames::new(FakeRelativeClock::default(), Arc::default()));
    let mut cuts = cuts.iter().cycle();
    // One input is too short to be a flood, so it is repeated.
    for _ in 0..50 {
        let at_once = whole.pass(sent);
        let (mut rest, mut in_pieces) = (sent, true);
        while !rest.is_empty() && in_pieces {
            let (piece, after) = rest.split_at(usize::from(cuts.next().copied().unwrap_or(9)).clamp(1, rest.len()));
            rest = after;
            in_pieces = cut.pass(piece);
        }
        assert_eq!(at_once, in_pieces, "the result depends on the pieces");
        if !at_once {
            return;
        }
    }
}

/// Reports errors of certificates. The input is read as names in a certificate, separated by NUL, and as a certificate.
pub fn certificate(data: &[u8]) {
    let names: [String; 8] = texts(data);
    let presented = names.iter().flat_map(|name| [name.clone(), format!("{name}{TOKEN}"), TOKEN[..MIN_PART + 30].into()]).collect();
    let expected = ServerName::try_from("kubernetes").expect("a name");
    let time = UnixTime::since_unix_epoch(Duration::from_secs(data.iter().map(|byte| u64::from(*byte) << 40).sum()));
    let mut errors = vec![
        CertificateError::NotValidForNameContext { expected, presented },
        CertificateError::ExpiredContext { time, not_after: time },
    ];
    if let Err(rustls::Error::InvalidCertificate(error)) = RootCertStore::empty().add(CertificateDer::from(data)) {
        errors.push(error);
    }
    for error in errors {
        let failure = of_tls(&io::Error::other(rustls::Error::InvalidCertificate(error)), &"https://kubernetes");
        let text = secrets([TOKEN]).text(&failure);
        assert!(text.len() < MAX_ERROR + 16 && !text.chars().any(incluster_core::text::is_control));
        assert!(TOKEN.as_bytes().windows(MIN_PART).all(|part| !text.contains(std::str::from_utf8(part).expect("ASCII"))));
    }
}
