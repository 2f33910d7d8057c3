//! The host's command line. What stands after a command of the component's own is the component's.

use crate::args::{self, Command};
use incluster::policy::Policy;
use incluster::{Limits, SERVICE_ACCOUNT_DIR, Server, input};
use lexopt::{Arg, Error, Parser, ValueExt};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const HELP: &str = "\
Extensions, which are components of your own, and are trusted with nothing that is not said here:
  run EXTENSION.wasm [ARGS]  Compose an extension that exports wasi:cli/run with the client, and run it in a sandbox. It does
                             not have the token: the host puts that on the requests that the policy permits
  check EXTENSION.wasm       Say what there is to know of it before it runs: imports, exports, size, what made it, and whether it can be loaded
                             (exit status 0) or is refused (1)
  compose EXTENSION.wasm -o OUT.wasm
                             Write the composition, for other hosts

A file that exceeds what an extension may hold is refused by the limit's name; it is compiled in a process of its own, with limits.

Options of check (before EXTENSION.wasm):
  -o, --output FORMAT            text or json [default: text]

Options of run (before EXTENSION.wasm):
      --policy FILE              What it may ask for, in YAML or JSON [default: nothing]
      --memory MIB               Linear memory [default: 256]
      --cpu-time TIME            Computing, for example 500ms [default: 10s]
      --wall-time TIME           The whole run, or none [default: 2m]
      --response-mib MIB         The body of one answer [default: 256]
      --requests-per-second N    Requests to the API server [default: 1000]
      --open-streams N           Answers waited for or read at once [default: 64]

Options of run, check and compose (before EXTENSION.wasm):
      --allow NAME               An interface that it may import beyond the harmless ones, such as wasi:http/outgoing-handler,
                                 which reaches the API server alone; may be given more than once

Where the command runs, for use outside a pod (before COMMAND):
      --server URL               The API server, https://HOST[:PORT], instead of KUBERNETES_SERVICE_HOST and _PORT
      --service-account-dir DIR  The folder with token, ca.crt and namespace, instead of
                                 /var/run/secrets/kubernetes.io/serviceaccount
      --metrics ADDRESS:PORT     Serve metrics there, for Prometheus, while the command runs
";

/// What is to be done, and where.
pub struct Options {
    pub server: Option<Server>,
    pub service_account_dir: PathBuf,
    pub metrics: Option<SocketAddr>,
    pub action: Action,
}

pub enum Action {
    /// A command of the component that comes with the host: what it is given, and the same, understood.
    Own(Vec<String>, Command),
    Run(Run),
    Check(Check),
    Compose(Compose),
}

/// `incluster check`.
pub struct Check {
    pub allowed: Vec<String>,
    pub extension: PathBuf,
    pub format: Format,
}

/// How `incluster check` says it.
#[derive(Clone, Copy)]
pub enum Format {
    Text,
    Json,
}

/// `incluster run`.
pub struct Run {
    pub policy: Policy,
    pub limits: Limits,
    pub allowed: Vec<String>,
    pub extension: PathBuf,
    pub args: Vec<String>,
}

/// `incluster compose`.
pub struct Compose {
    pub allowed: Vec<String>,
    pub extension: PathBuf,
    pub output: PathBuf,
}

/// Takes the host's options, which stand before the command.
pub fn parse(mut parser: Parser) -> Result<Options, Error> {
    let mut options = Options {
        server: None,
        service_account_dir: SERVICE_ACCOUNT_DIR.into(),
        metrics: None,
        action: Action::Own(Vec::new(), Command::Help),
    };
    let mut first = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("server") => {
                options.server = Some(parser.value()?.parse_with(|url| Server::parse(url).map_err(|e| e.to_string()))?);
            }
            Arg::Long("service-account-dir") => {
                options.service_account_dir = parser.value()?.into();
                if !options.service_account_dir.is_dir() {
                    return Err(format!("--service-account-dir {}: no such folder", options.service_account_dir.display()).into());
                }
            }
            Arg::Long("metrics") => {
                let invalid = |_| "--metrics takes ADDRESS:PORT, for example 127.0.0.1:9090";
                options.metrics = Some(parser.value()?.parse_with(|text| text.parse().map_err(invalid))?);
            }
            Arg::Value(name) if name == "run" => {
                options.action = Action::Run(run(parser)?);
                return Ok(options);
            }
            Arg::Value(name) if name == "check" => {
                options.action = Action::Check(check(parser)?);
                return Ok(options);
            }
            Arg::Value(name) if name == "compose" => {
                options.action = Action::Compose(compose(parser)?);
                return Ok(options);
            }
            Arg::Long(name) => first = Some(format!("--{name}")),
            Arg::Short(name) => first = Some(format!("-{name}")),
            Arg::Value(value) => first = Some(value.string()?),
        }
        if first.is_some() {
            break;
        }
    }
    let args: Vec<_> = first.into_iter().map(Ok).chain(parser.raw_args()?.map(|arg| arg.string())).collect::<Result<_, _>>()?;
    let command = args::parse(Parser::from_args(&args))?;
    options.action = Action::Own(args, command);
    Ok(options)
}

fn run(mut parser: Parser) -> Result<Run, Error> {
    let (mut policy, mut limits, mut allowed) = (Policy::deny_all(), Limits::default(), Vec::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("policy") => policy = read_policy(Path::new(&parser.value()?))?,
            Arg::Long("memory") => limits.memory = mebibytes("--memory", &mut parser)?,
            Arg::Long("response-mib") => limits.response_bytes = mebibytes("--response-mib", &mut parser)? as u64,
            Arg::Long("cpu-time") => limits.cpu_time = time("--cpu-time", &mut parser)?,
            Arg::Long("wall-time") => limits.wall_time = time("--wall-time", &mut parser)?,
            Arg::Long("requests-per-second") => {
                limits.requests_per_second = parser.value()?.parse()?;
                limits.request_burst = limits.request_burst.max(limits.requests_per_second);
            }
            Arg::Long("open-streams") => limits.open_streams = parser.value()?.parse()?,
            Arg::Long("allow") => allowed.push(parser.value()?.string()?),
            Arg::Value(extension) => {
                let args = parser.raw_args()?.map(|arg| arg.string()).collect::<Result<_, _>>()?;
                return Ok(Run { policy, limits, allowed, extension: extension.into(), args });
            }
            other => return Err(other.unexpected()),
        }
    }
    Err("run takes the file of an extension".into())
}

fn check(mut parser: Parser) -> Result<Check, Error> {
    let (mut allowed, mut extension, mut format) = (Vec::new(), None, Format::Text);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("allow") => allowed.push(parser.value()?.string()?),
            Arg::Long("output") | Arg::Short('o') => {
                format = parser.value()?.parse_with(|text| match text {
                    "text" => Ok(Format::Text),
                    "json" => Ok(Format::Json),
                    _ => Err("check's -o takes text or json"),
                })?;
            }
            Arg::Value(file) if extension.is_none() => extension = Some(file.into()),
            other => return Err(other.unexpected()),
        }
    }
    let extension = extension.ok_or("check takes the file of an extension")?;
    Ok(Check { allowed, extension, format })
}

fn compose(mut parser: Parser) -> Result<Compose, Error> {
    let (mut allowed, mut extension, mut output) = (Vec::new(), None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("allow") => allowed.push(parser.value()?.string()?),
            Arg::Long("output") | Arg::Short('o') => output = Some(parser.value()?.into()),
            Arg::Value(file) if extension.is_none() => extension = Some(file.into()),
            other => return Err(other.unexpected()),
        }
    }
    match (extension, output) {
        (Some(extension), Some(output)) => Ok(Compose { allowed, extension, output }),
        (None, _) => Err("compose takes the file of an extension".into()),
        (_, None) => Err("compose takes -o OUT.wasm, the file to write".into()),
    }
}

fn read_policy(path: &Path) -> Result<Policy, Error> {
    let text = input::read(path, input::MAX_DOCUMENT).map_err(|e| format!("--policy: failed to read {}: {e}", path.display()))?;
    input::yaml(&text).map_err(|e| format!("--policy: {}: {e}", path.display()).into())
}

fn mebibytes(option: &str, parser: &mut Parser) -> Result<usize, Error> {
    let size: u32 = parser.value()?.parse_with(|text| match text.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes a number of MiB, 1 or more")),
        Ok(size) => Ok(size),
    })?;
    Ok((size as usize) << 20)
}

fn time(option: &str, parser: &mut Parser) -> Result<Duration, Error> {
    parser.value()?.parse_with(|text| match text {
        "none" => Ok(Duration::MAX),
        text => humantime::parse_duration(text).map_err(|_| format!("{option} takes a time, for example 30s, or none")),
    })
}
