//! Turns a command back into a command line: the reverse of parsing.

use super::{Command, Output, Pods, Raw, Retries, Shell, Watch};
use crate::Namespaces;

impl Command {
    /// Returns a command line for this command, without the program's name. A host passes it to the component, because the command line
    /// that the host was given may have options of the host in between.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = Args::default();
        match self {
            Command::Help => args.word("help"),
            Command::Version => args.word("version"),
            Command::Config => args.word("config"),
            Command::Completion(shell) => {
                args.word("completion");
                args.word(match shell {
                    Shell::Bash => "bash",
                    Shell::Zsh => "zsh",
                    Shell::Fish => "fish",
                });
            }
            Command::Raw(Raw { path, retries }) => {
                args.word("get");
                args.option("--raw", Some(path.as_str()));
                args.retries(retries);
            }
            Command::Pods(pods) => args.pods(pods),
        }
        args.0
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn word(&mut self, word: &str) {
        self.0.push(word.into());
    }

    /// Adds an option, if it has a value.
    fn option(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.extend([name.into(), value.to_string()]);
        }
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.word(name);
        }
    }

    fn pods(&mut self, pods: &Pods) {
        // Every field is named here, so that the compiler reports a new one that is forgotten.
        let Pods {
            name,
            namespaces,
            label_selector,
            field_selector,
            limit,
            output,
            no_headers,
            show_labels,
            watch,
            retries,
            chunk_size,
        } = pods;
        self.word("pods");
        if let Some(name) = name {
            self.word(name.as_str());
        }
        match namespaces {
            Some(Namespaces::All) => self.word("--all-namespaces"),
            Some(Namespaces::One(namespace)) => self.option("--namespace", Some(namespace)),
            None => {}
        }
        self.option("--selector", label_selector.as_ref());
        self.option("--field-selector", field_selector.as_ref());
        self.option("--limit", *limit);
        let format = match output {
            Output::Table => "table",
            Output::Wide => "wide",
            Output::Json => "json",
            Output::Yaml => "yaml",
            Output::Name => "name",
        };
        self.option("--output", Some(format));
        self.flag("--no-headers", *no_headers);
        self.flag("--show-labels", *show_labels);
        self.flag("--watch", *watch == Watch::AfterList);
        self.flag("--watch-only", *watch == Watch::Only);
        self.option("--chunk-size", *chunk_size);
        self.retries(retries);
    }

    fn retries(&mut self, retries: &Retries) {
        self.option("--attempts", retries.attempts);
        self.option("--timeout", Some(retries.deadline_milliseconds / 1000));
    }
}
