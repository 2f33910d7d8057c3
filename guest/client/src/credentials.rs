//! The service account's token over time: it is read when it is used, as Kubernetes renews it about once an hour.

use crate::SERVICE_ACCOUNT_DIR;
use crate::describe;
use crate::files;
use crate::token::Token;
use crate::types::{ConfigError, Error, UnreadableFile};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A token is read again when it is older, as client-go and kube-rs do: 60 s less 10 s of leeway.
const RELOAD_AFTER: Duration = Duration::from_secs(50);

/// So far may this clock be ahead of the API server's before a token that is still good counts as expired.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The token that was read last.
pub struct Credentials {
    last: RefCell<(Rc<Token>, Instant)>,
}

impl Credentials {
    /// Reads the token for the first time.
    pub fn load() -> Result<Credentials, ConfigError> {
        Ok(Credentials { last: RefCell::new((Rc::new(read()?), Instant::now())) })
    }

    /// The token to send now.
    pub fn token(&self) -> Result<Rc<Token>, ConfigError> {
        let (token, read_at) = self.last.borrow().clone();
        if read_at.elapsed() < RELOAD_AFTER { Ok(token) } else { self.reload() }
    }

    /// The token that was read last, as long as it was ago.
    pub fn last(&self) -> Rc<Token> {
        self.last.borrow().0.clone()
    }

    /// The token as it is in the volume now: for one that the API server did not accept.
    pub fn reload(&self) -> Result<Rc<Token>, ConfigError> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match read() {
            Ok(token) => {
                let token = Rc::new(token);
                *self.last.borrow_mut() = (token.clone(), Instant::now());
                Ok(token)
            }
            // Its age stays as it is, so that the next use tries again.
            Err(error) => keep(self.last(), error, since_1970),
        }
    }
}

/// What becomes of the last token when there is no other.
fn keep(last: Rc<Token>, error: ConfigError, since_1970: Duration) -> Result<Rc<Token>, ConfigError> {
    let expires = last.claims().and_then(|claims| claims.exp).and_then(|exp| u64::try_from(exp).ok());
    match expires {
        Some(exp) if since_1970 > Duration::from_secs(exp).saturating_add(CLOCK_SKEW) => {
            Err(ConfigError::TokenExpired(UnreadableFile { path: path(), reason: describe::cause(&Error::Config(error)) }))
        }
        _ => Ok(last),
    }
}

fn read() -> Result<Token, ConfigError> {
    let path = path();
    Token::parse(&path, &files::read(&path)?)
}

fn path() -> String {
    format!("{SERVICE_ACCOUNT_DIR}/token")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Rc<Token> {
        let payload = data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes());
        Rc::new(Token::parse("/t", format!("e30.{payload}.c2ln").as_bytes()).unwrap())
    }

    fn kept(token: &Rc<Token>, now: u64) -> Result<Rc<Token>, ConfigError> {
        keep(token.clone(), ConfigError::FileEmpty("/t".into()), Duration::from_secs(now))
    }

    #[test]
    fn the_last_token_serves_until_it_expires_by_a_clock_that_may_be_a_minute_ahead() {
        let expiring = token(r#"{"exp":1000}"#);
        assert!(kept(&expiring, 0).is_ok() && kept(&expiring, 1060).is_ok());
        let Err(ConfigError::TokenExpired(file)) = kept(&expiring, 1061) else { panic!() };
        assert_eq!((&*file.path, &*file.reason), (&*path(), "the file /t is empty"));
    }

    #[test]
    fn a_token_that_does_not_say_when_it_expires_serves_on() {
        for endless in [token("{}"), token(r#"{"exp":-1}"#), Rc::new(Token::parse("/t", b"opaque").unwrap())] {
            assert!(kept(&endless, u64::MAX).is_ok());
        }
    }
}
