//! The host's command line: the component's, with the host's own options and commands.

use crate::project::Language;
use incluster::policy::Policy;
use incluster::{Limits, LoadLimits, SERVICE_ACCOUNT_DIR, Server, input};
use incluster_core::command_line::{self, Command};
use lexopt::{Arg, Error, Parser, ValueExt};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub const HELP: &str = "\
Extensions: your own components. They are not trusted: they run in a sandbox, with what the options permit and nothing else.
  run EXTENSION.wasm [ARGS]      Compose it with the client, and run it; it must export wasi:cli/run. It does not have the token:
                                 the host adds it to the requests that the policy permits
  new DIR                        Write the project of an extension to DIR, ready to build and run, and say how
  check EXTENSION.wasm           Say whether it can be loaded, what it imports and exports, what made it, and how much it has
                                 of what is limited. Exit status: 0 it can be loaded, 1 it is refused, 2 it could not be checked
  compile EXTENSION.wasm -o OUT.cwasm
                                 Compile it for this kind of machine and this version, for run --precompiled
  compose [--standalone] EXTENSION.wasm -o OUT.wasm
                                 Write the composition, for other hosts (incluster run does not need it). With
                                 --standalone it has its own TLS, runs in a pod under the wasmtime CLI,
                                 and can read the token: only for components that you trust with it
  wit DIR                        Write the contract, incluster:kubernetes, to DIR, to build extensions against

A file that exceeds a limit is refused, and the message names the limit. Files are compiled in a separate process.

Options of run (before EXTENSION.wasm):
      --precompiled              The file was written by compile. A forged one runs outside the sandbox: only for files that nobody else
                                 could write to
      --cache DIR                The folder for compiled extensions: this user's own, which nobody else may write to, for example an
                                 emptyDir; or none. It takes at most 1 GiB [default: ~/.cache/incluster, if it can be used]
      --pods FILE                Try it without a cluster: the pods of this file, as `kubectl get pods -o json` or -o yaml prints
                                 them, take the place of the API server. A change of the file changes the pods. At most 1 MiB of YAML,
                                 or 128 MiB of JSON
      --debug                    Show on standard error each request with its decision, and what the run cost; and in the text of a
                                 trap, functions, files and lines, as far as the extension was built with them
      --policy FILE              What it may request from the API server, in YAML or JSON [default: nothing]
      --memory MIB               Linear memory [default: 256]
      --cpu-time TIME            CPU time, for example 500ms; or none, for no limit [default: 10s]
      --wall-time TIME           The whole run; or none, for no limit [default: 2m]
      --response-mib MIB         The body of one answer [default: 256]
      --requests-per-second N    Requests to the API server [default: 1000]
      --open-streams N           Answers waited for or read at once [default: 64]

Options of new:
      --language LANGUAGE        rust, javascript, python or go [default: rust]

Options of check (before EXTENSION.wasm):
  -o, --output FORMAT            text or json [default: text]

Options of run, check, compile and compose (before EXTENSION.wasm):
      --allow NAME               Let it import this interface, in addition to the client and WASI 0.2; may be given more than once
      --refuse NAME              Do not load it if it imports this interface, or one of this package, such as wasi:sockets (which it may
                                 otherwise import, but not use); may be given more than once
      --load-limits FILE         What its file may contain, in YAML or JSON, for example `codeBytes: 64Mi`; check lists the limits

Options of every command (before the commands above; anywhere with the others):
      --metrics ADDRESS:PORT     Serve metrics for Prometheus at this address, while the command runs

Options for use outside a pod (likewise):
      --server URL               The API server, https://HOST[:PORT], instead of KUBERNETES_SERVICE_HOST and _PORT
      --service-account-dir DIR  The folder with token, ca.crt and namespace, instead of
                                 /var/run/secrets/kubernetes.io/serviceaccount
";

/// What to do, and where.
pub struct Options {
    pub server: Option<Server>,
    pub service_account_dir: PathBuf,
    pub metrics: Option<SocketAddr>,
    pub action: Action,
}

pub enum Action {
    /// A command of the component that comes with the host.
    Own(Command),
    Run(Box<Run>),
    Check(Check),
    Make(Make),
    /// `incluster new`, with the folder to write to.
    New(PathBuf, Language),
    /// `incluster wit`, with the folder to write to.
    Wit(PathBuf),
}

/// An extension's file, and how it is loaded.
#[derive(Default)]
pub struct File {
    pub path: PathBuf,
    pub allowed: Vec<String>,
    pub refused: Vec<String>,
    pub limits: LoadLimits,
}

/// The options of each command that loads a file.
const OF_FILE: [&str; 3] = ["allow", "refuse", "load-limits"];

impl File {
    /// Whether any option was given in addition to the path.
    fn has_options(&self) -> bool {
        !self.allowed.is_empty() || !self.refused.is_empty() || self.limits != LoadLimits::default()
    }

    fn take(&mut self, option: &str, parser: &mut Parser) -> Result<(), Error> {
        match option {
            "allow" => self.allowed.push(parser.value()?.string()?),
            "refuse" => self.refused.push(parser.value()?.string()?),
            _ => self.limits = read_yaml("--load-limits", parser)?,
        }
        Ok(())
    }
}

/// Where `incluster run` keeps compiled extensions.
pub enum Cache {
    /// In the user's cache folder, if it can be used.
    OfUser,
    At(PathBuf),
    None,
}

/// `incluster run`.
pub struct Run {
    pub file: File,
    pub policy: Policy,
    pub limits: Limits,
    /// The file whose pods take the place of a cluster.
    pub pods: Option<PathBuf>,
    pub is_debugged: bool,
    /// Whether the file is compiled already.
    pub is_precompiled: bool,
    pub cache: Cache,
    pub args: Vec<String>,
}

/// `incluster check`.
pub struct Check {
    pub file: File,
    pub format: Format,
}

/// The output format of `incluster check`.
#[derive(Clone, Copy)]
pub enum Format {
    Text,
    Json,
}

/// `incluster compose` and `incluster compile`.
pub struct Make {
    pub file: File,
    pub what: Product,
    pub output: PathBuf,
}

/// What to make from an extension.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Composition,
    /// The composition with a client that has TLS of its own.
    Standalone,
    Code,
}

/// Parses the command line. The host's options come before the host's own commands, and anywhere among the words of a command of the
/// component.
pub fn parse(mut parser: Parser) -> Result<Options, Error> {
    let mut options = Options { server: None, service_account_dir: SERVICE_ACCOUNT_DIR.into(), metrics: None, action: help() };
    loop {
        let from_here = parser.clone();
        let name = match parser.next()? {
            Some(Arg::Long(name)) => {
                let name = name.to_owned();
                if options.take(&name, &mut parser)? {
                    continue;
                }
                None
            }
            Some(Arg::Value(name)) => name.into_string().ok(),
            Some(Arg::Short(_)) | None => None,
        };
        options.action = match name.as_deref() {
            Some("run") => {
                let run = run(parser)?;
                let is_elsewhere = options.server.is_some() || options.service_account_dir != Path::new(SERVICE_ACCOUNT_DIR);
                if is_elsewhere && matches!(&run, Action::Run(run) if run.pods.is_some()) {
                    return Err("--pods takes the place of --server and --service-account-dir".into());
                }
                run
            }
            Some("check") => check(parser)?,
            Some("compose") => make(parser, Product::Composition)?,
            Some("compile") => make(parser, Product::Code)?,
            Some("new") => new(parser)?,
            Some("wit") => wit(parser)?,
            _ => Action::Own(command_line::parse_with(from_here, &mut |name, parser| options.take(name, parser))?),
        };
        return Ok(options);
    }
}

impl Options {
    /// Takes one of the options that all commands share, with its value. Returns whether there is such an option.
    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, Error> {
        match name {
            "server" => self.server = Some(parser.value()?.parse_with(|url| Server::parse(url).map_err(|e| e.to_string()))?),
            "service-account-dir" => {
                self.service_account_dir = parser.value()?.into();
                if !self.service_account_dir.is_dir() {
                    return Err(format!("--service-account-dir {}: no such folder", self.service_account_dir.display()).into());
                }
            }
            "metrics" => {
                let invalid = |_| "--metrics takes ADDRESS:PORT, for example 127.0.0.1:9090";
                self.metrics = Some(parser.value()?.parse_with(|text| text.parse().map_err(invalid))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn wit(mut parser: Parser) -> Result<Action, Error> {
    let dir = match parser.next()? {
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(help()),
        Some(Arg::Value(dir)) => dir.into(),
        Some(other) => return Err(other.unexpected()),
        None => return Err("wit takes the folder to write the contract to".into()),
    };
    match parser.next()? {
        None => Ok(Action::Wit(dir)),
        Some(other) => Err(other.unexpected()),
    }
}

fn new(mut parser: Parser) -> Result<Action, Error> {
    let (mut dir, mut language) = (None, Language::Rust);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(help()),
            Arg::Long("language") => language = parser.value()?.parse_with(Language::from_str)?,
            Arg::Value(value) if dir.is_none() => dir = Some(value.into()),
            other => return Err(other.unexpected()),
        }
    }
    dir.map(|dir| Action::New(dir, language)).ok_or_else(|| "new takes the folder to write the project to".into())
}

fn run(mut parser: Parser) -> Result<Action, Error> {
    let mut run = Run {
        file: File::default(),
        policy: Policy::deny_all(),
        limits: Limits::default(),
        pods: None,
        is_debugged: false,
        is_precompiled: false,
        cache: Cache::OfUser,
        args: Vec::new(),
    };
    let limits = &mut run.limits;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(help()),
            Arg::Long("pods") => run.pods = Some(parser.value()?.into()),
            Arg::Long("debug") => run.is_debugged = true,
            Arg::Long("precompiled") => run.is_precompiled = true,
            Arg::Long("cache") => {
                let folder = parser.value()?;
                run.cache = if folder == "none" { Cache::None } else { Cache::At(folder.into()) };
            }
            Arg::Long("policy") => run.policy = read_yaml("--policy", &mut parser)?,
            Arg::Long("memory") => limits.call.memory = mebibytes("--memory", &mut parser)?,
            Arg::Long("response-mib") => limits.request.response_bytes = mebibytes("--response-mib", &mut parser)? as u64,
            Arg::Long("cpu-time") => limits.call.cpu_time = time("--cpu-time", &mut parser)?,
            Arg::Long("wall-time") => limits.call.wall_time = time("--wall-time", &mut parser)?,
            Arg::Long("requests-per-second") => {
                limits.tenant.requests_per_second = count("--requests-per-second", &mut parser)?;
                limits.tenant.request_burst = limits.tenant.request_burst.max(limits.tenant.requests_per_second);
            }
            Arg::Long("open-streams") => limits.tenant.open_streams = count("--open-streams", &mut parser)?,
            Arg::Long(name) if OF_FILE.contains(&name) => {
                let name = name.to_owned();
                run.file.take(&name, &mut parser)?;
            }
            Arg::Value(path) => {
                run.file.path = path.into();
                run.args = parser.raw_args()?.map(|arg| arg.string()).collect::<Result<_, _>>()?;
                if run.is_precompiled && (run.is_debugged || run.file.has_options()) {
                    return Err(
                        "--precompiled excludes --debug, --allow, --refuse and --load-limits: those given to compile apply"
                            .into(),
                    );
                }
                return Ok(Action::Run(run.into()));
            }
            other => return Err(other.unexpected()),
        }
    }
    Err(NO_FILE.into())
}

fn check(mut parser: Parser) -> Result<Action, Error> {
    let mut check = Check { file: File::default(), format: Format::Text };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(help()),
            Arg::Long(name) if OF_FILE.contains(&name) => {
                let name = name.to_owned();
                check.file.take(&name, &mut parser)?;
            }
            Arg::Long("output") | Arg::Short('o') => {
                check.format = parser.value()?.parse_with(|text| match text {
                    "text" => Ok(Format::Text),
                    "json" => Ok(Format::Json),
                    _ => Err("check's -o takes text or json"),
                })?;
            }
            Arg::Value(path) if check.file.path.as_os_str().is_empty() => check.file.path = path.into(),
            other => return Err(other.unexpected()),
        }
    }
    if check.file.path.as_os_str().is_empty() {
        return Err(NO_FILE.into());
    }
    Ok(Action::Check(check))
}

fn make(mut parser: Parser, mut what: Product) -> Result<Action, Error> {
    let (mut file, mut output) = (File::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(help()),
            Arg::Long(name) if OF_FILE.contains(&name) => {
                let name = name.to_owned();
                file.take(&name, &mut parser)?;
            }
            Arg::Long("output") | Arg::Short('o') => output = Some(parser.value()?.into()),
            Arg::Long("standalone") if what != Product::Code && cfg!(feature = "standalone") => what = Product::Standalone,
            Arg::Long("standalone") if what != Product::Code => {
                return Err(
                    "this build has no --standalone: build it with `--features standalone`, as `./justw programs` does".into()
                );
            }
            Arg::Value(path) if file.path.as_os_str().is_empty() => file.path = path.into(),
            other => return Err(other.unexpected()),
        }
    }
    match output {
        _ if file.path.as_os_str().is_empty() => Err(NO_FILE.into()),
        Some(output) => Ok(Action::Make(Make { file, what, output })),
        None if what == Product::Code => Err("compile takes -o OUT.cwasm, the file to write".into()),
        None => Err("compose takes -o OUT.wasm, the file to write".into()),
    }
}

const NO_FILE: &str = "name the file of an extension, for example extension.wasm";

fn help() -> Action {
    Action::Own(Command::Help)
}

fn read_yaml<T: DeserializeOwned>(option: &str, parser: &mut Parser) -> Result<T, Error> {
    let path = PathBuf::from(parser.value()?);
    let text =
        input::read(&path, input::MAX_DOCUMENT).map_err(|e| format!("{option}: failed to read {}: {e}", path.display()))?;
    input::yaml(&text).map_err(|e| format!("{option}: {}: {e}", path.display()).into())
}

fn mebibytes(option: &str, parser: &mut Parser) -> Result<usize, Error> {
    Ok((at_least_one(option, "a number of MiB", parser)? as usize) << 20)
}

fn count(option: &str, parser: &mut Parser) -> Result<u32, Error> {
    at_least_one(option, "a number", parser)
}

fn at_least_one(option: &str, what: &str, parser: &mut Parser) -> Result<u32, Error> {
    parser.value()?.parse_with(|text| match text.parse() {
        Ok(0) | Err(_) => Err(format!("{option} takes {what}, 1 or more")),
        Ok(number) => Ok(number),
    })
}

fn time(option: &str, parser: &mut Parser) -> Result<Duration, Error> {
    parser.value()?.parse_with(|text| match text {
        "none" => Ok(Duration::MAX),
        text => match humantime::parse_duration(text) {
            Ok(Duration::ZERO) | Err(_) => Err(format!("{option} takes a time above zero, for example 30s, or none")),
            Ok(time) => Ok(time),
        },
    })
}
