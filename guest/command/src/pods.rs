//! `incluster pods`: prints page by page, and then change by change.

use crate::command_error::CommandError;
use crate::document::{Document, Format};
use crate::line::progress;
use crate::observed::{Observed, drive, load};
use crate::pod;
use crate::table::{Columns, Layout, Printer, Table, table_event};
use incluster_client::request::{self, Collection, Request};
use incluster_client::retry::backoff;
use incluster_client::system::{now, random, wait};
use incluster_client::transport::Transport;
use incluster_client::types::{Error, Failure, ListOptions, OnExpired, PagingOptions, WatchOptions};
use incluster_client::{Call, Change, Changes, Client, Driven, Json, Pager};
use incluster_core::command_line::{Output, PodName, Pods, Watch};
use incluster_core::{Namespace, Namespaces};
use std::io::Write;
use std::time::Duration;

pub fn run<T: Transport>(pods: &Pods, out: &mut dyn Write) -> Result<(), CommandError> {
    let client = load::<T>(&pods.retries)?;
    let namespaces = match &pods.namespaces {
        Some(namespaces) => namespaces.clone(),
        None => own_namespace(&client)?,
    };
    let form = Form::of(pods);
    if let (Some(name), Namespaces::One(namespace), Watch::No) = (&pods.name, &namespaces, pods.watch) {
        return pod::print(&client, namespace, name, form, out);
    }
    let collection = Collection::pods(&namespaces);
    // A watch of one pod is one of all pods with its name.
    let name = pods.name.as_ref().map(|name| format!("metadata.name={}", name.as_str()));
    let field_selector = name.or_else(|| pods.field_selector.clone());
    let list = List { client: &client, namespaces, collection, field_selector, pods };
    match form {
        Form::Table(layout) => list.table(layout, out),
        Form::Document(format) => list.document(format, out),
    }
}

/// The namespace of the pod that this program runs in.
fn own_namespace<T: Transport>(client: &Client<Observed<T>>) -> Result<Namespaces, CommandError> {
    let namespace = Namespace::parse(client.namespace().map_or("default", Namespace::as_str));
    namespace.map(Namespaces::One).map_err(|not| CommandError::Argument(Error::InvalidArgument(not.to_string())))
}

/// The form of the output.
#[derive(Clone, Copy)]
pub enum Form {
    /// The server's table.
    Table(Layout),
    /// The objects themselves.
    Document(Format),
}

impl Form {
    fn of(pods: &Pods) -> Form {
        let columns = match pods.output {
            Output::Json => return Form::Document(Format::Json),
            Output::Yaml => return Form::Document(Format::Yaml),
            Output::Table => Columns::Important,
            Output::Wide => Columns::All,
            Output::Name => return Form::Table(Layout::NAMES),
        };
        let has_namespace = pods.namespaces == Some(Namespaces::All);
        Form::Table(Layout { columns, has_header: !pods.no_headers, has_namespace, has_labels: pods.show_labels })
    }

    /// Turns a request for objects into one for this form.
    pub fn of_request(self) -> fn(Request) -> Request {
        match self {
            Form::Table(layout) if layout.needs_metadata() => request::as_table_with_metadata,
            Form::Table(_) => request::as_table,
            Form::Document(_) => |request| request,
        }
    }
}

/// A page of the list, ready to be printed.
pub struct Page {
    /// The text to print.
    pub text: Vec<u8>,
    /// How many pods the text shows.
    pub shown: usize,
    /// How many pods of the page there was no room for.
    pub cut: usize,
    /// The token to go on with.
    pub continue_token: Option<String>,
    /// How many pods follow, if the server says.
    pub remaining: Option<u64>,
}

/// How long a watch must last to count as good, whether or not anything changed.
const LONG_WATCH: Duration = Duration::from_secs(10);

/// The number of useless watches in a row, which slows down the lists of a server that forgets at once.
#[derive(Default)]
struct Relisting {
    fruitless: u32,
}

impl Relisting {
    /// How long to wait before the next list, after a watch that lasted this long.
    fn pause(&mut self, changed: bool, lasted: Duration, random: u64) -> Option<Duration> {
        self.fruitless = if changed || lasted > LONG_WATCH { 0 } else { self.fruitless.saturating_add(1) };
        (self.fruitless > 0).then(|| backoff(self.fruitless, random))
    }
}

/// Turns a page's JSON into what is to be printed, for at most this many pods.
type ReadPage<'a> = dyn FnMut(&[u8], usize) -> Result<Page, Error> + 'a;

/// The list that is asked for.
struct List<'a, T> {
    client: &'a Client<Observed<T>>,
    namespaces: Namespaces,
    collection: Collection,
    field_selector: Option<String>,
    pods: &'a Pods,
}

impl<T: Transport> List<'_, T> {
    fn table(&self, layout: Layout, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut printer = Printer::new(layout);
        let mut relisting = Relisting::default();
        let form = Form::Table(layout).of_request();
        let mut is_first = true;
        loop {
            let mut version = String::new();
            let read = &mut |json: &[u8], room| {
                let table = Table::from_json(json)?;
                version = table.resource_version().into();
                Ok(match self.pods.watch {
                    Watch::Only => printer.skip(&table),
                    Watch::No | Watch::AfterList => printer.page(&table, room),
                })
            };
            let shown = self.pages(form, read, out)?;
            match &self.pods.name {
                Some(name) if shown == 0 && is_first => return Err(self.not_found(name)),
                _ => is_first = false,
            }
            if self.pods.watch == Watch::No {
                if shown == 0 && layout.columns != Columns::Name {
                    eprintln!("{}", nothing_in(&self.namespaces));
                }
                return Ok(());
            }
            out.flush()?;
            let begun = now().instant;
            let changed = self.changes(version, form, &mut printer, out)?;
            self.say(match self.pods.watch {
                Watch::Only => "the server no longer has the next changes: changes up to now are missing",
                Watch::No | Watch::AfterList => "the server no longer has the next changes: listing again",
            });
            let now = now().instant;
            if let Some(pause) = relisting.pause(changed, now.saturating_duration_since(begun), random()) {
                wait(&[], now.checked_add(pause));
            }
        }
    }

    /// Prints one document of all pages.
    fn document(&self, format: Format, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut document = Document::new(format);
        self.pages(Form::Document(format).of_request(), &mut |json, room| document.page(json, room), out)?;
        out.write_all(&document.end().map_err(CommandError::Argument)?)?;
        Ok(())
    }

    /// Whether only the list's resource version is wanted, and not its pods.
    fn is_for_version(&self) -> bool {
        self.pods.watch == Watch::Only && self.pods.name.is_none()
    }

    /// Prints the pages as they arrive. Returns the number of pods.
    fn pages(&self, form: fn(Request) -> Request, read: &mut ReadPage<'_>, out: &mut dyn Write) -> Result<usize, CommandError> {
        let limit = self.pods.limit;
        let page_size = if self.is_for_version() { 1 } else { self.pods.chunk_size.unwrap_or(500) };
        let options = ListOptions {
            label_selector: self.pods.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            limit: Some(page_size.min(limit.unwrap_or(u32::MAX))),
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
            let mut page = read(&json, room(shown)).map_err(wrong)?;
            if self.is_for_version() {
                page.continue_token = None;
            }
            pager.page(page.continue_token.as_deref()).map_err(wrong)?;
            shown += page.shown;
            told.clear();
            out.write_all(&page.text)?;
            if room(shown) == 0 && (page.cut > 0 || page.continue_token.is_some()) {
                out.flush()?;
                match page.remaining {
                    None if page.continue_token.is_some() => self.say("there are more pods than --limit allows"),
                    remaining => {
                        let left_out = page.cut as u64 + remaining.unwrap_or(0);
                        self.say(&format!("there are {left_out} more pods than --limit allows"));
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

    /// Prints the changes after a resource version, until the server no longer has the next ones. Returns whether anything changed.
    fn changes(
        &self,
        version: String,
        form: fn(Request) -> Request,
        printer: &mut Printer,
        out: &mut dyn Write,
    ) -> Result<bool, CommandError> {
        let options = WatchOptions {
            label_selector: self.pods.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            ..WatchOptions::ALL
        };
        let make = {
            let collection = self.collection.clone();
            move |from: Option<&str>, seconds| form(request::watch(&collection, &options, from, seconds, request::JSON))
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
        let (pods, role) = match &self.namespaces {
            Namespaces::One(namespace) => (format!("pods in namespace {:?}", namespace.as_str()), "Role"),
            Namespaces::All => ("pods in all namespaces".into(), "ClusterRole"),
        };
        let role = format!("{role} that allows verb {verb:?} on {}", pods.replacen("pods", "\"pods\"", 1));
        CommandError::of_request(self.client, format!("{verb} {pods}"), request, &role, failure)
    }

    /// Makes the error that kubectl gets from the server when it gets the pod before it watches the pod.
    fn not_found(&self, name: &PodName) -> CommandError {
        let options = ListOptions { field_selector: self.field_selector.clone(), ..ListOptions::ALL };
        self.failure("list", &request::list(&self.collection, &options, request::JSON), pod::not_found(name))
    }
}

/// Returns what kubectl prints when there is no pod.
fn nothing_in(namespaces: &Namespaces) -> String {
    match namespaces {
        Namespaces::One(namespace) => format!("No resources found in {namespace} namespace."),
        Namespaces::All => "No resources found".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_for_no_pods_is_kubectls() {
        let namespaces = |text| Namespaces::parse(text).unwrap();
        assert_eq!(nothing_in(&namespaces("shop")), "No resources found in shop namespace.");
        assert_eq!(nothing_in(&namespaces("*")), "No resources found");
    }

    #[test]
    fn a_server_that_forgets_at_once_is_listed_ever_more_slowly() {
        let (mut relisting, moment) = (Relisting::default(), Duration::from_millis(5));
        let longest = |fruitless: u32| Duration::from_millis(200 << (fruitless - 1));
        for fruitless in 1..=5 {
            // This random number makes the longest wait.
            let pause = relisting.pause(false, moment, longest(fruitless).as_micros() as u64).unwrap();
            assert_eq!(pause, longest(fruitless));
        }
        assert_eq!(relisting.pause(true, moment, 7), None);
        assert!(relisting.pause(false, moment, u64::MAX).unwrap() <= longest(1));
        assert_eq!(relisting.pause(false, LONG_WATCH * 2, 7), None);
    }
}
