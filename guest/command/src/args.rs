//! The command line. The host compiles this file, too: WASI 0.2 has no exit status but 0 and 1, and wrong usage is 2.

use crate::dns;
use crate::types::ListOptions;
use lexopt::{Arg, Error, Parser, ValueExt};

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
  -o, --output FORMAT        table, wide, json, yaml or name [default: table]

Options:
  -h, --help                 Show this help
  -V, --version              Show the version

Exit status: 0 done, 1 failed, 2 wrong usage
";

#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Version,
    Pods(Pods),
    Config,
}

#[derive(Debug, PartialEq)]
pub struct Pods {
    pub namespace: Option<String>,
    pub options: ListOptions,
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

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
    let mut pods = Pods { namespace: None, options: ListOptions::ALL, output: Output::Table };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("namespace") | Arg::Short('n') => pods.namespace = Some(parser.value()?.parse_with(namespace)?),
            Arg::Long("selector") | Arg::Short('l') => pods.options.label_selector = Some(parser.value()?.string()?),
            Arg::Long("field-selector") => pods.options.field_selector = Some(parser.value()?.string()?),
            Arg::Long("limit") => pods.options.limit = Some(parser.value()?.parse_with(limit)?),
            Arg::Long("output") | Arg::Short('o') => pods.output = parser.value()?.parse_with(output)?,
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Pods(pods))
}

fn namespace(text: &str) -> Result<String, &'static str> {
    match dns::is_label(text) {
        true => Ok(text.into()),
        false => Err("--namespace takes a DNS-1123 label: a-z, 0-9 and -, 1 to 63 characters"),
    }
}

fn limit(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("--limit takes a number of pods, 1 or more"),
        Ok(limit) => Ok(limit),
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
        assert_eq!(pods.namespace.as_deref(), Some("shop"));
        assert_eq!(pods.options.label_selector.as_deref(), Some("app=web"));
        assert_eq!(pods.options.field_selector.as_deref(), Some("a=b"));
        assert_eq!(pods.options.limit, Some(3));
        assert_eq!(pods.output, Output::Wide);
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
            (&["pods", "--limit", "0"], "--limit takes a number of pods, 1 or more"),
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
