//! `incluster`: runs the command component, or an extension, in a sandbox, in a pod or against any API server.

#[expect(dead_code, reason = "the host only wants to know whether the command line is one")]
#[path = "../../../../guest/command/src/args.rs"]
mod args;
#[allow(dead_code, reason = "the command line only needs to know labels; the tests know all")]
#[path = "../../../../guest/client/src/dns.rs"]
mod dns;
mod options;

use args::Command;
use incluster::policy::Policy;
use incluster::types;
use incluster::{Credentials, Extension, Limits, Runtime, Server, Tenant};
use lexopt::Parser;
use metrics_exporter_prometheus::PrometheusBuilder;
use options::{Action, Compose, Options};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// An error's text: whoever ran the command reads it, and nobody looks into it.
type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options::parse(Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("incluster: {error}; see incluster --help");
            return ExitCode::from(2);
        }
    };
    let is_help = matches!(options.action, Action::Own(_, Command::Help));
    match execute(options).await {
        Ok(status) => {
            if is_help {
                // Whoever reads it may have gone.
                let _ = write!(std::io::stdout(), "\n{}", options::HELP);
            }
            ExitCode::from(u8::try_from(status).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("incluster: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(options: Options) -> Result<i32, Failure> {
    if let Some(address) = options.metrics {
        serve_metrics(address)?;
    }
    let server = match (options.server, &options.action) {
        (Some(server), _) => server,
        (None, Action::Compose(compose)) => return write_composition(compose),
        // These must not need a pod.
        (None, Action::Own(_, Command::Help | Command::Version)) => Server::new("localhost", 443)?,
        (None, _) => Server::from_environment()?,
    };
    let runtime = Runtime::with_capacity(1)?;
    let tenant = |name: &str| Tenant::builder(&runtime, name).server(server).service_account_dir(options.service_account_dir);
    match options.action {
        Action::Compose(compose) => write_composition(&compose),
        Action::Own(args, _) => {
            // Whoever runs it can interrupt it, and it is their own token, which `config` has something to say of.
            let limits = Limits { wall_time: Duration::MAX, cpu_time: Duration::MAX, ..Limits::default() };
            let tenant = tenant("command").limits(limits).policy(Policy::allow_all()).credentials(Credentials::Portable);
            Ok(tenant.build()?.run_command(&args).await?)
        }
        Action::Run(run) => {
            let extension =
                runtime.extension(&read(&run.extension)?, &names(&run.allowed)).map_err(|e| in_file(&run.extension, &e))?;
            let name = run.extension.file_stem().unwrap_or_default().to_string_lossy();
            let tenant = tenant(&name).limits(run.limits).policy(run.policy).build()?;
            Ok(tenant.run_extension(&extension, &name, &run.args).await?)
        }
    }
}

fn write_composition(compose: &Compose) -> Result<i32, Failure> {
    let composed =
        Extension::compose(&read(&compose.extension)?, &names(&compose.allowed)).map_err(|e| in_file(&compose.extension, &e))?;
    std::fs::write(&compose.output, composed).map_err(|e| format!("failed to write {}: {e}", compose.output.display()))?;
    Ok(0)
}

fn names(allowed: &[String]) -> Vec<&str> {
    allowed.iter().map(String::as_str).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(path).map_err(|e| format!("failed to read {}: {e}", path.display()))?)
}

fn in_file(path: &Path, error: &incluster::Error) -> Failure {
    format!("{}: {error}", path.display()).into()
}

/// For as long as the process runs.
fn serve_metrics(address: SocketAddr) -> Result<(), Failure> {
    let builder = PrometheusBuilder::new().with_http_listener(address);
    Ok(builder.install().map_err(|e| format!("failed to serve metrics at {address}: {e}"))?)
}
