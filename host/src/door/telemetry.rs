//! What is told of each request: spans and events by `tracing`, figures by `metrics`. Never a token, and no query.

use super::wasi_error;
use crate::figures::{self, TARGET};
use http::{HeaderMap, StatusCode, header};
use incluster_core::failure::{Code, Failure};
use incluster_core::request_info::Verb;
use incluster_core::text;
use incluster_core::tls::News;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tracing::Span;
use tracing::field::Empty;
use wasmtime_wasi_http::Error;

/// A request on its way.
pub(crate) struct Exchange {
    tenant: Arc<str>,
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
    pub(crate) fn begin(request: &http::request::Parts, attempt: u32, tenant: Arc<str>) -> Exchange {
        let span = tracing::info_span!(
            target: TARGET,
            "kubernetes_request",
            tenant = &*tenant,
            method = text::name(request.method.as_str()),
            path = shortened(request.uri.path()),
            verb = Empty,
            attempt,
            status = Empty,
            bytes = Empty,
        );
        Exchange { tenant, span, attempt, begun: Instant::now() }
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
        let _entered = self.span.clone().entered();
        // A limit is what bounds these lines.
        if !is_limit {
            tracing::warn!(target: TARGET, reason, error = %wasi_error::text(&error), "denied");
        }
        let tenant = &self.tenant;
        if !is_limit {
            metrics::counter!(figures::DENIED, "tenant" => tenant.clone(), "reason" => reason).increment(1);
        }
        let outcome = if is_limit { "limit" } else { "denied" };
        metrics::counter!(figures::REQUESTS, "tenant" => tenant.clone(), "outcome" => outcome).increment(1);
        if is_limit {
            metrics::counter!(figures::LIMITS_EXCEEDED, "tenant" => tenant.clone(), "limit" => reason).increment(1);
        }
        error
    }

    /// Takes the answer's head.
    pub(crate) fn answered(self, head: Result<StatusCode, &Error>) -> Answered {
        let _entered = self.span.clone().entered();
        let seconds = self.begun.elapsed().as_secs_f64();
        let outcome = match head {
            Ok(status) => {
                self.span.record("status", status.as_u16());
                tracing::debug!(target: TARGET, seconds, "answered");
                of_status(status)
            }
            Err(error) => {
                let outcome = of_error(error);
                tracing::warn!(target: TARGET, seconds, outcome, error = %wasi_error::text(error), "failed");
                outcome
            }
        };
        metrics::counter!(figures::REQUESTS, "tenant" => self.tenant.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!(figures::FIRST_BYTE, "tenant" => self.tenant.clone(), "outcome" => outcome).record(seconds);
        Answered { exchange: self, bytes: 0, outcome: head.is_err().then_some(outcome) }
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
    pub(crate) fn broken(&mut self, error: &Error) {
        let outcome = of_error(error);
        let _entered = self.exchange.span.clone().entered();
        tracing::warn!(target: TARGET, outcome, error = %wasi_error::text(error), "the response broke off");
        self.outcome = Some(outcome);
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
fn shortened(text: &str) -> String {
    const MOST: usize = 256;
    text::error(&&text[..text.floor_char_boundary(MOST)])
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
        Error::InternalError(Some(text)) => text.parse().map_or("other", |Failure { code, .. }| of_code(code)),
        Error::DnsError { .. } => "dns",
        Error::DestinationIpUnroutable => "unreachable",
        _ => "other",
    }
}

fn of_code(code: Code) -> &'static str {
    match code {
        Code::ConnectionTimeout | Code::ReadTimeout => "timeout",
        Code::ConnectionLost | Code::NotConnected => "connection_lost",
        Code::Certificate => "certificate",
        Code::Tls => "tls",
        Code::BodyTooLarge | Code::HeadTooLarge | Code::LimitExceeded => "limit",
        Code::TokenExpired | Code::TokenNotIssued => "token",
        Code::CaMissing | Code::CaEmpty | Code::CaUnreadable | Code::CaTooLarge | Code::NoCertificate => "ca_crt",
        Code::Denied => "denied",
        Code::HttpProtocol => "other",
    }
}

/// Notices when the token changes, without keeping it.
#[derive(Default)]
pub(crate) struct Tokens {
    hashing: RandomState,
    last: Mutex<Option<u64>>,
}

impl Tokens {
    pub(crate) fn seen(&self, headers: &HeaderMap, tenant: &Arc<str>) {
        let now = headers.get(header::AUTHORIZATION).map(|token| self.hashing.hash_one(token.as_bytes()));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some() && *last != now {
            tracing::info!(target: TARGET, tenant = &**tenant, "the service account's token has changed");
            metrics::counter!(figures::TOKEN_CHANGES, "tenant" => tenant.clone()).increment(1);
        }
        *last = now;
    }
}

/// What was noticed while a ca.crt was read.
pub(crate) fn of_trust(path: &str, news: &News<'_>) {
    match news {
        News::Changed => {
            tracing::info!(target: TARGET, path, "ca.crt has changed: new connections trust its new content");
            metrics::counter!(figures::CA_RELOADS, "outcome" => "changed").increment(1);
        }
        News::Kept(error) => {
            tracing::warn!(target: TARGET, path, ?error, "ca.crt cannot be used: its last good content stays");
            metrics::counter!(figures::CA_RELOADS, "outcome" => "kept").increment(1);
        }
        News::PassedOver(place, error) => {
            tracing::warn!(target: TARGET, path, place, error, "passing over a certificate in ca.crt")
        }
    }
}
