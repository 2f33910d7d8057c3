//! `incluster`: runs the command component in a sandbox, in a pod or against any API server.

#[expect(dead_code, reason = "the host only wants to know whether the command line is one")]
#[path = "../../guest/command/src/args.rs"]
mod args;
#[allow(dead_code, reason = "the command line only needs to know labels; the tests know all")]
#[path = "../../guest/client/src/dns.rs"]
mod dns;

use args::Command;
use incluster::types;
use incluster::{Cluster, Error, Limits, Runtime, SERVICE_ACCOUNT_DIR, Server};
use lexopt::{Arg, Parser, ValueExt};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const HOST_OPTIONS: &str = "\
Where the command runs, for use outside a pod (before COMMAND):
      --server URL               The API server, https://HOST[:PORT], instead of KUBERNETES_SERVICE_HOST and _PORT
      --service-account-dir DIR  The folder with token, ca.crt and namespace, instead of
                                 /var/run/secrets/kubernetes.io/serviceaccount
";

struct Options {
    server: Option<Server>,
    service_account_dir: PathBuf,
    /// What the component is to be given.
    args: Vec<String>,
    /// The same, understood.
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match parse(Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("incluster: {error}; see incluster --help");
            return ExitCode::from(2);
        }
    };
    let help = options.command == Command::Help;
    match run(options).await {
        Ok(status) => {
            if help {
                // Whoever reads it may have gone.
                let _ = write!(std::io::stdout(), "\n{HOST_OPTIONS}");
            }
            ExitCode::from(u8::try_from(status).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("incluster: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the host's options, which stand before the command; the rest is the command's.
fn parse(mut parser: Parser) -> Result<Options, lexopt::Error> {
    let mut server = None;
    let mut service_account_dir = PathBuf::from(SERVICE_ACCOUNT_DIR);
    let mut args = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("server") => {
                let url = parser.value()?.string()?;
                server = Some(Server::parse(&url).map_err(|e| e.to_string())?);
            }
            Arg::Long("service-account-dir") => {
                service_account_dir = parser.value()?.into();
                if !service_account_dir.is_dir() {
                    return Err(format!("--service-account-dir {}: no such folder", service_account_dir.display()).into());
                }
            }
            other => {
                args.push(match other {
                    Arg::Long(name) => format!("--{name}"),
                    Arg::Short(name) => format!("-{name}"),
                    Arg::Value(value) => value.string()?,
                });
                for rest in parser.raw_args()? {
                    args.push(rest.string()?);
                }
                break;
            }
        }
    }
    let command = args::parse(Parser::from_args(&args))?;
    Ok(Options { server, service_account_dir, args, command })
}

async fn run(options: Options) -> Result<i32, Error> {
    let server = match (options.server, &options.command) {
        (Some(server), _) => server,
        // These must not need a pod.
        (None, Command::Help | Command::Version) => Server::new("localhost", 443)?,
        (None, _) => Server::from_environment()?,
    };
    // Whoever runs it can interrupt it.
    let limits = Limits { wall_time: Duration::MAX, cpu_time: Duration::MAX, ..Limits::default() };
    let cluster = Cluster::new(&Runtime::new()?, server, options.service_account_dir)?.with_limits(limits);
    cluster.run_command(&options.args).await
}
