//! When a token that is issued is asked for anew: a machine that is told the time.

use incluster_core::Token;
use incluster_core::credentials::Now;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A token is renewed when so much of its life is over, in hundredths: as kubelet does.
const RENEWED_AT: u32 = 80;

/// And up to so much earlier, at random, so that those who began together are not renewed together.
const EARLIER: u32 = 30;

/// The first wait after a failure, and after a token that was refused soon after it was issued, at most; each further one may be twice as long,
/// up to the longest. No token is asked for sooner after the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// No token lives longer, whatever it says.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a token lives that does not say when it expires.
const UNKNOWN_LIFE: Duration = Duration::from_secs(600);

/// A token that was just issued, and until when it is good.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) token: Arc<Token>,
    pub(crate) expires: Option<SystemTime>,
}

/// The last token, and when to ask for the next one.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    last: Option<Last>,
    /// In a row: of asking, or of tokens that were refused soon.
    failures: u32,
    /// Before this, nobody is asked again.
    next: Option<Instant>,
    /// The last token was not accepted.
    is_refused: bool,
}

#[derive(Debug)]
struct Last {
    token: Arc<Token>,
    issued: Instant,
    /// By either clock: one may have been set, the other may have stood still.
    expires: Option<(Instant, SystemTime)>,
    renew_at: Instant,
}

/// What to do for a token.
#[derive(Debug)]
pub(crate) enum Look {
    /// Use this one.
    Use(Arc<Token>),
    /// Use this one, and ask for the next meanwhile.
    UseAndRenew(Arc<Token>),
    /// There is none: ask, and wait for it.
    Ask,
    /// There is none, and it is too early to ask again: before this.
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
            // What was refused may have been for another reason; what has expired is of no use.
            Some(last) if too_early.is_some() && !last.has_expired(now) => Look::Use(last.token.clone()),
            _ => too_early.map_or(Look::Ask, Look::None),
        }
    }

    /// The API server did not accept this token: the next look asks for another, unless that has happened already.
    pub(crate) fn refused(&mut self, token: &Token) {
        self.is_refused |= self.last.as_ref().is_some_and(|last| *last.token == *token);
    }

    /// Takes a token. `random` is another number each time.
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

    /// There was no token to have.
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
        assert!(matches!(renewal.look(after(later, HOUR / 2)), Look::Use(_)), "it is another one by now");
    }

    /// Whatever the API server refuses, it is asked ever more rarely.
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
    fn what_does_not_say_when_it_expires_serves_for_ten_minutes() {
        let (begun, mut renewal) = (now(), Renewal::default());
        renewal.issued(begun, 0, Issued { expires: None, ..issued(1, begun, HOUR) });
        assert!(matches!(renewal.look(after(begun, UNKNOWN_LIFE - FIRST_WAIT)), Look::UseAndRenew(_)));
        assert!(matches!(renewal.look(after(begun, UNKNOWN_LIFE)), Look::Ask));
    }

    /// A thousand tenants that begin together, for an hour, with tokens of ten minutes; each makes a call in each second.
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
