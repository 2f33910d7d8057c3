//! `incluster pods`: page by page, and then change by change.

use crate::command_error::CommandError;
use crate::document::{Document, Format};
use crate::line::progress;
use crate::observed::{Observed, drive};
use crate::table::{Columns, Printer, Table, table_event};
use incluster_client::request::{self, Collection, Request};
use incluster_client::retry::backoff;
use incluster_client::system::{now, random, wait};
use incluster_client::transport::Transport;
use incluster_client::types::{Error, Failure, ListOptions, OnExpired, PagingOptions, RetryPolicy, WatchOptions};
use incluster_client::{Call, Change, Changes, Client, Driven, Json, Pager};
use incluster_core::command_line::{Output, Pods};
use incluster_core::{Namespace, Namespaces};
use std::io::Write;
use std::time::Duration;

pub fn run<T: Transport>(pods: &Pods, out: &mut dyn Write) -> Result<(), CommandError> {
    let client = Client::<Observed<T>>::load_incluster_config().map_err(CommandError::Config)?;
    client.set_retry_policy(RetryPolicy { attempts: pods.attempts, deadline: pods.deadline_milliseconds });
    let namespace = pods.namespace.as_ref().or(client.namespace()).map_or("default", Namespace::as_str);
    let namespace = Namespace::parse(namespace).map_err(|not| CommandError::Argument(Error::InvalidArgument(not.to_string())))?;
    let collection = Collection::pods(&Namespaces::One(namespace.clone()));
    let list = List { client: &client, namespace: &namespace, collection, pods };
    match pods.output {
        Output::Json => list.document(Format::Json, out),
        Output::Yaml => list.document(Format::Yaml, out),
        Output::Table => list.table(Columns::Important, out),
        Output::Wide => list.table(Columns::All, out),
        Output::Name => list.table(Columns::Name, out),
    }
}

/// A page that was asked for, as it is to be printed.
pub struct Page {
    /// Its text.
    pub text: Vec<u8>,
    /// How many pods that shows.
    pub shown: usize,
    /// How many pods of the page there was no room for.
    pub cut: usize,
    /// The token to go on with.
    pub continue_token: Option<String>,
    /// How many pods follow, if the server says.
    pub remaining: Option<u64>,
}

/// A watch that went on for so long was good, whether or not anything changed.
const LONG_WATCH: Duration = Duration::from_secs(10);

/// Watches in a row that were of no use: a server that forgets at once is not listed at full speed.
#[derive(Default)]
struct Relisting {
    fruitless: u32,
}

impl Relisting {
    /// How long to wait before the next list, after a watch that lasted so long.
    fn pause(&mut self, changed: bool, lasted: Duration, random: u64) -> Option<Duration> {
        self.fruitless = if changed || lasted > LONG_WATCH { 0 } else { self.fruitless.saturating_add(1) };
        (self.fruitless > 0).then(|| backoff(self.fruitless, random))
    }
}

/// Makes of a page's JSON what is to be printed, if there is room for so many pods.
type ReadPage<'a> = dyn FnMut(&[u8], usize) -> Result<Page, Error> + 'a;

/// What is to be listed.
struct List<'a, T> {
    client: &'a Client<Observed<T>>,
    namespace: &'a Namespace,
    collection: Collection,
    pods: &'a Pods,
}

impl<T: Transport> List<'_, T> {
    fn table(&self, columns: Columns, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut printer = Printer::new(columns);
        let mut relisting = Relisting::default();
        loop {
            let mut version = String::new();
            let read = &mut |json: &[u8], room| {
                let table = Table::from_json(json)?;
                version = table.resource_version().into();
                Ok(printer.page(&table, room))
            };
            let shown = self.pages(request::as_table, read, out)?;
            if !self.pods.watch {
                if shown == 0 && columns != Columns::Name {
                    eprintln!("No resources found in {} namespace.", self.namespace);
                }
                return Ok(());
            }
            out.flush()?;
            let begun = now().instant;
            let changed = self.changes(version, &mut printer, out)?;
            self.say("the server has forgotten the changes that come next: listing again");
            let now = now().instant;
            if let Some(pause) = relisting.pause(changed, now.saturating_duration_since(begun), random()) {
                wait(&[], now.checked_add(pause));
            }
        }
    }

    /// Prints one document of all pages.
    fn document(&self, format: Format, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut document = Document::new(format);
        self.pages(|request| request, &mut |json, room| document.page(json, room), out)?;
        out.write_all(&document.end().map_err(CommandError::Argument)?)?;
        Ok(())
    }

    /// Prints page after page, as they arrive. Returns how many pods that were.
    fn pages(&self, form: fn(Request) -> Request, read: &mut ReadPage<'_>, out: &mut dyn Write) -> Result<usize, CommandError> {
        let limit = self.pods.limit;
        let page_size = self.pods.chunk_size.unwrap_or(500).min(limit.unwrap_or(u32::MAX));
        let options = ListOptions {
            label_selector: self.pods.label_selector.clone(),
            field_selector: self.pods.field_selector.clone(),
            limit: Some(page_size),
            ..ListOptions::ALL
        };
        let paging = PagingOptions { on_expired: Some(OnExpired::Resume), ..PagingOptions::DEFAULT };
        let mut pager = Pager::new(&options, &paging);
        let told = self.client.transport();
        let mut shown = 0;
        let room = |shown| limit.map_or(usize::MAX, |limit| limit as usize - shown);
        while let Some(options) = pager.next().map_err(CommandError::Argument)? {
            let request = form(request::list(&self.collection, options, request::JSON));
            let fail = |failure| self.failure("list", &request, failure);
            let wrong = |error: Error| fail(error.into());
            let call = Call::<Json>::new(request.clone(), self.client.settings(), now());
            let json = match drive(self.client, &mut Driven::new(self.client.clone(), call)) {
                Err(Failure { error: Error::Expired(expired), attempts, elapsed }) => {
                    pager.expired(expired).map_err(|error| fail(Failure { error, attempts, elapsed }))?;
                    self.say("the list expired while it was read: what follows is as of now, and pods that changed meanwhile may be missing");
                    continue;
                }
                json => json.map_err(fail)?,
            };
            let page = read(&json, room(shown)).map_err(wrong)?;
            pager.page(page.continue_token.as_deref()).map_err(wrong)?;
            shown += page.shown;
            told.clear();
            out.write_all(&page.text)?;
            if room(shown) == 0 && (page.cut > 0 || page.continue_token.is_some()) {
                out.flush()?;
                match page.remaining {
                    None if page.continue_token.is_some() => self.say("there are more pods than --limit let through"),
                    remaining => {
                        let left_out = page.cut as u64 + remaining.unwrap_or(0);
                        self.say(&format!("there are {left_out} more pods than --limit let through"));
                    }
                }
                break;
            }
            if page.continue_token.is_some() {
                out.flush()?;
                told.show(&progress(shown, page.remaining));
            }
        }
        Ok(shown)
    }

    /// Prints what changes after a resource version, until the server has forgotten what comes next. Returns whether anything did.
    fn changes(&self, version: String, printer: &mut Printer, out: &mut dyn Write) -> Result<bool, CommandError> {
        let options = WatchOptions {
            label_selector: self.pods.label_selector.clone(),
            field_selector: self.pods.field_selector.clone(),
            ..WatchOptions::ALL
        };
        let make = {
            let collection = self.collection.clone();
            move |from: Option<&str>, seconds| {
                request::as_table(request::watch(&collection, &options, from, seconds, request::JSON))
            }
        };
        let first = make(Some(&version), None);
        let changes = Changes::new(self.client.settings().clone(), Some(version), None, Box::new(make), table_event);
        let mut watching = Driven::new(self.client.clone(), changes);
        let mut changed = false;
        loop {
            let change = match drive(self.client, &mut watching) {
                Err(Failure { error: Error::Expired(_), .. }) => return Ok(changed),
                change => change.map_err(|failure| self.failure("watch", &first, failure))?,
            };
            self.client.transport().clear();
            match change {
                Some(Change::Object(_, table)) => {
                    out.write_all(&printer.page(&table, usize::MAX).text)?;
                    out.flush()?;
                    changed = true;
                }
                Some(Change::Bookmark(_) | Change::Synced(_)) => {}
                None => return Ok(changed),
            }
        }
    }

    fn say(&self, what: &str) {
        self.client.transport().say(&format!("incluster: {what}"));
    }

    fn failure(&self, verb: &str, request: &Request, failure: Failure) -> CommandError {
        let namespace = self.namespace.as_str();
        let permission = format!("verb {verb:?} on \"pods\" in namespace {namespace:?}");
        CommandError::of_request(self.client, format!("{verb} pods in namespace {namespace:?}"), request, &permission, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_forgets_at_once_is_listed_ever_more_slowly() {
        let (mut relisting, moment) = (Relisting::default(), Duration::from_millis(5));
        let longest = |fruitless: u32| Duration::from_millis(200 << (fruitless - 1));
        for fruitless in 1..=5 {
            // Any number is the longest wait's own, or less.
            let pause = relisting.pause(false, moment, longest(fruitless).as_micros() as u64).unwrap();
            assert_eq!(pause, longest(fruitless));
        }
        assert_eq!(relisting.pause(true, moment, 7), None);
        assert!(relisting.pause(false, moment, u64::MAX).unwrap() <= longest(1));
        assert_eq!(relisting.pause(false, LONG_WATCH * 2, 7), None);
    }
}
