//! `incluster.wasm`: what `wasmtime run` and the `incluster` binary run.

mod args;
mod config;
mod document;
mod failure;
mod pods;
mod progress;
mod table;

use args::Command;
use failure::Failure;
use incluster_client::{dns, types};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match args::parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("incluster: {error}; see incluster --help");
            return ExitCode::from(2);
        }
    };
    let out = &mut io::stdout().lock();
    let done = match command {
        Command::Help => out.write_all(args::HELP.as_bytes()).map_err(Failure::from),
        Command::Version => writeln!(out, concat!("incluster ", env!("CARGO_PKG_VERSION"))).map_err(Failure::from),
        Command::Pods(options) => pods::run(&options, out),
        Command::Config => config::run(out),
    };
    match done.and_then(|()| out.flush().map_err(Failure::from)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("incluster: {failure}");
            ExitCode::FAILURE
        }
    }
}
