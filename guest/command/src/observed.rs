//! Tells the user what happens while the command works: warnings from the API server, and what the command waits for.

use crate::command_error::CommandError;
use crate::line::Line;
use incluster_client::machine::{Machine, Sending, late, nothing_handed_out};
use incluster_client::response::Head;
use incluster_client::system::{Waits, now};
use incluster_client::transport::{Stopped, Transport};
use incluster_client::types::{Error, Failure, RetryPolicy, TransportError};
use incluster_client::{Client, Driven};
use incluster_core::command_line::Retries;
use incluster_core::error::Problem;
use incluster_core::limits::RequestLimits;
use incluster_core::secrets::Secrets;
use incluster_core::text::one_line;
use incluster_core::{Server, warning};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long the command waits before the terminal shows what it waits for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often to update the line that shows what is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// The maximum number of different warnings to print.
const MAX_WARNINGS: usize = 50;

/// A transport that reports on standard error.
pub struct Observed<T> {
    transport: T,
    seen: RefCell<Seen>,
}

struct Seen {
    server: String,
    line: Line,
    secrets: Secrets,
    /// The warnings that have been printed.
    warnings: BTreeSet<String>,
    unanswered: Option<Unanswered>,
    /// Whether the terminal shows what is waited for.
    is_wait_shown: bool,
    /// Whether the server has presented a trusted certificate before.
    was_trusted: bool,
    /// Whether it was reported that the certificate is no longer trusted.
    is_untrusted_said: bool,
}

/// A request without an answer, or attempts without a good one.
struct Unanswered {
    since: Instant,
    /// The result of the last attempt.
    why: Option<String>,
}

impl<T: Transport> Transport for Observed<T> {
    type Body = T::Body;

    fn to(server: &Server, limits: RequestLimits, counts_attempts: bool) -> Self {
        let mut transport = T::to(server, limits, counts_attempts);
        transport.wants_warnings();
        Observed { transport, seen: RefCell::new(Seen::new(server.to_string(), Line::on_terminal())) }
    }

    async fn send(&self, sending: &Sending, waits: &Waits) -> Result<(Head, T::Body), Stopped> {
        let now = now();
        self.seen.borrow().secrets.add(sending.token.as_bytes(), now.wall);
        self.seen.borrow_mut().unanswered.get_or_insert(Unanswered { since: now.instant, why: None });
        let sent = self.transport.send(sending, waits).await;
        let mut seen = self.seen.borrow_mut();
        let said = match &sent {
            Ok((head, _)) => seen.answered(head, sending.request.is_watch),
            Err(Stopped::Failed(error)) => seen.failed(error).into_iter().collect(),
            Err(Stopped::NotTrustedAnyMore(error)) => {
                seen.was_trusted = true;
                seen.failed(error).into_iter().collect()
            }
            Err(Stopped::TimeOver) => seen.failed(&late("first byte")).into_iter().collect(),
        };
        said.iter().for_each(|line| seen.say(line));
        sent
    }
}

impl<T: Transport> Observed<T> {
    /// Shows the progress of something, until something else is printed.
    pub fn show(&self, text: &str) {
        let mut seen = self.seen.borrow_mut();
        seen.is_wait_shown = false;
        seen.line.show(text);
    }

    /// Makes room on the terminal for other output.
    pub fn clear(&self) {
        self.seen.borrow_mut().line.clear();
    }

    /// Prints a line on standard error.
    pub fn say(&self, line: &str) {
        self.seen.borrow_mut().say(line);
    }
}

/// Makes a client that reports, and retries its requests as often as these options say.
pub fn load<T: Transport>(retries: &Retries) -> Result<Client<Observed<T>>, CommandError> {
    let client = Client::<Observed<T>>::load_incluster_config().map_err(CommandError::Config)?;
    let Retries { attempts, deadline_milliseconds } = *retries;
    client.set_retry_policy(RetryPolicy { attempts, deadline: deadline_milliseconds });
    Ok(client)
}

/// Returns what a machine hands out next. Meanwhile the terminal shows what is waited for, if it takes long.
pub fn drive<T: Transport, O, M>(client: &Client<Observed<T>>, driven: &mut Driven<Observed<T>, M>) -> Result<O, Failure>
where
    M: Machine<T::Body, Output = Result<O, Failure>>,
{
    let seen = &client.transport().seen;
    let look = seen.borrow().line.is_terminal().then_some(LOOK);
    loop {
        let until = look.and_then(|look| now().instant.checked_add(look));
        match driven.next(until) {
            Some(handed_out) => {
                seen.borrow_mut().over();
                return handed_out;
            }
            None if driven.waits().is_none() => return Err(nothing_handed_out()),
            None => seen.borrow_mut().look(now().instant),
        }
    }
}

impl Seen {
    fn new(server: String, line: Line) -> Seen {
        let (secrets, warnings) = (Secrets::default(), BTreeSet::new());
        Seen {
            server,
            line,
            secrets,
            warnings,
            unanswered: None,
            is_wait_shown: false,
            was_trusted: false,
            is_untrusted_said: false,
        }
    }

    fn say(&mut self, line: &str) {
        self.line.clear();
        eprintln!("{line}");
    }

    /// Takes an answer, and returns the lines to print about it.
    fn answered(&mut self, head: &Head, is_watch: bool) -> Vec<String> {
        (self.was_trusted, self.is_untrusted_said) = (true, false);
        match head.status {
            // The request will be sent again.
            429 | 500.. => {
                self.unanswered.iter_mut().for_each(|unanswered| unanswered.why = Some(format!("HTTP status {}", head.status)))
            }
            200..=299 if !is_watch => {
                self.unanswered.iter_mut().for_each(|unanswered| unanswered.why = Some("the answer is arriving".into()));
            }
            _ => self.over(),
        }
        let mut said = Vec::new();
        for text in head.warnings.iter().flat_map(|value| warning::texts(value)) {
            if self.warnings.len() < MAX_WARNINGS && self.warnings.insert(text.clone()) {
                said.push(format!("Warning: {}", one_line(&self.secrets.text(&text))));
            }
        }
        said
    }

    /// Takes a failure to get an answer, and returns the line to print about it.
    fn failed(&mut self, error: &Error) -> Option<String> {
        let why = one_line(&self.secrets.text(&Problem::from(error)));
        let is_untrusted = self.was_trusted && matches!(error, Error::Transport(TransportError::Certificate(_)));
        let said = (is_untrusted && !std::mem::replace(&mut self.is_untrusted_said, true))
            .then(|| format!("incluster: {why}: the server was trusted before, and ca.crt may follow: trying again"));
        self.unanswered.iter_mut().for_each(|unanswered| unanswered.why = Some(why.clone()));
        said
    }

    /// Notes that there is nothing to wait for any more.
    fn over(&mut self) {
        self.unanswered = None;
        if std::mem::take(&mut self.is_wait_shown) {
            self.line.clear();
        }
    }

    /// Shows what is waited for, if that takes long.
    fn look(&mut self, now: Instant) {
        if let Some(text) = self.waiting(now) {
            self.is_wait_shown = true;
            self.line.show(&text);
        }
    }

    fn waiting(&self, now: Instant) -> Option<String> {
        let Unanswered { since, why } = self.unanswered.as_ref()?;
        let time = now.saturating_duration_since(*since);
        let why = why.as_deref().unwrap_or("no answer yet");
        (time >= PATIENCE).then(|| format!("waiting for {} for {} s: {why}", self.server, time.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen::new("https://10.96.0.1:443".into(), Line::on_terminal())
    }

    fn lost() -> Error {
        Error::Transport(TransportError::ConnectionRefused(String::new()))
    }

    #[test]
    fn after_two_seconds_a_person_is_told_what_is_waited_for() {
        let (mut seen, begun) = (seen(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(seen.waiting(after(9)), None);
        seen.unanswered = Some(Unanswered { since: begun, why: None });
        assert_eq!(seen.waiting(after(1)), None);
        assert_eq!(seen.waiting(after(2)).unwrap(), "waiting for https://10.96.0.1:443 for 2 s: no answer yet");
        seen.failed(&lost());
        assert_eq!(seen.waiting(after(3)).unwrap(), "waiting for https://10.96.0.1:443 for 3 s: connection refused");
        seen.answered(&Head { status: 503, ..Head::default() }, false);
        assert_eq!(seen.waiting(after(4)).unwrap(), "waiting for https://10.96.0.1:443 for 4 s: HTTP status 503");
        // A list is waited for until its end.
        seen.answered(&Head { status: 200, ..Head::default() }, false);
        seen.look(after(5));
        assert!(seen.waiting(after(5)).unwrap().ends_with("for 5 s: the answer is arriving") && seen.is_wait_shown);
        seen.over();
        assert!(seen.waiting(after(99)).is_none() && !seen.is_wait_shown);
        // An open watch waits for nothing, and the terminal no longer shows a wait.
        seen.unanswered = Some(Unanswered { since: begun, why: None });
        seen.look(after(5));
        seen.answered(&Head { status: 200, ..Head::default() }, true);
        assert!(seen.waiting(after(99)).is_none() && !seen.is_wait_shown);
    }

    #[test]
    fn a_warning_is_printed_once_and_without_a_token() {
        let mut seen = seen();
        seen.secrets.add(b"s3cr3t-and-long-enough", now().wall);
        let head =
            |warnings: &[&str]| Head { status: 200, warnings: warnings.iter().map(|w| (*w).into()).collect(), ..Head::default() };
        let two = head(&["299 - \"a\", 299 - \"you sent s3cr3t-and-long-enough\x1b[2J\"", "110 - \"stale\""]);
        assert_eq!(seen.answered(&two, false), ["Warning: a", "Warning: you sent (redacted)\\u{1b}[2J"]);
        assert!(seen.answered(&two, false).is_empty());
        assert_eq!(seen.answered(&head(&["299 - \"b\""]), false), ["Warning: b"]);
        let many: Vec<_> = (0..999).map(|n| format!("299 - \"{n}\"")).collect();
        assert_eq!(seen.answered(&head(&many.iter().map(|w| &**w).collect::<Vec<_>>()), false).len(), MAX_WARNINGS - 3);
    }

    #[test]
    fn a_certificate_that_is_no_longer_trusted_is_reported_once() {
        let mut seen = seen();
        let untrusted = Error::Transport(TransportError::Certificate("it was not issued by a CA in ca.crt".into()));
        // The first time, the command fails and says so.
        assert_eq!(seen.failed(&untrusted), None);
        seen.answered(&Head { status: 200, ..Head::default() }, true);
        assert!(seen.failed(&untrusted).unwrap().ends_with("the server was trusted before, and ca.crt may follow: trying again"));
        assert_eq!((seen.failed(&lost()), seen.failed(&untrusted)), (None, None));
        seen.answered(&Head { status: 200, ..Head::default() }, true);
        assert!(seen.failed(&untrusted).is_some());
    }
}
