//! When to request a new token: a state machine that is told the time.

use incluster_core::Token;
use incluster_core::credentials::Now;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The part of a token's life, in percent, after which it is renewed, as kubelet does.
const RENEWED_AT: u32 = 80;

/// How much earlier, in percent of its life, a token may be renewed, at random, so that tokens that began together are not renewed together.
const EARLIER: u32 = 30;

/// The longest first wait after a failure, or after a token that was refused soon after it was issued. Each further wait may be twice as long,
/// up to `LONGEST_WAIT`. It is also the shortest time between two tokens.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest life of a token, whatever its expiry time says.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The life of a token without an expiry time.
const UNKNOWN_LIFE: Duration = Duration::from_secs(600);

/// A token that was just issued, and when it expires.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) token: Arc<Token>,
    pub(crate) expires: Option<SystemTime>,
}

/// The last token, and when to ask for the next one.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    last: Option<Last>,
    /// How many requests failed in a row, or gave tokens that were refused soon.
    failures: u32,
    /// When the source may be asked again.
    next: Option<Instant>,
    /// Whether the last token was not accepted.
    is_refused: bool,
}

#[derive(Debug)]
struct Last {
    token: Arc<Token>,
    issued: Instant,
    /// The expiry on both clocks: the wall clock may have been set, and the monotonic clock may have stood still.
    expires: Option<(Instant, SystemTime)>,
    renew_at: Instant,
}

/// What to do when a token is needed.
#[derive(Debug)]
pub(crate) enum Look {
    /// Use this token.
    Use(Arc<Token>),
    /// Use this token, and request the next one meanwhile.
    UseAndRenew(Arc<Token>),
    /// There is no token: request one, and wait for it.
    Ask,
    /// There is no token, and the source may be asked again only from this moment on.
    None(Instant),
}

impl Renewal {
    pub(crate) fn look(&self, now: Now) -> Look {
        let too_early = self.next.filter(|next| *next > now.instant);
        match &self.last {
            Some(last) if !self.is_refused && !last.has_expired(now) => match too_early.is_none() && last.renew_at <= now.instant
            {
                true => Look::UseAndRenew(last.token.clone()),
                false => Look::Use(last.token.clone()),
            },
            // A token may have been refused for another reason; an expired token is of no use.
            Some(last) if too_early.is_some() && !last.has_expired(now) => Look::Use(last.token.clone()),
            _ => too_early.map_or(Look::Ask, Look::None),
        }
    }

    /// Notes that the API server did not accept this token: the next look asks for another one, unless that has already happened.
    pub(crate) fn refused(&mut self, token: &Token) {
        self.is_refused |= self.last.as_ref().is_some_and(|last| *last.token == *token);
    }

    /// Takes a new token. `random` must be a different number each time.
    pub(crate) fn issued(&mut self, now: Now, random: u64, issued: Issued) {
        let Issued { token, expires } = issued;
        let expires = expires.or_else(|| now.wall.checked_add(UNKNOWN_LIFE));
        let life = expires.map_or(UNKNOWN_LIFE, |expires| expires.duration_since(now.wall).unwrap_or_default().min(LONGEST_LIFE));
        let renewed_at = life * RENEWED_AT / 100 - share(life * EARLIER / 100, random);
        let expires = expires.and_then(|wall| Some((now.instant.checked_add(life)?, wall)));
        let refused_soon = self.is_refused
            && self.last.as_ref().is_some_and(|last| now.instant.saturating_duration_since(last.issued) < 2 * LONGEST_WAIT);
        let failures = if refused_soon { self.failures.saturating_add(1) } else { 0 };
        let renew_at = now.instant.checked_add(renewed_at).unwrap_or(now.instant);
        let last = Some(Last { token, issued: now.instant, expires, renew_at });
        *self = Renewal { last, failures, next: now.instant.checked_add(wait_after(failures)), is_refused: false };
    }

    /// Notes that no token was issued.
    pub(crate) fn failed(&mut self, now: Now, random: u64) {
        let longest = wait_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.next = now.instant.checked_add(longest / 2 + share(longest / 2, random));
    }
}

impl Last {
    fn has_expired(&self, now: Now) -> bool {
        self.expires.is_some_and(|(instant, wall)| instant <= now.instant || wall <= now.wall)
    }
}

fn wait_after(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT)
}

/// A random part of a time.
fn share(time: Duration, random: u64) -> Duration {
    time.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Now {
        Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + HOUR * 400_000 }
    }

    fn after(now: Now, time: Duration) -> Now {
        Now { instant: now.instant + time, wall: now.wall + time }
    }

    fn issued(number: u64, now: Now, life: Duration) -> Issued {
        let token = Arc::new(Token::parse("/t", format!("token-{number}").as_bytes()).unwrap());
        Issued { token, expires: Some(now.wall + life) }
    }

    #[test]
    fn a_token_is_renewed_before_it_expires_and_used_meanwhile() {
        let begun = now();
        let mut renewal = Renewal::default();
        assert!(matches!(renewal.look(begun), Look::Ask));
        renewal.issued(begun, 0, issued(1, begun, HOUR));
        assert!(matches!(renewal.look(after(begun, HOUR * 79 / 100)), Look::Use(_)));
        let late = after(begun, HOUR * 80 / 100);
        assert!(matches!(renewal.look(late), Look::UseAndRenew(_)));
        renewal.failed(late, 0);
        assert!(matches!(renewal.look(late), Look::Use(_)));
        assert!(matches!(renewal.look(after(late, FIRST_WAIT)), Look::UseAndRenew(_)));
        assert!(matches!(renewal.look(after(begun, HOUR)), Look::Ask));
        renewal.failed(after(begun, HOUR), 0);
        assert!(matches!(renewal.look(after(begun, HOUR)), Look::None(_)));
    }

    #[test]
    fn either_clock_tells_that_a_token_has_expired() {
        let begun = now();
        let mut renewal = Renewal::default();
        renewal.issued(begun, 0, issued(1, begun, HOUR));
        assert!(matches!(renewal.look(Now { wall: begun.wall + HOUR, instant: begun.instant + FIRST_WAIT }), Look::Ask));
        assert!(matches!(renewal.look(Now { instant: begun.instant + HOUR, ..begun }), Look::Ask));
    }

    #[test]
    fn a_token_that_is_refused_is_renewed_once() {
        let begun = now();
        let mut renewal = Renewal::default();
        let first = issued(1, begun, HOUR);
        renewal.issued(begun, 0, first.clone());
        renewal.refused(&first.token);
        assert!(matches!(renewal.look(begun), Look::Use(_)), "it was issued a moment ago");
        let later = after(begun, FIRST_WAIT);
        assert!(matches!(renewal.look(later), Look::Ask));
        renewal.failed(later, 0);
        assert!(matches!(renewal.look(later), Look::Use(_)), "perhaps it was refused for another reason");
        renewal.issued(later, 0, issued(2, later, HOUR));
        renewal.refused(&first.token);
        assert!(matches!(renewal.look(after(later, HOUR / 2)), Look::Use(_)), "the token is another one by now");
    }

    /// If the API server refuses every token, the source is asked less and less often.
    #[test]
    fn tokens_that_are_always_refused_are_not_asked_for_all_the_time() {
        let begun = now();
        let (mut renewal, mut asked) = (Renewal::default(), 0);
        for milliseconds in (0..300_000).step_by(10) {
            let now = after(begun, Duration::from_millis(milliseconds));
            match renewal.look(now) {
                Look::Ask | Look::UseAndRenew(_) => {
                    asked += 1;
                    renewal.issued(now, 0, issued(milliseconds, now, HOUR));
                }
                Look::Use(token) => renewal.refused(&token),
                Look::None(_) => {}
            }
        }
        assert!((5..15).contains(&asked), "{asked}");
    }

    #[test]
    fn a_token_without_an_expiry_time_is_used_for_ten_minutes() {
        let (begun, mut renewal) = (now(), Renewal::default());
        renewal.issued(begun, 0, Issued { expires: None, ..issued(1, begun, HOUR) });
        assert!(matches!(renewal.look(after(begun, UNKNOWN_LIFE - FIRST_WAIT)), Look::UseAndRenew(_)));
        assert!(matches!(renewal.look(after(begun, UNKNOWN_LIFE)), Look::Ask));
    }

    /// A thousand tenants that begin together run for an hour, with tokens that live for ten minutes. Each makes a call every second.
    #[test]
    fn renewals_are_spread_and_no_call_has_an_expired_token() {
        const TENANTS: u64 = 1000;
        let life = Duration::from_secs(600);
        let begun = now();
        let mut random = 1_u64;
        let mut tenants: Vec<(Renewal, Now)> = (0..TENANTS).map(|_| (Renewal::default(), begun)).collect();
        let (mut most, mut renewals) = (0, 0);
        for second in 0..3600 {
            let now = after(begun, Duration::from_secs(second));
            let mut in_this_second = 0;
            for (renewal, expires) in &mut tenants {
                let asks = match renewal.look(now) {
                    Look::Use(_) => false,
                    Look::UseAndRenew(_) => true,
                    Look::Ask | Look::None(_) => {
                        assert_eq!(second, 0, "a call waits for a token");
                        true
                    }
                };
                assert!(second == 0 || now.wall < expires.wall, "a call with an expired token");
                if asks {
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    in_this_second += 1;
                    renewal.issued(now, random, issued(second, now, life));
                    *expires = after(now, life);
                }
            }
            if second > 0 {
                most = most.max(in_this_second);
                renewals += in_this_second;
            }
        }
        println!("{renewals} renewals, at most {most} in one second");
        assert!(renewals >= TENANTS * 6 && most * 50 <= TENANTS, "{renewals}, {most}");
    }
}
