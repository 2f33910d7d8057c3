//! Tokens that are issued, and not read from a file: one request at a time, before the last token expires.

use super::renewal::{Issued, Look, Renewal};
use crate::closing::Closing;
use crate::figures::{self, TARGET};
use crate::now;
use incluster_core::{Token, text};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex as Turn;
use tokio::time::{sleep_until, timeout};

/// The largest size of a token, in bytes: servers accept no longer header.
const LARGEST: usize = 16 << 10;

/// How long a source may take. If it takes longer, it has failed.
const LONGEST: Duration = Duration::from_secs(30);

/// A source of a tenant's token, and of the CAs that verify its API server, for an identity that is not a folder. Nothing from it is
/// written to disk. [`Identity::token_request`](crate::Identity::token_request) is such a source, for a service account of the same
/// cluster.
///
/// A token is requested when it is first used; again in the second half of its life, at a random time before a fifth of it is left, so
/// that tenants that began together do not ask together; and when the API server has not accepted it. Until the new token is there, the last
/// one is used. After a failure, or if a new token is refused soon, the source is asked again after one second at the earliest, then after
/// two, and so on up to a minute.
pub trait TokenSource: Send + Sync + 'static {
    /// Issues a new token. This may take up to 30 s.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, TokenSourceError>> + Send + '_>>;

    /// The CAs that may have issued the API server's certificate, in PEM. This is called for each new connection, and must not block.
    fn ca_bundle(&self) -> Result<Vec<u8>, TokenSourceError>;

    /// The namespace that sandboxes are told is their pod's own; none by default.
    fn namespace(&self) -> Option<String> {
        None
    }
}

/// A token, and when it expires. Its `Debug` does not show the token.
#[derive(Clone, Debug)]
pub struct IssuedToken(pub(crate) Issued);

impl IssuedToken {
    /// Makes a bearer token. Without an expiry time, it is used for ten minutes at most.
    ///
    /// # Errors
    ///
    /// The token is empty, has more than 16 KiB, or has a character not allowed in a token.
    pub fn new(token: &str, expires: Option<SystemTime>) -> Result<IssuedToken, TokenSourceError> {
        if token.len() > LARGEST {
            return Err(TokenSourceError::permanent("it has more than 16 KiB"));
        }
        let token = Token::parse("", token.as_bytes());
        let token = token.map_err(|_| TokenSourceError::permanent("it is empty, or has a character not allowed in a token"))?;
        Ok(IssuedToken(Issued { token: Arc::new(token), expires }))
    }
}

/// Why there is no token, or no CA. The text must not contain a secret: it appears in errors and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSourceError {
    text: String,
    is_retryable: bool,
}

impl TokenSourceError {
    /// A temporary error: calls wait for the token, within their deadlines.
    pub fn retryable(text: impl fmt::Display) -> TokenSourceError {
        TokenSourceError { text: text::error(&text), is_retryable: true }
    }

    /// A permanent error, which stays until something is changed.
    pub fn permanent(text: impl fmt::Display) -> TokenSourceError {
        TokenSourceError { text: text::error(&text), is_retryable: false }
    }

    /// Whether the error is temporary.
    pub fn is_retryable(&self) -> bool {
        self.is_retryable
    }
}

impl fmt::Display for TokenSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TokenSourceError {}

/// A source, and the last token that it issued.
pub(crate) struct Issuing {
    tenant: Arc<str>,
    source: Arc<dyn TokenSource>,
    closing: Closing,
    state: Mutex<State>,
    /// Held by the task that asks the source.
    turn: Arc<Turn<()>>,
    hashing: RandomState,
}

#[derive(Default)]
struct State {
    renewal: Renewal,
    failed: Option<TokenSourceError>,
    asked: u64,
}

impl Issuing {
    pub(crate) fn new(tenant: Arc<str>, source: Arc<dyn TokenSource>, closing: Closing) -> Issuing {
        Issuing { tenant, source, closing, state: Mutex::default(), turn: Arc::default(), hashing: RandomState::new() }
    }

    /// The token to send now. If there is none, this waits for one, unless the source has failed for good.
    pub(crate) async fn token(self: &Arc<Self>) -> Result<Arc<Token>, TokenSourceError> {
        loop {
            let look = self.lock().renewal.look(now());
            match look {
                Look::Use(token) => return Ok(token),
                Look::UseAndRenew(token) => {
                    if let Ok(turn) = self.turn.clone().try_lock_owned() {
                        let issuing = self.clone();
                        tokio::spawn(async move {
                            issuing.ask().await;
                            drop(turn);
                        });
                    }
                    return Ok(token);
                }
                Look::Ask => {
                    let turn = self.turn.clone().lock_owned().await;
                    if matches!(self.lock().renewal.look(now()), Look::Ask) {
                        // A task of its own: this caller may give up, while others still wait.
                        let issuing = self.clone();
                        let asked = tokio::spawn(async move {
                            issuing.ask().await;
                            drop(turn);
                        });
                        if asked.await.is_err() {
                            self.take(Err(TokenSourceError::retryable("the token source has panicked")));
                        }
                    }
                }
                Look::None(next) => {
                    let failed = self.lock().failed.clone();
                    match failed {
                        Some(failed) if failed.is_retryable => sleep_until(next.into()).await,
                        Some(failed) => return Err(failed),
                        None => return Err(TokenSourceError::retryable("there is no token yet")),
                    }
                }
            }
        }
    }

    /// Why there is no token yet.
    pub(crate) fn why_not(&self) -> TokenSourceError {
        self.lock().failed.clone().unwrap_or_else(|| TokenSourceError::retryable("no token was issued in time"))
    }

    /// Notes that the API server has not accepted this token.
    pub(crate) fn refused(&self, token: &Token) {
        self.lock().renewal.refused(token);
    }

    async fn ask(&self) {
        let answer = tokio::select! {
            asked = timeout(LONGEST, self.source.token()) => {
                asked.unwrap_or_else(|_| Err(TokenSourceError::retryable("the token source takes longer than 30 s")))
            }
            () = self.closing.ended() => Err(TokenSourceError::permanent("the runtime is being shut down")),
        };
        self.take(answer);
    }

    fn take(&self, answer: Result<IssuedToken, TokenSourceError>) {
        let now = now();
        let answer = answer.and_then(|IssuedToken(issued)| match issued.expires {
            Some(expires) if expires <= now.wall => {
                Err(TokenSourceError::retryable("the token that was issued has expired already"))
            }
            _ => Ok(issued),
        });
        let mut state = self.lock();
        state.asked += 1;
        let random = self.hashing.hash_one(state.asked);
        let outcome = match answer {
            Ok(issued) => {
                state.renewal.issued(now, random, issued);
                state.failed = None;
                "success"
            }
            Err(error) => {
                tracing::warn!(target: TARGET, tenant = &*self.tenant, %error, "no token was issued");
                state.renewal.failed(now, random);
                state.failed = Some(error);
                "error"
            }
        };
        drop(state);
        metrics::counter!(figures::TOKEN_RENEWALS, "tenant" => self.tenant.clone(), "outcome" => outcome).increment(1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// Issues a token when it is allowed to, or fails with a given error.
    struct Source {
        asked: AtomicUsize,
        may: Semaphore,
        fails: Option<TokenSourceError>,
    }

    impl TokenSource for Source {
        fn token(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, TokenSourceError>> + Send + '_>> {
            Box::pin(async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.may.acquire().await.unwrap().forget();
                match &self.fails {
                    Some(error) => Err(error.clone()),
                    None => IssuedToken::new("the-real-token", Some(SystemTime::now() + Duration::from_secs(600))),
                }
            })
        }

        fn ca_bundle(&self) -> Result<Vec<u8>, TokenSourceError> {
            Ok(Vec::new())
        }
    }

    fn issuing(fails: Option<TokenSourceError>) -> (Arc<Source>, Arc<Issuing>) {
        let source = Arc::new(Source { asked: AtomicUsize::new(0), may: Semaphore::new(0), fails });
        (source.clone(), Arc::new(Issuing::new("test".into(), source, Closing::default())))
    }

    #[tokio::test]
    async fn many_callers_that_need_a_token_ask_once() {
        let (source, issuing) = issuing(None);
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let issuing = issuing.clone();
                tokio::spawn(async move { issuing.token().await })
            })
            .collect();
        // A caller that gives up leaves the others what it asked for.
        let gone = tokio::spawn({
            let issuing = issuing.clone();
            async move { issuing.token().await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        source.may.add_permits(1);
        for waits in waiting {
            assert!(waits.await.unwrap().is_ok());
        }
        assert!(issuing.token().await.is_ok());
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_permanent_failure_is_returned_at_once_and_not_retried() {
        let (source, issuing) = issuing(Some(TokenSourceError::permanent("no")));
        source.may.add_permits(10);
        for _ in 0..3 {
            assert_eq!(issuing.token().await.unwrap_err().to_string(), "no");
        }
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_token_is_not_shown() {
        let issued = IssuedToken::new("the-real-token", None).unwrap();
        assert!(!format!("{issued:?}").contains("real"));
        for bad in ["a b", "", &"a".repeat(LARGEST + 1)] {
            assert!(IssuedToken::new(bad, None).is_err());
        }
    }
}
