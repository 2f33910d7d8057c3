//! A token that is read from its file when it is used, because Kubernetes renews it about once an hour.

use crate::claims::Claims;
use crate::files::{self, ReadFile};
use crate::{ConfigError, Token};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The age at which a token is read again, as in client-go and kube-rs: 60 s less 10 s of leeway.
const RELOAD_AFTER: Duration = Duration::from_secs(50);

/// How far this clock may be ahead of the API server's before a token that is still valid counts as expired.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The current time, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The time of a monotonic clock.
    pub instant: Instant,
    /// The time of the wall clock, which people set.
    pub wall: SystemTime,
}

/// The file of a token, and the token that was last read from it.
pub struct Credentials {
    path: String,
    read_file: ReadFile,
    last: Mutex<Option<Last>>,
}

#[derive(Clone)]
struct Last {
    token: Arc<Token>,
    read_at: Instant,
}

impl Credentials {
    /// Makes credentials from the file at `path`, which `read_file` reads when they are used.
    pub fn new(path: String, read_file: ReadFile) -> Credentials {
        Credentials { path, read_file, last: Mutex::new(None) }
    }

    /// The token to send now.
    pub fn token(&self, now: Now) -> Result<Arc<Token>, ConfigError> {
        let last = self.lock().clone();
        match last {
            Some(last) if now.instant.saturating_duration_since(last.read_at) < RELOAD_AFTER => Ok(last.token),
            _ => self.reload(now),
        }
    }

    /// The token that was read last, however long ago.
    pub fn last(&self) -> Option<Arc<Token>> {
        self.lock().as_ref().map(|last| last.token.clone())
    }

    /// Reads the token from the volume now, for example because the API server did not accept the last one.
    pub fn reload(&self, now: Now) -> Result<Arc<Token>, ConfigError> {
        // Held while the file is read: of two concurrent readers, the one that saw the older content must not be the last to write.
        let mut last = self.lock();
        match files::read(self.read_file, &self.path).and_then(|content| Token::parse(&self.path, &content)) {
            Ok(token) => {
                let token = Arc::new(token);
                *last = Some(Last { token: token.clone(), read_at: now.instant });
                Ok(token)
            }
            // The last token keeps its age, so that the next use tries again.
            Err(error) => match &*last {
                Some(Last { token, .. }) => keep(token.clone(), &self.path, error, now.wall),
                None => Err(error),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the last token in use while there is no newer one, until it expires.
fn keep(last: Arc<Token>, path: &str, error: ConfigError, now: SystemTime) -> Result<Arc<Token>, ConfigError> {
    let expires = Claims::of(&last).and_then(|claims| claims.exp).and_then(|exp| u64::try_from(exp).ok());
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match expires {
        Some(exp) if since_1970 > Duration::from_secs(exp).saturating_add(CLOCK_SKEW) => {
            Err(ConfigError::TokenExpired { path: path.into(), reason: why(error) })
        }
        _ => Ok(last),
    }
}

/// Why the file gives no token. (The `Display` of [`ConfigError`], which the plugin does not use otherwise, would add 2 KB.)
fn why(error: ConfigError) -> String {
    match error {
        ConfigError::FileUnreadable { reason, .. } => reason,
        ConfigError::FileMissing(_) => "it is not there".into(),
        ConfigError::FileEmpty(_) => "it is empty".into(),
        ConfigError::FileTooLarge(_) => "it is larger than 1 MiB".into(),
        ConfigError::InvalidToken(_) => "it has a character not allowed in a token".into(),
        _ => "it cannot be used".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::NotRead;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(claims: &str) -> Arc<Token> {
        let payload = data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes());
        Arc::new(Token::parse("/t", format!("e30.{payload}.c2ln").as_bytes()).unwrap())
    }

    fn kept(token: &Arc<Token>, now: u64) -> Result<Arc<Token>, ConfigError> {
        keep(token.clone(), "/t", ConfigError::FileEmpty("/t".into()), at(now))
    }

    #[test]
    fn the_last_token_serves_until_it_expires_by_a_clock_that_may_be_a_minute_ahead() {
        let expiring = token(r#"{"exp":1000}"#);
        assert!(kept(&expiring, 0).is_ok() && kept(&expiring, 1060).is_ok());
        let expired = ConfigError::TokenExpired { path: "/t".into(), reason: "it is empty".into() };
        assert_eq!(kept(&expiring, 1061), Err(expired));
    }

    #[test]
    fn a_token_without_an_expiry_serves_on() {
        for endless in [token("{}"), token(r#"{"exp":-1}"#), Arc::new(Token::parse("/t", b"opaque").unwrap())] {
            assert!(kept(&endless, 1 << 40).is_ok());
        }
    }

    fn read_file(path: &str, _: u64) -> Result<Vec<u8>, NotRead> {
        std::fs::read(path).map_err(|e| NotRead::Other(e.to_string()))
    }

    #[test]
    fn the_file_is_read_when_the_token_is_50_s_old_and_the_last_token_outlives_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |content: &str| std::fs::write(file.path(), content).unwrap();
        let credentials = Credentials::new(file.path().to_str().unwrap().into(), read_file);
        let begun = Instant::now();
        let now = |seconds| Now { instant: begun + Duration::from_secs(seconds), wall: at(seconds) };
        let token_at = |seconds| credentials.token(now(seconds)).map(|token| token.authorization());
        assert_eq!(token_at(0), Err(ConfigError::FileEmpty(credentials.path.clone())));
        write("one");
        assert_eq!(token_at(0).unwrap(), "Bearer one");
        write("two");
        assert_eq!(token_at(49).unwrap(), "Bearer one");
        assert_eq!(token_at(50).unwrap(), "Bearer two");
        write("");
        assert_eq!(token_at(100).unwrap(), "Bearer two");
        write("three");
        assert_eq!(token_at(101).unwrap(), "Bearer three", "a failed read does not count");
        write("four");
        assert_eq!(credentials.reload(now(102)).unwrap().authorization(), "Bearer four");
    }

    /// A slow reader must not replace a token that a fast reader has read since with the older one that it saw.
    #[test]
    fn concurrent_reloads_never_restore_an_older_token() {
        let dir = tempfile::tempdir().unwrap();
        let (path, next) = (dir.path().join("token"), dir.path().join("next"));
        std::fs::write(&path, "0").unwrap();
        let credentials = Credentials::new(path.to_str().unwrap().into(), read_file);
        let now = Now { instant: Instant::now(), wall: at(0) };
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        credentials.reload(now).unwrap();
                    }
                });
            }
            let put_back = (1..300).find(|number| {
                std::fs::write(&next, number.to_string()).unwrap();
                std::fs::rename(&next, &path).unwrap();
                credentials.reload(now).unwrap();
                (0..20).any(|_| credentials.last().unwrap().authorization() != format!("Bearer {number}"))
            });
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(put_back, None);
        });
    }
}
