//! The command line of `incluster.wasm`. The host parses it too: wrong usage exits with 2, but WASI 0.2 has only the exit statuses 0 and 1.
//!
//! Words and options are those of kubectl wherever kubectl has them. An option or command that only kubectl has is refused with a text that
//! says so and names what to use instead.

mod args;
mod help;
mod kubectl;
mod raw_path;
#[cfg(test)]
mod tests;

use crate::{Namespace, Namespaces, dns, limits};
pub use help::HELP;
use lexopt::{Arg, Error, Parser, ValueExt};
pub use raw_path::RawPath;
use std::ffi::OsString;

/// The command to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Print the script that completes command lines in this shell.
    Completion(Shell),
    /// List pods, or print one.
    Pods(Pods),
    /// Print the answer to a GET as it is.
    Raw(Raw),
    /// Show the configuration.
    Config,
}

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// The options of `pods`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pods {
    /// The one pod to print; `None` for a list.
    pub name: Option<PodName>,
    /// The namespaces to list; `None` for the pod's own.
    pub namespaces: Option<Namespaces>,
    /// A label selector.
    pub label_selector: Option<String>,
    /// A field selector.
    pub field_selector: Option<String>,
    /// The maximum number of pods.
    pub limit: Option<u32>,
    /// How to print the pods.
    pub output: Output,
    /// Whether to leave out the line with the names of a table's columns.
    pub no_headers: bool,
    /// Whether to show the labels in a table's last column.
    pub show_labels: bool,
    /// Whether to watch for changes.
    pub watch: Watch,
    /// How long to repeat a request.
    pub retries: Retries,
    /// How many pods to ask for at a time.
    pub chunk_size: Option<u32>,
}

/// `get --raw`.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// What to ask for.
    pub path: RawPath,
    /// How long to repeat the request.
    pub retries: Retries,
}

/// How long to repeat a request that may yet succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The maximum number of times to send a request; `None` for as many as there is time for.
    pub attempts: Option<u32>,
    /// How long a request may take, with all its attempts.
    pub deadline_milliseconds: u32,
}

/// Whether to watch for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// No: list the pods, and end.
    No,
    /// After the list.
    AfterList,
    /// Without printing the list.
    Only,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table like kubectl's.
    Table,
    /// A table like kubectl's `-o wide`.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// One name per line.
    Name,
}

/// A pod's name: a DNS-1123 subdomain, so it can stand in a path unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName(String);

impl PodName {
    fn parse(name: String) -> Result<PodName, Error> {
        match dns::is_subdomain(&name) {
            true => Ok(PodName(name)),
            false => Err(format!(
                "{name:?} is not a pod's name, which is a DNS-1123 subdomain: a-z, 0-9, - and ., at most 253 characters"
            )
            .into()),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Takes a long option of the program that runs the component, with its value. Returns whether there is such an option.
pub type TakeOption<'a> = dyn FnMut(&str, &mut Parser) -> Result<bool, Error> + 'a;

/// Parses a command line, without the program's name.
pub fn parse(parser: Parser) -> Result<Command, Error> {
    parse_with(parser, &mut |_, _| Ok(false))
}

/// Parses a command line that may have options of the host among those of the command.
pub fn parse_with(mut parser: Parser, of_host: &mut TakeOption<'_>) -> Result<Command, Error> {
    let mut given = Given::default();
    while let Some(arg) = parser.next()? {
        let option = match arg {
            Arg::Long(name) => format!("--{name}"),
            Arg::Short(name) => format!("-{name}"),
            Arg::Value(word) => {
                given.word(word.string()?)?;
                continue;
            }
        };
        match &*option {
            "-h" | "--help" => return Ok(Command::Help),
            "-V" | "--version" => return Ok(Command::Version),
            _ if given.take(&option, &mut parser)? => given.options.push(option),
            _ if option.strip_prefix("--").map_or(Ok(false), |name| of_host(name, &mut parser))? => {}
            _ => return Err(kubectl::option(&option).unwrap_or(Error::UnexpectedOption(option))),
        }
    }
    given.command()
}

/// The words and options of a command line.
#[derive(Default)]
struct Given {
    words: Vec<String>,
    /// The options' names, as they were written.
    options: Vec<String>,
    namespace: Option<Namespace>,
    all_namespaces: bool,
    label_selector: Option<String>,
    field_selector: Option<String>,
    limit: Option<u32>,
    chunk_size: Option<u32>,
    output: Option<Output>,
    no_headers: bool,
    show_labels: bool,
    watch: bool,
    watch_only: bool,
    attempts: Option<u32>,
    seconds: Option<u32>,
    raw: Option<RawPath>,
}

impl Given {
    /// Takes a word. The first one is checked at once, so that an unknown command is reported, and not the options after it.
    fn word(&mut self, word: String) -> Result<(), Error> {
        if self.words.is_empty() && !["pods", "get", "config", "completion", "help", "version"].contains(&&*word) {
            return Err(kubectl::command(&word));
        }
        // At once, too: what follows are its options.
        if self.words == ["config"] {
            return Err(kubectl::config(&word));
        }
        self.words.push(word);
        Ok(())
    }

    /// Takes an option and its value. Returns whether there is such an option.
    fn take(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Error> {
        match option {
            // As in kubectl, an empty name counts as absent.
            "-n" | "--namespace" => self.namespace = parser.value()?.parse_with(namespace)?,
            "-A" | "--all-namespaces" => self.all_namespaces = flag(option, parser)?,
            "-l" | "--selector" => self.label_selector = Some(parser.value()?.string()?),
            "--field-selector" => self.field_selector = Some(parser.value()?.string()?),
            "--limit" => self.limit = Some(positive(option, parser)?),
            "--chunk-size" => self.chunk_size = Some(positive(option, parser)?),
            "-o" | "--output" => self.output = Some(parser.value()?.parse_with(output)?),
            "--no-headers" => self.no_headers = flag(option, parser)?,
            "--show-labels" => self.show_labels = flag(option, parser)?,
            "-w" | "--watch" => self.watch = flag(option, parser)?,
            "--watch-only" => self.watch_only = flag(option, parser)?,
            "--attempts" => self.attempts = Some(positive(option, parser)?),
            "--timeout" => self.seconds = Some(positive(option, parser)?),
            "--raw" => self.raw = Some(parser.value()?.parse_with(RawPath::parse)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes the command from the words and the options.
    fn command(mut self) -> Result<Command, Error> {
        let words = std::mem::take(&mut self.words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if self.raw.is_some() && !matches!(words[..], [] | ["get"]) {
            return Err("--raw goes with get alone: get --raw PATH".into());
        }
        match words[..] {
            [] => Err("no command given".into()),
            ["help"] | ["help", _] => Ok(Command::Help),
            ["version"] => match self.options.iter().find(|option| matches!(&***option, "-o" | "--output")) {
                Some(option) => Err(kubectl::version(option)),
                None => self.alone("version", Command::Version),
            },
            ["config"] => self.alone("config", Command::Config),
            ["completion", shell] => self.alone("completion", Command::Completion(shell_named(shell)?)),
            ["completion"] => Err("completion takes the name of a shell: bash, zsh or fish".into()),
            ["pods"] => self.pods(None),
            ["pods", name] => self.pods(Some(name)),
            ["get"] => self.raw(),
            ["get", resource] => match resource.split_once('/') {
                Some((resource, name)) => kubectl::only_pods(resource).and_then(|()| self.pods(Some(name))),
                None => kubectl::only_pods(resource).and_then(|()| self.pods(None)),
            },
            ["get", resource, name] if !resource.contains('/') => {
                kubectl::only_pods(resource).and_then(|()| self.pods(Some(name)))
            }
            ["get", resource, ..] => {
                let resource = resource.split('/').next().unwrap_or_default();
                kubectl::only_pods(resource).and_then(|()| Err(kubectl::one_name()))
            }
            ["pods", ..] => Err(kubectl::one_name()),
            [.., last] => Err(Error::UnexpectedArgument(last.into())),
        }
    }

    /// Returns the command, if no option was given.
    fn alone(&self, name: &str, command: Command) -> Result<Command, Error> {
        match self.options.first() {
            Some(option) => Err(format!("{name} takes no options, but has {option}").into()),
            None => Ok(command),
        }
    }

    fn raw(self) -> Result<Command, Error> {
        let retries = self.retries();
        let other = self.options.into_iter().find(|option| !matches!(&**option, "--raw" | "--attempts" | "--timeout"));
        match (self.raw, other) {
            (None, _) => Err("get takes pods, or --raw PATH".into()),
            (Some(_), Some(option)) => Err(format!("get --raw prints the answer as it is, and takes no {option}").into()),
            (Some(path), None) => Ok(Command::Raw(Raw { path, retries })),
        }
    }

    fn pods(self, name: Option<&str>) -> Result<Command, Error> {
        let name = name.map(|name| PodName::parse(name.into())).transpose()?;
        let output = self.output.unwrap_or(Output::Table);
        let watch = match (self.watch, self.watch_only) {
            (_, true) => Watch::Only,
            (true, false) => Watch::AfterList,
            (false, false) => Watch::No,
        };
        if self.show_labels && !matches!(output, Output::Table | Output::Wide) {
            return Err("--show-labels goes with --output table and wide".into());
        }
        let option = if watch == Watch::Only { "--watch-only" } else { "--watch" };
        if watch != Watch::No && matches!(output, Output::Json | Output::Yaml) {
            return Err(format!("{option} goes with --output table, wide and name (kubectl's also with json and yaml)").into());
        }
        if watch != Watch::No && self.limit.is_some() {
            return Err(format!("{option} shows all changes, and cannot go with --limit").into());
        }
        let selects = self.all_namespaces || self.limit.is_some();
        if name.is_some() && (selects || self.label_selector.is_some() || self.field_selector.is_some()) {
            return Err("NAME is one pod of one namespace: it cannot go with -A, a selector or --limit".into());
        }
        let retries = self.retries();
        let namespaces = if self.all_namespaces { Some(Namespaces::All) } else { self.namespace.map(Namespaces::One) };
        Ok(Command::Pods(Pods {
            name,
            namespaces,
            label_selector: self.label_selector,
            field_selector: self.field_selector,
            limit: self.limit,
            output,
            no_headers: self.no_headers,
            show_labels: self.show_labels,
            watch,
            retries,
            chunk_size: self.chunk_size,
        }))
    }

    fn retries(&self) -> Retries {
        let milliseconds = self.seconds.map(|seconds| seconds.min(u32::MAX / 1000) * 1000);
        Retries { attempts: self.attempts, deadline_milliseconds: milliseconds.unwrap_or(limits::DEADLINE_MILLISECONDS) }
    }
}

/// Takes a flag, which may have a value, as in `--watch=false`.
fn flag(option: &str, parser: &mut Parser) -> Result<bool, Error> {
    let value = if option.starts_with("--") { parser.optional_value() } else { value_of_short(parser) };
    value.map_or(Ok(true), |value| {
        value.parse_with(|text| match &*text.to_ascii_lowercase() {
            "true" | "t" | "1" => Ok(true),
            "false" | "f" | "0" => Ok(false),
            _ => Err(format!("{option} takes true or false, or nothing, which means true")),
        })
    })
}

/// Takes the value of a short flag, as in `-A=false`. Without `=`, what follows is the next short option.
fn value_of_short(parser: &mut Parser) -> Option<OsString> {
    let mut ahead = parser.clone();
    match ahead.next() {
        Err(Error::UnexpectedValue { value, .. }) => {
            *parser = ahead;
            Some(value)
        }
        _ => None,
    }
}

fn namespace(text: &str) -> Result<Option<Namespace>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    Namespace::parse(text).map(Some).map_err(|_| "--namespace takes a DNS-1123 label: a-z, 0-9 and -, 1 to 63 characters")
}

fn positive(option: &str, parser: &mut Parser) -> Result<u32, Error> {
    parser.value()?.parse_with(|text| match text.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes a number, 1 or more")),
        Ok(number) => Ok(number),
    })
}

fn output(text: &str) -> Result<Output, String> {
    // kubectl takes these formats in upper and lower case.
    let lower = text.to_ascii_lowercase();
    match if matches!(&*lower, "json" | "yaml" | "name") { &*lower } else { text } {
        "table" => Ok(Output::Table),
        "wide" => Ok(Output::Wide),
        "json" => Ok(Output::Json),
        "yaml" => Ok(Output::Yaml),
        "name" => Ok(Output::Name),
        other => Err(kubectl::output(other)),
    }
}

fn shell_named(name: &str) -> Result<Shell, Error> {
    match name {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        "powershell" => Err(kubectl::powershell()),
        _ => Err("completion takes the name of a shell: bash, zsh or fish".into()),
    }
}
