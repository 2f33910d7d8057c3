//! Compares what the README and the tutorial show with the real output, options and programs.

use crate::command::in_testbed;
use testbed::Testbed;

/// Returns the output that the README shows for a command, up to an ellipsis.
fn shown(command: &str) -> Vec<String> {
    let (_, below) = include_str!("../../README.md").split_once(&format!("\n$ incluster {command}\n")).unwrap();
    below.lines().take_while(|line| !["", "…", "```"].contains(line)).map(without_numbers).collect()
}

/// Puts a zero in the place of each number: ports, dates and ages differ.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c.is_ascii_digit() {
            true if text.ends_with('0') => {}
            true => text.push('0'),
            false => text.push(c),
        }
    }
    text
}

#[tokio::test]
async fn the_first_commands_print_what_the_readme_shows() {
    let testbed = Testbed::start().await;
    for command in ["config", "pods -n shop"] {
        let args: Vec<_> = command.split(' ').collect();
        let output = in_testbed(&testbed, &args).await;
        let printed: Vec<_> = output.stdout.lines().map(without_numbers).collect();
        let shown = shown(command);
        assert!(shown.len() > 2 && printed.starts_with(&shown), "{command}: {printed:#?}, and not {shown:#?}");
    }
}

#[tokio::test]
async fn the_page_of_the_command_has_every_option_of_the_help() {
    let testbed = Testbed::start().await;
    let help = in_testbed(&testbed, &["--help"]).await.stdout;
    let page = include_str!("../../docs/reference/command.md");
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let options: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
    assert!(options.len() > 20, "{help}");
    for option in options {
        assert!(page.contains(option), "docs/reference/command.md does not have {option}");
    }
}

/// The programs of the tutorial are the template of `incluster new` and the picker of `examples/extensions`.
#[test]
fn the_tutorials_programs_are_those_that_tests_build() {
    let tutorial = include_str!("../../docs/tutorial.md");
    let template = include_str!("../../host/cli/templates/rust/src/main.rs");
    let main = template.split_once("\n\n").unwrap().1.split_once("\nfn line").unwrap().0;
    let picker = include_str!("../../examples/extensions/rust/src/lib.rs").replace("\"../../gateway/wit\"", "\"wit\"");
    for program in [main, &picker] {
        assert!(tutorial.contains(&format!("```rust,ignore\n{program}```\n")), "the tutorial does not have {program}");
    }
    let dependency = include_str!("../../Cargo.toml").lines().find(|line| line.starts_with("wit-bindgen = ")).unwrap();
    assert!(tutorial.contains(dependency), "the tutorial does not have {dependency}");
}
