//! Checks what must hold for each step of a watch.

use super::reader::Told;
use super::server::Watched;
use super::world::{ATTEMPTS, Body, LONGEST_WAIT, Must, World};
use super::{Checked, DEADLINE, ensure};
use crate::machine::{Do, Todo};
use crate::types::Error;
use std::time::Duration;

/// The longest wait for a certificate.
const BETWEEN_CERTIFICATES: Duration = Duration::from_secs(30);

impl<O: Watched> World<'_, O> {
    /// Checks what must hold for a step.
    pub(super) fn check(&mut self, step: &Do<Body, Result<Told<O>, Error>>) -> Checked {
        let now = self.now.instant;
        let deadline = self.call.as_ref().map(|call| call.begun + DEADLINE);
        let must = std::mem::replace(&mut self.must, Must::Anything);
        let is_too_large = self.call.as_ref().is_some_and(|call| call.too_large > 0);
        match (must, step) {
            (Must::Expire, Do::HandOut(Ok(Told::Expired))) => {}
            (Must::WaitOrGiveUp(_) | Must::GiveUp, Do::HandOut(Ok(Told::Expired))) if is_too_large => {}
            // Among the initial pods, there is nothing from which to go on.
            (Must::Slow | Must::WaitOrGiveUp(_), Do::HandOut(Ok(Told::Expired))) if self.reader.is_listing() => {}
            (Must::Slow | Must::BetweenCertificates | Must::Expire, Do::HandOut(Ok(Told::Ended))) => {}
            (Must::Slow, Do::Next(Todo::Wait(until))) => {
                ensure(*until <= now + LONGEST_WAIT, || format!("it waits for {:?}", *until - now))?;
            }
            (Must::BetweenCertificates, Do::Next(Todo::Wait(until))) => {
                ensure(*until <= now + BETWEEN_CERTIFICATES, || format!("it waits for {:?}", *until - now))?;
            }
            (Must::Anything, Do::HandOut(Err(Error::MalformedResponse(_)))) if self.has_garbage => self.has_garbage = false,
            (Must::Anything | Must::WaitOrGiveUp(_), Do::HandOut(Err(error))) => {
                let least = if let Must::WaitOrGiveUp(least) = must { least + LONGEST_WAIT } else { Duration::ZERO };
                let is_late = deadline.is_some_and(|deadline| now + least >= deadline)
                    || self.fruitless_since.is_some_and(|since| now + LONGEST_WAIT >= since + DEADLINE);
                let is_used_up = self.call.as_ref().is_some_and(|call| call.attempts >= ATTEMPTS) || self.fruitless >= ATTEMPTS;
                ensure(is_late || is_used_up, || {
                    let (fruitless, attempts) = (self.fruitless, self.call.as_ref().map(|call| call.attempts));
                    format!("it gives up too early, after {fruitless} connections and {attempts:?} attempts: {error:?}")
                })?;
            }
            (Must::GiveUp, Do::HandOut(Err(_))) => {}
            (Must::Anything, _) | (Must::Reload, Do::Next(Todo::Token { afresh: true })) => {}
            (Must::WaitOrGiveUp(least), Do::Next(Todo::Wait(until))) => {
                ensure(*until >= now + least, || format!("it waits for less than the {least:?} that were asked for"))?;
                ensure(*until <= now + least + LONGEST_WAIT, || format!("it waits for {:?}", *until - now))?;
            }
            // The watch's time is over.
            (Must::WaitOrGiveUp(_) | Must::GiveUp, Do::HandOut(Ok(Told::Ended))) => {}
            (must, _) => return Err(format!("it must {must:?}, but does something else")),
        }
        if let Do::HandOut(Err(Error::Transport(_) | Error::Api(_))) = step
            && self.call.is_none()
        {
            (self.fruitless, self.fruitless_since) = (0, None);
        }
        let until = match step {
            Do::Next(Todo::Send(sending)) => sending.until,
            Do::Next(Todo::Read(_, until) | Todo::Wait(until)) => *until,
            Do::Next(Todo::Token { .. }) | Do::HandOut(_) => return Ok(()),
        };
        ensure(deadline.is_none_or(|deadline| until <= deadline), || "a call goes on after its deadline".into())
    }
}
