//! `incluster completion`: the scripts that complete command lines.
//!
//! A host may add commands and options of its own: it appends lines to these scripts, which keep them in variables.

use incluster_core::command_line::Shell;

/// Returns the script for a shell.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completion/incluster.bash"),
        Shell::Zsh => include_str!("completion/incluster.zsh"),
        Shell::Fish => include_str!("completion/incluster.fish"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use incluster_core::command_line::{HELP, parse};
    use lexopt::Parser;
    use regex::Regex;
    use std::collections::BTreeSet;
    use std::process::Command;

    const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    /// Returns what a pattern's group matches in a text.
    fn found(text: &str, pattern: &str) -> BTreeSet<String> {
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(text).map(|found| found[1].to_string()).collect()
    }

    /// Returns the part of a script that begins after one text and ends before another.
    fn between(shell: Shell, begin: &str, end: &str) -> &'static str {
        let (_, rest) = script(shell).split_once(begin).unwrap_or_else(|| panic!("{shell:?}: no {begin:?}"));
        rest.split_once(end).unwrap().0
    }

    #[test]
    fn every_option_is_completed() {
        let help = found(HELP, r"--([a-z][a-z-]+)");
        assert!(help.contains("show-labels") && help.contains("raw") && help.len() > 14, "{help:?}");
        for shell in SHELLS {
            let completed = match shell {
                Shell::Bash => found(between(shell, "\n_incluster_options='", "'"), r"--([a-z][a-z-]+)"),
                Shell::Zsh => found(between(shell, "\n_incluster_options=(", ")"), r"--([a-z][a-z-]+)"),
                Shell::Fish => found(script(shell), r"complete -c incluster .* -l ([a-z][a-z-]+)"),
            };
            let missing: Vec<_> = help.difference(&completed).collect();
            let unknown: Vec<_> = completed.difference(&help).collect();
            assert!(missing.is_empty() && unknown.is_empty(), "{shell:?}: without {missing:?}, and {unknown:?} is no option");
        }
    }

    #[test]
    fn every_command_is_completed() {
        let (_, help) = HELP.split_once("\nCommands:\n").unwrap();
        let help = help.split("\n\n").next().unwrap();
        let commands = found(&help.replace("help, version", "help\n  version"), r"(?:^|\n)  ([a-z]+)");
        assert!(commands.contains("version") && commands.len() == 6, "{commands:?}");
        let is_unknown =
            |word: &str| parse(Parser::from_args([word])).is_err_and(|e| e.to_string().contains("there is no command"));
        assert!(is_unknown("pod") && !commands.iter().any(|command| is_unknown(command)), "{commands:?}");

        for shell in SHELLS {
            let list = match shell {
                Shell::Bash => between(shell, "\n_incluster_commands='", "'"),
                Shell::Zsh => between(shell, "\n_incluster_commands=(", ")"),
                Shell::Fish => between(shell, "\nset -g __incluster_commands ", "\n"),
            };
            assert_eq!(list.split_whitespace().map(String::from).collect::<BTreeSet<_>>(), commands, "{shell:?}");
        }
        let offered = found(script(Shell::Fish), r"complete -c incluster -n '__incluster_is none' -a ([a-z]+)");
        assert_eq!(offered, commands);
    }

    /// Returns what Bash completes after these words, of which the last may be empty.
    fn bash(words: &[&str]) -> Vec<String> {
        let ask = r#"COMP_WORDS=(incluster "$@"); COMP_CWORD=$#; _incluster; printf '%s\n' "${COMPREPLY[@]}""#;
        let script = format!("{}\n{ask}", script(Shell::Bash));
        let output = Command::new("bash").args(["-c", &script, "bash"]).args(words).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.is_empty()).map(Into::into).collect()
    }

    #[test]
    fn bash_completes() {
        const FORMATS: [&str; 5] = ["table", "wide", "json", "yaml", "name"];
        for (words, expected) in [
            (&["c"][..], &["config", "completion"][..]),
            (&["-n", "shop", "p"], &["pods"]),
            (&["get", ""], &["pods"]),
            (&["get", "pods", ""], &[]),
            (&["completion", ""], &["bash", "zsh", "fish"]),
            (&["completion", "bash", ""], &[]),
            (&["pods", "--show"], &["--show-labels"]),
            (&["get", "pods", "--wat"], &["--watch", "--watch-only"]),
            (&["pods", "-o", "w"], &["wide"]),
            (&["-o", ""], &FORMATS),
            (&["config", "-o", ""], &[]),
            (&["pods", "-n", ""], &[]),
            (&["-n", "get", "ge"], &["get"]),
            (&["config", "-"], &["-h", "--help"]),
        ] {
            assert_eq!(bash(words), expected, "{words:?}");
        }
    }

    /// Bash takes `--option=value` for three words, and a selector too.
    #[test]
    fn bash_completes_after_an_equals_sign() {
        for (words, expected) in [
            (&["pods", "--output", "=", "w"][..], &["wide"][..]),
            (&["--output", "=", "j"], &["json"]),
            (&["get", "--output", "="], &["table", "wide", "json", "yaml", "name"]),
            (&["--namespace", "=", "config", "--wat"], &["--watch", "--watch-only"]),
            (&["--namespace", "=", "config", "p"], &["pods"]),
            (&["--namespace", "="], &[]),
            (&["-l", "app", "=", "config", "p"], &["pods"]),
            (&["-l", "app", "=", "p"], &[]),
            (&["--watch", "=", "true", "p"], &["pods"]),
        ] {
            assert_eq!(bash(words), expected, "{words:?}");
        }
    }
}
