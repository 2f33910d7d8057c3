//! `incluster-envoy CONFIG`

use gateway::Config;
use incluster::Compiler;
use incluster_envoy::EnvoyProcessor;
use lexopt::Arg;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
Usage: incluster-envoy [--check] CONFIG

Picks pods for an Envoy, by the routes of the YAML file CONFIG, and reads it again when it changes; SIGTERM and SIGINT end it, after the
requests that are under way. Envoy asks by ext_proc, and for endpoints by EDS, at the address `listen`.

  --check      only say whether CONFIG is well-formed
  -h, --help   print this
";

enum Action {
    Serve(PathBuf),
    Check(PathBuf),
    Help,
}

/// So often are the figures looked after.
const UPKEEP: Duration = Duration::from_secs(5);

/// The command by which this program is its own compiler, in a process of its own. It is not for people.
const COMPILE_CHILD: &str = "compile-child";

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == COMPILE_CHILD) {
        return incluster::compile_child();
    }
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let action = match parse(lexopt::Parser::from_env()) {
        Ok(action) => action,
        Err(error) => {
            eprintln!("incluster-envoy: {error}; see incluster-envoy --help");
            return ExitCode::from(2);
        }
    };
    let done = match action {
        Action::Help => {
            print!("{HELP}");
            Ok(())
        }
        Action::Check(file) => Config::read(&file).map(drop).map_err(Into::into),
        Action::Serve(file) => serve(&file).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("incluster-envoy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Action, lexopt::Error> {
    let (mut file, mut is_check) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Action::Help),
            Arg::Long("check") => is_check = true,
            Arg::Value(value) if file.is_none() => file = Some(PathBuf::from(value)),
            arg => return Err(arg.unexpected()),
        }
    }
    let file = file.ok_or("CONFIG is missing")?;
    Ok(if is_check { Action::Check(file) } else { Action::Serve(file) })
}

async fn serve(file: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    // What histograms have is held until it is asked for, or looked after.
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    // The program itself, also after its file was replaced by another version's.
    let compiler = Compiler::child("/proc/self/exe").arg(COMPILE_CHILD);
    let mut processor = EnvoyProcessor::start(file, compiler, metrics).await?;
    println!("serving Envoy at {}, status at http://{}", processor.address, processor.status_address);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        why = processor.until_failed() => return Err(why.into()),
    }
    processor.stop().await;
    Ok(())
}
