//! The command line of `incluster.wasm`. The host reads it, too: WASI 0.2 has no exit status but 0 and 1, and wrong usage is 2.

use crate::{Namespace, limits};
use lexopt::{Arg, Error, Parser, ValueExt};

/// What `--help` prints.
pub const HELP: &str = "\
Lists pods from inside a Kubernetes pod, in a WebAssembly sandbox.

Usage: incluster pods [OPTIONS]
       incluster config

Commands:
  pods    List the pods of a namespace
  config  Show the API server, the namespace, and what the token and ca.crt say of themselves; no secrets

Options of pods:
  -n, --namespace NAMESPACE  The namespace [default: the pod's own, else \"default\"]
  -l, --selector SELECTOR    Only pods with these labels, for example app=web,tier!=edge
      --field-selector S     Only pods with these fields, for example status.phase=Running
      --limit N              At most N pods, 1 or more; a note says how many were left out
      --chunk-size N         Ask for N pods at a time [default: 500]
  -o, --output FORMAT        table, wide, json, yaml or name [default: table]
  -w, --watch                Then go on with the pods that change, until interrupted, or until the server is away for longer than
                             --timeout; for table, wide and name
      --attempts N           Send a request at most N times while the server is busy or away [default: as there is time]
      --timeout SECONDS      Give up a request, with all its attempts, after so long [default: 90]

Options:
  -h, --help                 Show this help
  -V, --version              Show the version

Exit status: 0 done, 1 failed, 2 wrong usage
";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// List pods.
    Pods(Pods),
    /// Show the configuration.
    Config,
}

/// The options of `pods`.
#[derive(Debug, PartialEq)]
pub struct Pods {
    /// That of these pods; `None` for the pod's own.
    pub namespace: Option<Namespace>,
    /// Only these, by their labels.
    pub label_selector: Option<String>,
    /// Only these, by their fields.
    pub field_selector: Option<String>,
    /// So many at most.
    pub limit: Option<u32>,
    /// How to print them.
    pub output: Output,
    /// Whether to go on with the changes.
    pub watch: bool,
    /// How often a request is sent at most; as often as there is time for, where it is not said.
    pub attempts: Option<u32>,
    /// How long it may take, with all its attempts.
    pub deadline_milliseconds: u32,
    /// How many to ask for at a time.
    pub chunk_size: Option<u32>,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// As kubectl's.
    Table,
    /// As kubectl's `-o wide`.
    Wide,
    /// One document.
    Json,
    /// One document.
    Yaml,
    /// One name a line.
    Name,
}

/// Reads a command line, without the program's name.
pub fn parse(mut parser: Parser) -> Result<Command, Error> {
    match parser.next()? {
        None => Err("no command given".into()),
        Some(Arg::Long("help") | Arg::Short('h')) => Ok(Command::Help),
        Some(Arg::Long("version") | Arg::Short('V')) => Ok(Command::Version),
        Some(Arg::Value(name)) if name == "pods" => pods(parser),
        Some(Arg::Value(name)) if name == "config" => config(parser),
        Some(Arg::Value(name)) => Err(format!("there is no command {name:?}").into()),
        Some(other) => Err(other.unexpected()),
    }
}

fn config(mut parser: Parser) -> Result<Command, Error> {
    match parser.next()? {
        None => Ok(Command::Config),
        Some(Arg::Long("help") | Arg::Short('h')) => Ok(Command::Help),
        Some(other) => Err(other.unexpected()),
    }
}

fn pods(mut parser: Parser) -> Result<Command, Error> {
    let mut pods = Pods {
        namespace: None,
        label_selector: None,
        field_selector: None,
        limit: None,
        output: Output::Table,
        watch: false,
        attempts: None,
        deadline_milliseconds: limits::DEADLINE_MILLISECONDS,
        chunk_size: None,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("namespace") | Arg::Short('n') => pods.namespace = Some(parser.value()?.parse_with(namespace)?),
            Arg::Long("selector") | Arg::Short('l') => pods.label_selector = Some(parser.value()?.string()?),
            Arg::Long("field-selector") => pods.field_selector = Some(parser.value()?.string()?),
            Arg::Long("limit") => pods.limit = Some(parser.value()?.parse_with(|n| positive("--limit", n))?),
            Arg::Long("chunk-size") => {
                pods.chunk_size = Some(parser.value()?.parse_with(|n| positive("--chunk-size", n))?);
            }
            Arg::Long("watch") | Arg::Short('w') => pods.watch = true,
            Arg::Long("attempts") => pods.attempts = Some(parser.value()?.parse_with(|n| positive("--attempts", n))?),
            Arg::Long("timeout") => {
                let seconds = parser.value()?.parse_with(|n| positive("--timeout", n))?;
                pods.deadline_milliseconds = seconds.saturating_mul(1000);
            }
            Arg::Long("output") | Arg::Short('o') => pods.output = parser.value()?.parse_with(output)?,
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    if pods.watch && matches!(pods.output, Output::Json | Output::Yaml) {
        return Err("--watch goes with --output table, wide and name".into());
    }
    if pods.watch && pods.limit.is_some() {
        return Err("--watch shows all changes, and goes without --limit".into());
    }
    Ok(Command::Pods(pods))
}

fn namespace(text: &str) -> Result<Namespace, &'static str> {
    Namespace::parse(text).map_err(|_| "--namespace takes a DNS-1123 label: a-z, 0-9 and -, 1 to 63 characters")
}

fn positive(option: &str, text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes a number, 1 or more")),
        Ok(number) => Ok(number),
    }
}

fn output(text: &str) -> Result<Output, &'static str> {
    match text {
        "table" => Ok(Output::Table),
        "wide" => Ok(Output::Wide),
        "json" => Ok(Output::Json),
        "yaml" => Ok(Output::Yaml),
        "name" => Ok(Output::Name),
        _ => Err("--output takes table, wide, json, yaml or name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_args(args: &[&str]) -> Result<Command, String> {
        parse(Parser::from_args(args)).map_err(|e| e.to_string())
    }

    #[test]
    fn every_option() {
        let args = ["pods", "-n", "shop", "-l", "app=web", "--field-selector=a=b", "--limit", "3", "-owide"];
        let Ok(Command::Pods(pods)) = parse_args(&args) else { panic!() };
        assert_eq!(pods.namespace.as_ref().map(Namespace::as_str), Some("shop"));
        assert_eq!(pods.label_selector.as_deref(), Some("app=web"));
        assert_eq!(pods.field_selector.as_deref(), Some("a=b"));
        assert_eq!(pods.limit, Some(3));
        assert_eq!(pods.output, Output::Wide);
        assert_eq!((pods.watch, pods.attempts, pods.deadline_milliseconds, pods.chunk_size), (false, None, 90_000, None));
        let args = ["pods", "-w", "--attempts=2", "--timeout", "7", "--chunk-size", "100"];
        let Ok(Command::Pods(pods)) = parse_args(&args) else { panic!() };
        assert_eq!((pods.watch, pods.attempts, pods.deadline_milliseconds, pods.chunk_size), (true, Some(2), 7000, Some(100)));
    }

    #[test]
    fn wrong_usage_says_what_is_wrong() {
        for (args, says) in [
            (&[][..], "no command given"),
            (&["pod"], "there is no command \"pod\""),
            (&["pods", "web-0"], "unexpected argument \"web-0\""),
            (&["pods", "--all"], "invalid option '--all'"),
            (&["pods", "-n"], "missing argument for option '-n'"),
            (&["pods", "-n", "../other"], "--namespace takes a DNS-1123 label"),
            (&["pods", "-o", "xml"], "--output takes table, wide, json, yaml or name"),
            (&["pods", "--limit", "0"], "--limit takes a number, 1 or more"),
            (&["pods", "--attempts", "x"], "--attempts takes a number, 1 or more"),
            (&["pods", "-w", "-o", "json"], "--watch goes with --output table, wide and name"),
            (&["pods", "-w", "--limit", "1"], "without --limit"),
            (&["config", "x"], "unexpected argument \"x\""),
        ] {
            let error = parse_args(args).unwrap_err();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }

    #[test]
    fn help_is_everywhere() {
        for args in [&["--help"][..], &["-h"], &["pods", "--help"], &["config", "-h"]] {
            assert_eq!(parse_args(args), Ok(Command::Help));
        }
        assert_eq!(parse_args(&["-V"]), Ok(Command::Version));
    }
}
