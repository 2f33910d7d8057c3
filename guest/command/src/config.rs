//! `incluster config`: what a pod has been given, without its secrets.

use crate::command_error::CommandError;
use incluster_client::Client;
use incluster_client::system::read_file;
use incluster_client::transport::Transport;
use incluster_core::Namespace;
use incluster_core::claims::Claims;
use incluster_core::files::{self, mounted};
use incluster_core::text::one_line;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::io::Write;
use std::time::{Duration, SystemTime};
use x509_cert::Certificate;
use x509_cert::der::Decode;

pub fn run<T: Transport>(out: &mut dyn Write) -> Result<(), CommandError> {
    let client = Client::<T>::load_incluster_config().map_err(CommandError::Config)?;
    let ca = files::read(read_file, &mounted(files::CA)).map_err(|error| CommandError::Config(error.into()))?;
    let now = SystemTime::now();
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<12}{value}");
    line("Server:", &client.server().to_string())?;
    line("Namespace:", client.namespace().map_or("unknown: there is no namespace file", Namespace::as_str))?;
    for (name, value) in token_lines(client.claims(), now) {
        line(name, &value)?;
    }
    let certificates = certificates(&ca, now);
    for ca in &certificates {
        line("CA:", ca)?;
    }
    if certificates.is_empty() {
        return Err(CommandError::Config(incluster_core::ConfigError::NoCertificate(mounted(files::CA)).into()));
    }
    Ok(())
}

fn token_lines(claims: Option<Claims>, now: SystemTime) -> Vec<(&'static str, String)> {
    let Some(claims) = claims else {
        return vec![("Token:", "opaque: only the API server knows what it is for and when it expires".into())];
    };
    let expiry = match claims.exp.and_then(|exp| u64::try_from(exp).ok()) {
        Some(exp) => expiry(Duration::from_secs(exp), now),
        None => "does not expire".into(),
    };
    let mut lines = vec![("Token:", expiry)];
    lines.extend(claims.sub.map(|sub| ("Subject:", one_line(&sub))));
    lines.extend(claims.aud.iter().map(|audience| ("Audience:", one_line(audience))));
    lines
}

/// Describes each certificate of a bundle in a text.
fn certificates(pem: &[u8], now: SystemTime) -> Vec<String> {
    let describe = |der: CertificateDer<'_>| {
        let certificate = Certificate::from_der(&der).map_err(|e| e.to_string())?;
        let certificate = certificate.tbs_certificate();
        let validity = certificate.validity();
        let begins = SystemTime::UNIX_EPOCH.checked_add(validity.not_before.to_unix_duration()).filter(|begins| *begins > now);
        let not_yet = begins.map(|begins| format!("not valid before {}, ", humantime::format_rfc3339_seconds(begins)));
        let expiry = expiry(validity.not_after.to_unix_duration(), now);
        Ok::<_, String>(format!("{}, {}{expiry}", one_line(&certificate.subject().to_string()), not_yet.unwrap_or_default()))
    };
    CertificateDer::pem_slice_iter(pem)
        .map(|der| {
            der.map_err(|e| e.to_string()).and_then(describe).unwrap_or_else(|e| format!("not a certificate: {}", one_line(&e)))
        })
        .collect()
}

fn expiry(since_1970: Duration, now: SystemTime) -> String {
    let Some(at) = SystemTime::UNIX_EPOCH.checked_add(since_1970).filter(|_| since_1970.as_secs() < 253_402_300_800) else {
        return "expires after the year 9999".into();
    };
    let date = humantime::format_rfc3339_seconds(at);
    match at.duration_since(now) {
        Ok(left) => format!("expires {date}, in {}", about(left)),
        Err(past) => format!("expired {date}, {} ago", about(past.duration())),
    }
}

/// A duration in the units that a person would use.
fn about(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use incluster_core::Token;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn expiry_is_relative_to_now() {
        assert_eq!(expiry(Duration::from_secs(7200), at(0)), "expires 1970-01-01T02:00:00Z, in 2 h");
        assert_eq!(expiry(Duration::from_secs(60), at(200)), "expired 1970-01-01T00:01:00Z, 2 min ago");
        assert_eq!(expiry(Duration::from_secs(u64::MAX), at(0)), "expires after the year 9999");
    }

    #[test]
    fn a_token_is_described_and_not_shown() {
        let claims = |token: &[u8]| Claims::of(&Token::parse("/t", token).unwrap());
        assert!(token_lines(claims(b"s3cr3t"), at(0))[0].1.starts_with("opaque"));
        // {"sub":"system:serviceaccount:a:b\n","aud":["x","y"]}
        let jwt = b"e30.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiXG4iLCJhdWQiOlsieCIsInkiXX0.c2ln";
        let lines = token_lines(claims(jwt), at(0));
        let expected =
            [("Token:", "does not expire"), ("Subject:", "system:serviceaccount:a:b "), ("Audience:", "x"), ("Audience:", "y")];
        assert_eq!(lines, expected.map(|(name, value)| (name, value.to_string())));
    }

    #[test]
    fn what_is_not_a_certificate_is_reported() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(certificates(pem, at(0))[0].starts_with("not a certificate: "));
    }
}
