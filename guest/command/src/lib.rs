//! The program that `wasmtime run` and the `incluster` binary run, over any transport.

mod command_error;
mod completion;
mod config;
mod document;
mod line;
mod observed;
mod pod;
mod pods;
mod raw;
mod table;
mod yaml;

use command_error::CommandError;
use incluster_client::transport::Transport;
use incluster_core::command_line::{self, Command};
use incluster_core::text::one_line;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Does what the command line says.
pub fn run<T: Transport>() -> ExitCode {
    let command = match command_line::parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("incluster: {}; see incluster --help", one_line(&error.to_string()));
            return ExitCode::from(2);
        }
    };
    let out = &mut io::stdout().lock();
    let done = match command {
        Command::Help => out.write_all(command_line::HELP.as_bytes()).map_err(CommandError::from),
        Command::Version => writeln!(out, concat!("incluster ", env!("CARGO_PKG_VERSION"))).map_err(CommandError::from),
        Command::Completion(shell) => out.write_all(completion::script(shell).as_bytes()).map_err(CommandError::from),
        Command::Pods(options) => pods::run::<T>(&options, out),
        Command::Raw(raw) => raw::run::<T>(&raw, out),
        Command::Config => config::run::<T>(out),
    };
    match done.and_then(|()| out.flush().map_err(CommandError::from)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("incluster: {failure}");
            ExitCode::FAILURE
        }
    }
}
