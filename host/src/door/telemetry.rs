//! The telemetry of each request: spans and events by `tracing`, metrics by `metrics`. It never contains a token or a query.

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

/// How long the same event is suppressed, so that what a guest or a server does again and again does not flood the log.
const ONCE_IN: Duration = Duration::from_secs(1);

/// A request on its way. Its errors, for logs and for the guest, are free of tokens.
pub(crate) struct Exchange {
    tenant: Arc<str>,
    telling: Arc<Telling>,
    span: Span,
    attempt: u32,
    begun: Instant,
}

/// A request that was answered. Its end is reported when this is dropped.
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

    /// Records that the request leaves, with this verb.
    pub(crate) fn leaves(&self, verb: Verb) {
        self.span.record("verb", tracing::field::display(verb));
        if self.attempt > 1 {
            metrics::counter!(figures::RETRIES, "tenant" => self.tenant.clone()).increment(1);
        }
    }

    /// Reports that the request does not leave.
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

    /// Reports the answer's head.
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

    /// Reports that there is no answer.
    pub(crate) fn failed(self, error: Error) -> Error {
        let error = self.freed(error);
        let (outcome, seconds) = (of_error(&error), self.begun.elapsed().as_secs_f64());
        // Watches retry until ca.crt has changed, too, so this is reported only once.
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

    /// Removes tokens from an error.
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

/// Decides what is reported about a tenant's requests: no tokens, and only some of the events that happen again and again.
#[derive(Default)]
pub(crate) struct Telling {
    pub(crate) secrets: Arc<Secrets>,
    times: Times<&'static str>,
    /// The API server's warnings, by their texts.
    warnings: Times<String>,
    /// Whether it was reported that the server's certificate is not trusted any more, with no answer since then.
    is_untrusted: AtomicBool,
    hashing: RandomState,
    /// The hash of the token that was used last.
    last_token: Mutex<Option<u64>>,
}

impl Telling {
    pub(crate) fn new(secrets: Arc<Secrets>) -> Arc<Telling> {
        Arc::new(Telling { secrets, ..Telling::default() })
    }

    /// If a call that exceeded this limit should be reported, returns how many were suppressed before it.
    pub(crate) fn limit(&self, limit: &'static str) -> Option<u64> {
        self.times.tell(&limit, Instant::now())
    }

    /// Reports a token that differs from the one that was used before.
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

/// Limits events to one per second for each reason, and counts those in between.
struct Times<R>(Mutex<BTreeMap<R, LastTold>>);

/// How many reasons are distinguished. (A server can make up any number of warnings.)
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
    /// If the event should be reported, returns how many were suppressed before it. If there are too many reasons, new ones are suppressed.
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

    /// Notes that the body has ended.
    pub(crate) fn complete(&mut self) {
        self.outcome.get_or_insert("complete");
    }

    /// Reports that the body broke off.
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
        // The caller has read enough, or is gone.
        let outcome = self.outcome.unwrap_or("dropped");
        self.exchange.span.record("bytes", self.bytes);
        tracing::debug!(target: TARGET, seconds, bytes = self.bytes, outcome, "done");
        let tenant = &self.exchange.tenant;
        metrics::counter!(figures::RESPONSE_BYTES, "tenant" => tenant.clone()).increment(self.bytes);
        metrics::histogram!(figures::REQUEST, "tenant" => tenant.clone(), "outcome" => outcome).record(seconds);
    }
}

/// Escapes and cuts a text that a guest chose: it may be of any length.
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

/// Reports what was noticed while a ca.crt was read.
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
    fn repeated_events_are_reported_once_a_second_for_each_reason() {
        let (times, begun) = (Times::default(), Instant::now());
        let tell = |reason, milliseconds| times.tell(&reason, begun + Duration::from_millis(milliseconds));
        assert_eq!((tell("policy", 0), tell("method", 0)), (Some(0), Some(0)));
        assert!((1..1000).all(|milliseconds| tell("policy", milliseconds).is_none()));
        assert_eq!((tell("policy", 1000), tell("policy", 2000), tell("method", 3000)), (Some(999), Some(0), Some(0)));
    }

    /// Texts that a server makes up take bounded memory, and hide nothing for long.
    #[test]
    fn ever_new_texts_are_reported_a_few_at_a_time() {
        let (times, begun) = (Times::<String>::default(), Instant::now());
        let told = |at| (0..10_000).filter(|n| times.tell(&format!("{at:?} {n}"), at).is_some()).count();
        assert_eq!((told(begun), told(begun + ONCE_IN)), (MOST_REASONS, MOST_REASONS));
        assert_eq!(times.0.lock().unwrap().len(), MOST_REASONS);
    }
}
