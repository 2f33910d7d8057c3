//! What is told of each request: spans and events by `tracing`, figures by `metrics`. Never a token, and no query.

use super::wasi_error;
use crate::figures::{self, TARGET};
use http::{HeaderMap, StatusCode, header};
use incluster_core::failure::{Code, Failure};
use incluster_core::request_info::Verb;
use incluster_core::secrets::Secrets;
use incluster_core::tls::News;
use incluster_core::warning;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Span;
use tracing::field::Empty;
use wasmtime_wasi_http::Error;

/// A log is not flooded by what a guest or a server does again and again.
const ONCE_IN: Duration = Duration::from_secs(1);

/// A request on its way. What is told of it is free of tokens, in logs and for the guest.
pub(crate) struct Exchange {
    tenant: Arc<str>,
    telling: Arc<Telling>,
    span: Span,
    attempt: u32,
    begun: Instant,
}

/// A request that was answered: its end is told when this is dropped.
pub(crate) struct Answered {
    exchange: Exchange,
    bytes: u64,
    /// `None` until the body is over.
    outcome: Option<&'static str>,
}

impl Exchange {
    pub(crate) fn begin(request: &http::request::Parts, attempt: u32, tenant: Arc<str>, telling: Arc<Telling>) -> Exchange {
        let span = tracing::info_span!(
            target: TARGET,
            "kubernetes_request",
            tenant = &*tenant,
            method = shortened(request.method.as_str(), &telling.secrets),
            path = shortened(request.uri.path(), &telling.secrets),
            verb = Empty,
            denied = Empty,
            attempt,
            status = Empty,
            bytes = Empty,
        );
        Exchange { tenant, telling, span, attempt, begun: Instant::now() }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The request leaves, to do this.
    pub(crate) fn leaves(&self, verb: Verb) {
        self.span.record("verb", tracing::field::display(verb));
        if self.attempt > 1 {
            metrics::counter!(figures::RETRIES, "tenant" => self.tenant.clone()).increment(1);
        }
    }

    /// The request does not leave.
    pub(crate) fn refused(self, reason: &'static str, is_limit: bool, error: Error) -> Error {
        let error = self.freed(error);
        self.span.record("denied", reason);
        let _entered = self.span.clone().entered();
        let tenant = &self.tenant;
        if is_limit {
            metrics::counter!(figures::LIMITS_EXCEEDED, "tenant" => tenant.clone(), "limit" => reason).increment(1);
        } else {
            if let Some(suppressed) = self.telling.times.tell(&reason, Instant::now()) {
                tracing::warn!(target: TARGET, reason, error = %wasi_error::text(&error), suppressed, "denied");
            }
            metrics::counter!(figures::DENIED, "tenant" => tenant.clone(), "reason" => reason).increment(1);
        }
        let outcome = if is_limit { "limit" } else { "denied" };
        metrics::counter!(figures::REQUESTS, "tenant" => tenant.clone(), "outcome" => outcome).increment(1);
        error
    }

    /// Takes the answer's head.
    pub(crate) fn answered(self, status: StatusCode, headers: &HeaderMap) -> Answered {
        self.telling.is_untrusted.store(false, Ordering::Relaxed);
        self.span.record("status", status.as_u16());
        for value in headers.get_all(header::WARNING) {
            for text in warning::texts(&String::from_utf8_lossy(value.as_bytes())) {
                let warning = self.telling.secrets.text(&text);
                if let Some(suppressed) = self.telling.warnings.tell(&warning, Instant::now()) {
                    self.span.in_scope(|| tracing::warn!(target: TARGET, warning, suppressed, "the API server warns"));
                }
            }
        }
        self.span.in_scope(|| tracing::debug!(target: TARGET, seconds = self.begun.elapsed().as_secs_f64(), "answered"));
        self.first_byte(of_status(status), None)
    }

    /// There is no answer.
    pub(crate) fn failed(self, error: Error) -> Error {
        let error = self.freed(error);
        let (outcome, seconds) = (of_error(&error), self.begun.elapsed().as_secs_f64());
        // Watches try again for as long as it takes.
        let is_between = code(&error) == Some(Code::CertificateChanged);
        let was_told = is_between && self.telling.is_untrusted.swap(true, Ordering::Relaxed);
        if !was_told && let Some(suppressed) = self.telling.times.tell(&outcome, Instant::now()) {
            self.span.in_scope(|| {
                tracing::warn!(target: TARGET, seconds, outcome, error = %wasi_error::text(&error), suppressed, "failed");
            });
        }
        self.first_byte(outcome, Some(outcome));
        error
    }

    fn first_byte(self, outcome: &'static str, ended: Option<&'static str>) -> Answered {
        let _entered = self.span.clone().entered();
        let tenant = &self.tenant;
        metrics::counter!(figures::REQUESTS, "tenant" => tenant.clone(), "outcome" => outcome).increment(1);
        let seconds = self.begun.elapsed().as_secs_f64();
        metrics::histogram!(figures::FIRST_BYTE, "tenant" => tenant.clone(), "outcome" => outcome).record(seconds);
        Answered { exchange: self, bytes: 0, outcome: ended }
    }

    /// The error, as it may be told.
    fn freed(&self, error: Error) -> Error {
        match error {
            Error::InternalError(Some(text)) => Error::InternalError(Some(self.telling.secrets.text(&text))),
            Error::DnsError { rcode: Some(text), info_code } => {
                Error::DnsError { rcode: Some(self.telling.secrets.text(&text)), info_code }
            }
            other => other,
        }
    }
}

/// What may be told of a tenant's requests: nothing of its tokens, and of what happens again and again not all.
#[derive(Default)]
pub(crate) struct Telling {
    pub(crate) secrets: Arc<Secrets>,
    times: Times<&'static str>,
    /// Of those of the API server, by their texts.
    warnings: Times<String>,
    /// Whether it was told that the server's certificate is not trusted any more, and nothing was answered since.
    is_untrusted: AtomicBool,
    hashing: RandomState,
    /// Of the token that was used last.
    last_token: Mutex<Option<u64>>,
}

impl Telling {
    pub(crate) fn new(secrets: Arc<Secrets>) -> Arc<Telling> {
        Arc::new(Telling { secrets, ..Telling::default() })
    }

    /// Reports a token that is another one than that which was used before.
    pub(crate) fn uses(&self, token: &[u8], tenant: &Arc<str>) {
        let last = self.last_token.lock().unwrap_or_else(PoisonError::into_inner).replace(self.hashing.hash_one(token));
        if last.is_some_and(|last| last != self.hashing.hash_one(token)) {
            if let Some(suppressed) = self.times.tell(&"token", Instant::now()) {
                tracing::info!(target: TARGET, tenant = &**tenant, suppressed, "the service account's token has changed");
            }
            metrics::counter!(figures::TOKEN_CHANGES, "tenant" => tenant.clone()).increment(1);
        }
    }
}

/// For each reason, one in a second is told, with how many were not since the last one.
struct Times<R>(Mutex<BTreeMap<R, LastTold>>);

/// So many reasons are told apart. (A server makes up warnings as it likes.)
const MOST_REASONS: usize = 64;

struct LastTold {
    at: Instant,
    suppressed: u64,
}

impl<R> Default for Times<R> {
    fn default() -> Self {
        Times(Mutex::new(BTreeMap::new()))
    }
}

impl<R: Ord + Clone> Times<R> {
    /// How many were not told before this one, if it is to be told. Where there are too many reasons, new ones are not.
    fn tell(&self, reason: &R, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST_REASONS && !told.contains_key(reason) {
            told.retain(|_, last| now.saturating_duration_since(last.at) < ONCE_IN);
            if told.len() >= MOST_REASONS {
                return None;
            }
        }
        match told.get_mut(reason) {
            Some(last) if now.saturating_duration_since(last.at) < ONCE_IN => {
                last.suppressed += 1;
                None
            }
            _ => Some(told.insert(reason.clone(), LastTold { at: now, suppressed: 0 }).map_or(0, |last| last.suppressed)),
        }
    }
}

impl Answered {
    /// Counts bytes of the body.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The body has come to its end.
    pub(crate) fn complete(&mut self) {
        self.outcome.get_or_insert("complete");
    }

    /// The body broke off.
    pub(crate) fn broken(&mut self, error: Error) -> Error {
        let error = self.exchange.freed(error);
        let outcome = of_error(&error);
        if let Some(suppressed) = self.exchange.telling.times.tell(&outcome, Instant::now()) {
            self.exchange.span.in_scope(|| {
                tracing::warn!(target: TARGET, outcome, error = %wasi_error::text(&error), suppressed, "the response broke off");
            });
        }
        self.outcome = Some(outcome);
        error
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        let _entered = self.exchange.span.clone().entered();
        let seconds = self.exchange.begun.elapsed().as_secs_f64();
        // Whoever asked has seen enough, or has gone.
        let outcome = self.outcome.unwrap_or("dropped");
        self.exchange.span.record("bytes", self.bytes);
        tracing::debug!(target: TARGET, seconds, bytes = self.bytes, outcome, "done");
        let tenant = &self.exchange.tenant;
        metrics::counter!(figures::RESPONSE_BYTES, "tenant" => tenant.clone()).increment(self.bytes);
        metrics::histogram!(figures::REQUEST, "tenant" => tenant.clone(), "outcome" => outcome).record(seconds);
    }
}

/// What a guest chose, escaped and cut: it can make it as long as it likes.
fn shortened(text: &str, secrets: &Secrets) -> String {
    const MOST: usize = 256;
    secrets.text(&&text[..text.floor_char_boundary(MOST)])
}

fn of_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "success",
        300..=399 => "redirect",
        401 => "unauthorized",
        403 => "forbidden",
        410 => "expired",
        429 => "too_many_requests",
        400..=499 => "client_error",
        _ => "server_error",
    }
}

fn of_error(error: &Error) -> &'static str {
    match error {
        Error::HttpResponseTimeout => "timeout",
        Error::ConnectionRefused => "refused",
        Error::InternalError(_) => code(error).map_or("other", of_code),
        Error::DnsError { .. } => "dns",
        Error::DestinationIpUnroutable => "unreachable",
        _ => "other",
    }
}

fn code(error: &Error) -> Option<Code> {
    let Error::InternalError(Some(text)) = error else { return None };
    text.parse().ok().map(|Failure { code, .. }| code)
}

fn of_code(code: Code) -> &'static str {
    match code {
        Code::ConnectionTimeout | Code::ReadTimeout => "timeout",
        Code::ConnectionLost | Code::NotConnected => "connection_lost",
        Code::Certificate | Code::CertificateChanged => "certificate",
        Code::Tls => "tls",
        Code::BodyTooLarge | Code::HeadTooLarge | Code::LimitExceeded => "limit",
        Code::TokenExpired | Code::TokenNotIssued => "token",
        Code::CaMissing | Code::CaEmpty | Code::CaUnreadable | Code::CaTooLarge | Code::NoCertificate => "ca_crt",
        Code::Denied => "denied",
        Code::TokenInAnswer => "token_in_answer",
        Code::HttpProtocol => "other",
    }
}

/// What was noticed while a ca.crt was read.
pub(crate) fn of_trust(path: &str, news: &News<'_>, secrets: &Secrets) {
    match news {
        News::Changed => {
            tracing::info!(target: TARGET, path, "ca.crt has changed: new connections trust its new content");
            metrics::counter!(figures::CA_RELOADS, "outcome" => "changed").increment(1);
        }
        News::Kept(error) => {
            let error = secrets.text(&format_args!("{error:?}"));
            tracing::warn!(target: TARGET, path, error, "ca.crt cannot be used: its last good content stays");
            metrics::counter!(figures::CA_RELOADS, "outcome" => "kept").increment(1);
        }
        News::PassedOver(place, error) => {
            tracing::warn!(target: TARGET, path, place, error = secrets.text(error), "passing over a certificate in ca.crt")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_again_and_again_is_told_once_a_second_for_each_reason() {
        let (times, begun) = (Times::default(), Instant::now());
        let tell = |reason, milliseconds| times.tell(&reason, begun + Duration::from_millis(milliseconds));
        assert_eq!((tell("policy", 0), tell("method", 0)), (Some(0), Some(0)));
        assert!((1..1000).all(|milliseconds| tell("policy", milliseconds).is_none()));
        assert_eq!((tell("policy", 1000), tell("policy", 2000), tell("method", 3000)), (Some(999), Some(0), Some(0)));
    }

    /// What a server makes up takes bounded memory, and hides nothing for long.
    #[test]
    fn texts_without_end_are_told_a_few_at_a_time() {
        let (times, begun) = (Times::<String>::default(), Instant::now());
        let told = |at| (0..10_000).filter(|n| times.tell(&format!("{at:?} {n}"), at).is_some()).count();
        assert_eq!((told(begun), told(begun + ONCE_IN)), (MOST_REASONS, MOST_REASONS));
        assert_eq!(times.0.lock().unwrap().len(), MOST_REASONS);
    }
}
