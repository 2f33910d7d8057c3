//! The command line, the log, the metrics and the compiler process, which the programs of all front ends share.

use crate::config::{Config, ConfigError};
use crate::engine::Engine;
use crate::loading::relative_to;
use incluster::{Compiler, input};
use lexopt::Arg;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the metrics are cleaned up.
const UPKEEP: Duration = Duration::from_secs(5);

/// The command by which the program starts itself again, to compile extensions in a process of their own. It is not for people.
const COMPILE_CHILD: &str = "compile-child";

enum Action {
    Serve(PathBuf),
    Check(PathBuf),
    Help,
    Version,
}

/// Runs the program of this name: `NAME [--check] CONFIG`. `serve` does what the configuration's file says, until it is told to end.
pub fn program(
    name: &str,
    help: &str,
    serve: impl AsyncFnOnce(&Path, Compiler, PrometheusHandle) -> Result<(), Box<dyn Error + Send + Sync>>,
) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == COMPILE_CHILD) {
        return incluster::compile_child();
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let action = match parse(lexopt::Parser::from_env()) {
        Ok(action) => action,
        Err(error) => {
            eprintln!("{name}: {error}; see {name} --help");
            return ExitCode::from(2);
        }
    };
    let done = match action {
        Action::Help => {
            print!("{help}");
            Ok(())
        }
        Action::Version => {
            println!("{name} {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Action::Check(file) => check(&file).map(|config| println!("{}", checked(&file, &config))).map_err(Into::into),
        Action::Serve(file) => tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
            runtime.block_on(async {
                let metrics = PrometheusBuilder::new().install_recorder()?;
                // Histograms grow until somebody asks for them, or they are cleaned up.
                let upkeep = metrics.clone();
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(UPKEEP).await;
                        upkeep.run_upkeep();
                    }
                });
                // This program itself, even after its file was replaced by another version.
                let compiler = Compiler::child("/proc/self/exe").arg(COMPILE_CHILD);
                serve(&file, compiler, metrics).await
            })
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a configuration to check it: `-` is standard input.
fn check(file: &Path) -> Result<Config, ConfigError> {
    if file != Path::new("-") {
        return Config::read(file);
    }
    let mut text = Vec::new();
    std::io::stdin().take(input::MAX_DOCUMENT + 1).read_to_end(&mut text).map_err(|e| ConfigError::new(file, e))?;
    Config::parse(&text).map_err(|problem| ConfigError::new(file, problem))
}

/// What `--check` prints about a file that is well-formed.
fn checked(file: &Path, config: &Config) -> String {
    let missing = config.routes.iter().filter_map(|route| {
        let path = relative_to(file, route.extension.as_ref()?);
        (!path.exists()).then(|| format!("\nroute {route}: there is no file {} here", input::printable(&path.display())))
    });
    let missing = missing.collect::<String>();
    format!(
        "{}: well-formed, tenants: {}, routes: {}. The extensions and the API server were not checked.{missing}",
        file.display(),
        config.tenants.len(),
        config.routes.len()
    )
}

/// Waits for SIGTERM or SIGINT, and then until the engine has drained ([`Engine::drain`]). A second signal ends the draining.
///
/// # Errors
///
/// Signals cannot be received.
pub async fn until_ended(engine: &Engine) -> std::io::Result<()> {
    told_to_end().await?;
    tracing::info!("told to end: draining");
    tokio::select! {
        () = engine.drain() => Ok(()),
        again = told_to_end() => again,
    }
}

async fn told_to_end() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn parse(mut parser: lexopt::Parser) -> Result<Action, lexopt::Error> {
    let (mut file, mut is_check) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Action::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Action::Version),
            Arg::Long("check") => is_check = true,
            Arg::Value(value) if file.is_none() => file = Some(PathBuf::from(value)),
            arg => return Err(arg.unexpected()),
        }
    }
    let file = file.ok_or("CONFIG is missing")?;
    Ok(if is_check { Action::Check(file) } else { Action::Serve(file) })
}
