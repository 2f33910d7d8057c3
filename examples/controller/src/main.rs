//! A controller that watches the pods and EndpointSlices of two namespaces, keeps a table of them, and prints changes.
//!
//! The controller is an extension: it runs in any host of `incluster:kubernetes` and, composed with the client, in the wasmtime CLI.

mod table;

use incluster_extension::{Client, Collection, Error, Event, Object, Source, Watch, wait};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::{PodRow, Row, SliceRow, Table};

const USAGE: &str = "usage: controller NAMESPACE NAMESPACE [--summary SECONDS]";

/// How long to wait before a failed watch is used again. (The client has already retried it as its retry policy says.)
const REST: Duration = Duration::from_secs(5);

/// How many events of one watch to take in before another watch has its turn.
const EVENTS: usize = 1000;

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("controller: {error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("controller: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command-line options.
struct Options {
    namespaces: [String; 2],
    /// The interval between two summary lines, which count the objects.
    summary: Duration,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_env();
        let (mut namespaces, mut summary) = (Vec::new(), Duration::from_secs(60));
        while let Some(argument) = parser.next()? {
            match argument {
                Long("summary") => summary = Duration::from_secs(parser.value()?.parse::<u32>()?.max(1).into()),
                Value(namespace) => namespaces.push(namespace.string()?),
                other => return Err(other.unexpected()),
            }
        }
        let namespaces = namespaces.try_into().map_err(|_| "two namespaces are needed")?;
        Ok(Options { namespaces, summary })
    }
}

/// A collection that is followed forever: its watch begins again when it has expired.
struct Followed<R: Row>
where
    R::Object: Object,
{
    collection: Collection<R::Object>,
    watch: Watch<R::Object>,
    table: Table<R>,
    rests_until: Option<Instant>,
}

impl<R: Row> Followed<R>
where
    R::Object: Object,
{
    fn new(collection: Collection<R::Object>) -> Result<Self, Error> {
        Ok(Followed { watch: collection.watch()?, collection, table: Table::new(), rests_until: None })
    }

    fn begin_again(&mut self) -> Result<(), Error> {
        // A watch that expires before the initial events are complete might do so again and again.
        if !self.table.is_complete() {
            self.rest();
        }
        self.table.begin_again();
        self.watch = self.collection.watch()?;
        Ok(())
    }

    fn rest(&mut self) {
        self.rests_until = Some(Instant::now() + REST);
    }
}

/// A followed collection of any kind.
trait Follow {
    fn source(&self) -> Source<'_>;
    /// Takes in the watch's pending events without waiting, up to a maximum, so that others have their turn. Returns lines for the changes.
    fn turn(&mut self) -> Result<Vec<String>, Error>;
    fn rests_until(&mut self) -> &mut Option<Instant>;
    /// The number of objects, and whether they are complete.
    fn count(&self) -> (usize, bool);
}

impl<R: Row> Follow for Followed<R>
where
    R::Object: Object,
{
    fn source(&self) -> Source<'_> {
        self.watch.source()
    }

    fn turn(&mut self) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for _ in 0..EVENTS {
            match self.watch.next_event(Some(Duration::ZERO)) {
                Ok(None) => break,
                // A watch without a time limit ends only after it has expired, which an error has reported before.
                Ok(Some(Event::Ended)) => self.begin_again()?,
                Ok(Some(event)) => lines.extend(self.table.apply(event)),
                Err(error) if error.is_expired() => {
                    eprintln!("controller: {error}; beginning again");
                    self.begin_again()?;
                }
                // The watch goes on with the next event.
                Err(error) if error.is_unexpected_type() => eprintln!("controller: {error}"),
                Err(error) => {
                    eprintln!("controller: {error}");
                    self.rest();
                }
            }
            if self.rests_until.is_some() {
                break;
            }
        }
        Ok(lines)
    }

    fn rests_until(&mut self) -> &mut Option<Instant> {
        &mut self.rests_until
    }

    fn count(&self) -> (usize, bool) {
        (self.table.len(), self.table.is_complete())
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::in_cluster()?;
    let mut followed: Vec<Box<dyn Follow>> = Vec::new();
    for namespace in &options.namespaces {
        followed.push(Box::new(Followed::<PodRow>::new(client.pods(namespace))?));
        followed.push(Box::new(Followed::<SliceRow>::new(client.resource::<EndpointSlice>(namespace))?));
    }
    let mut next_summary = Instant::now() + options.summary;
    loop {
        let now = Instant::now();
        for one in &mut followed {
            let rests = one.rests_until();
            *rests = rests.filter(|until| *until > now);
        }
        if now >= next_summary {
            print(&[summary(&followed)])?;
            next_summary = now + options.summary;
        }
        let (mut awake, mut wakes) = (Vec::new(), next_summary);
        for (place, one) in followed.iter_mut().enumerate() {
            match *one.rests_until() {
                Some(until) => wakes = wakes.min(until),
                None => awake.push(place),
            }
        }
        let ready = wait(awake.iter().map(|place| followed[*place].source()), Some(wakes.saturating_duration_since(now)));
        for place in ready {
            print(&followed[awake[place]].turn()?)?;
        }
    }
}

fn summary(followed: &[Box<dyn Follow + '_>]) -> String {
    let counts: Vec<_> = followed.iter().map(|one| one.count()).collect();
    let of = |place: usize| counts.iter().skip(place).step_by(2).map(|(count, _)| count).sum::<usize>();
    let is_complete = counts.iter().all(|(_, is_complete)| *is_complete);
    format!("= {} pods, {} slices{}", of(0), of(1), if is_complete { "" } else { ", and more to come" })
}

fn print(lines: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
