//! `incluster`: runs the command component, or an extension, in a sandbox, in a pod or against any API server.

mod completion;
mod options;
mod project;
mod stand_in;

use incluster::policy::Policy;
use incluster::{
    CallLimits, Compiler, ConfigError, Error, Extension, ExtensionError, Inspection, LoadLimit, Pool, Runtime, Server, Tenant,
    TokenAccess, input,
};
use incluster_core::command_line::Command;
use lexopt::Parser;
use metrics_exporter_prometheus::PrometheusBuilder;
use options::{Action, Cache, Check, File, Format, Make, Options, Product};
use stand_in::StandIn;
use std::io::{ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// An error of which only the text is used: it is shown to the user.
type Failure = Box<dyn std::error::Error>;

/// How a file that `compile` has written begins.
const COMPILED: &[u8] = b"incluster-extension ";

/// The command that runs this program as its own compiler, in a separate process. It is not for users.
const COMPILE_CHILD: &str = "compile-child";

/// The tenant that this command's extensions are loaded for.
const TENANT: &str = "command";

/// How long compiling may take before the user is told about it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many threads to run one sandbox and its connections on. Each takes about 70 MiB of address space, which may be limited.
const THREADS: usize = 2;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == COMPILE_CHILD) {
        return incluster::compile_child();
    }
    let options = match options::parse(Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("incluster: {}; see incluster --help", input::printable(&error));
            return ExitCode::from(2);
        }
    };
    // The host appends its own part to the component's help and completion scripts.
    let rest = match options.action {
        Action::Own(Command::Help) => Some(("\n", options::HELP)),
        Action::Own(Command::Completion(shell)) => Some(("", completion::lines(shell))),
        _ => None,
    };
    // The status 1 of `check` means that the extension is refused.
    let failure = ExitCode::from(if matches!(options.action, Action::Check(_)) { 2 } else { 1 });
    let tokio = match Builder::new_multi_thread().worker_threads(THREADS).enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => {
            eprintln!("incluster: failed to start the threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let executed = tokio.block_on(execute(options));
    // A thread may still be writing output that nobody reads.
    tokio.shutdown_background();
    match executed {
        Ok(status) => {
            if let Some((between, rest)) = rest {
                // The reader may have gone.
                let _ = write!(std::io::stdout(), "{between}{rest}");
            }
            ExitCode::from(u8::try_from(status).unwrap_or(1))
        }
        Err(error) => {
            say(format!("incluster: {}\n", input::printable(&error)));
            failure
        }
    }
}

/// Writes to standard error, but gives up after a second if nobody reads it: whoever does not read the guest's output may not read this
/// either.
fn say(text: String) {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        // The reader may have gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
        let _ = said.send(());
    });
    let _ = heard.recv_timeout(Duration::from_secs(1));
}

async fn execute(options: Options) -> Result<i32, Failure> {
    match &options.action {
        Action::Wit(dir) => return write_contract(dir),
        Action::New(dir, language) => return print(&project::write(dir, *language)?).map(|()| 0),
        _ => {}
    }
    let is_debugged = matches!(&options.action, Action::Run(run) if run.is_debugged);
    if is_debugged {
        show_requests();
    }
    if let Some(address) = options.metrics {
        serve_metrics(address)?;
    }
    let extension = match &options.action {
        Action::Run(run) => Some(&run.file),
        Action::Check(Check { file, .. }) | Action::Make(Make { file, .. }) => Some(file),
        Action::Own(..) | Action::New(..) | Action::Wit(_) => None,
    };
    let runtime = |cache: Option<PathBuf>| {
        let mut runtime = Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).debug(is_debugged);
        if let Some(file) = extension {
            // The program that is running, even if its file has been replaced by another version.
            let compiler = Compiler::child("/proc/self/exe").arg(COMPILE_CHILD);
            runtime = runtime.compiler(compiler).load_limits(file.limits.clone()).refuse_imports(&file.refused);
        }
        match cache {
            Some(folder) => runtime.cache(folder).build(),
            None => runtime.build(),
        }
    };
    let cache = if let Action::Run(run) = &options.action { &run.cache } else { &Cache::None };
    let runtime = match cache {
        Cache::At(folder) => runtime(Some(folder.clone())),
        // The user did not ask for this cache, so it is no error if it cannot be used.
        Cache::OfUser => match runtime(cache_of_user()) {
            Err(Error::CacheFolder { .. }) => runtime(None),
            runtime => runtime,
        },
        Cache::None => runtime(None),
    }?;
    let signal = end_by_signal(&runtime)?;
    let done = act(&runtime, options).await;
    match signal.load(Ordering::Relaxed) {
        0 => done,
        // The status that a shell gives for a program that was ended by a signal.
        signal => Ok(128 + signal),
    }
}

async fn act(runtime: &Runtime, options: Options) -> Result<i32, Failure> {
    let tenant = |name: &str, server, dir: &Path| Tenant::builder(runtime, name).server(server).service_account_dir(dir);
    let server = || -> Result<Server, Failure> {
        let found = options
            .server
            .map_or_else(|| Server::from_environment(|name| std::env::var(name).ok()).map_err(Error::Environment), Ok);
        found.map_err(|error| match error {
            Error::Environment(ConfigError::EnvironmentMissing(_)) => {
                format!("{error}; elsewhere, give --server and --service-account-dir").into()
            }
            error => error.into(),
        })
    };
    match options.action {
        Action::Make(make) => write_product(runtime, &make).await,
        // `execute` has already handled these.
        Action::New(..) | Action::Wit(_) => Ok(0),
        Action::Check(check) => print_inspection(runtime, &check).await,
        Action::Own(command) => {
            // These commands must also work outside a pod.
            let needs_none = matches!(command, Command::Help | Command::Version | Command::Completion(_));
            let server = if needs_none { Server::new("localhost", 443)? } else { server()? };
            // The user can interrupt the command. The token is the user's own, and `config` reports on it.
            let limits = CallLimits { wall_time: Duration::MAX, cpu_time: Duration::MAX, ..CallLimits::default() };
            let tenant = tenant(TENANT, server, &options.service_account_dir)
                .limits(limits)
                .policy(Policy::allow_all())
                .token_access(TokenAccess::Portable);
            Ok(tenant.build()?.run_command(&command.to_args()).await?)
        }
        Action::Run(run) => {
            let bytes = match run.is_precompiled {
                // The file's limits were checked when it was compiled.
                true => std::fs::read(&run.file.path).map_err(|e| format!("failed to read {}: {e}", run.file.path.display()))?,
                false => read(&run.file)?.map_err(|e| in_file(&run.file, &Error::Extension(e)))?,
            };
            if !run.is_precompiled && bytes.starts_with(COMPILED) {
                return Err(format!(
                    "{} is compiled code, as `incluster compile` writes it: run it with --precompiled",
                    run.file.path.display()
                )
                .into());
            }
            if run.is_precompiled && bytes.starts_with(b"\0asm") {
                return Err(format!("{} is not compiled code: run it without --precompiled", run.file.path.display()).into());
            }
            let stand_in = match &run.pods {
                Some(file) => Some(StandIn::start(file).await?),
                None => None,
            };
            let (server, dir) = match &stand_in {
                Some(stand_in) => (stand_in.server.clone(), stand_in.service_account_dir()),
                None => (server().map_err(|error| without_cluster(&error, &run.file))?, &*options.service_account_dir),
            };
            let extension = match run.is_precompiled {
                true => precompiled(runtime, &bytes).await,
                false => patiently(&run.file, runtime.extension(TENANT, &bytes, &names(&run.file))).await,
            };
            let extension = extension.map_err(|e| in_file(&run.file, &e))?;
            let name = run.file.path.file_stem().unwrap_or_default().to_string_lossy();
            let tenant = tenant(&name, server, dir).limits(run.limits).policy(run.policy).build()?;
            tenant.run_extension(&extension, &name, &run.args).await.map_err(|error| match raised_by(&error) {
                Some(option) => format!("{error}; {option} sets another one").into(),
                None => error.into(),
            })
        }
    }
}

/// Adds how to try an extension without a cluster.
fn without_cluster(error: &Failure, file: &File) -> String {
    let file = file.path.display();
    format!("{error}; or try {file} without a cluster: --pods FILE before {file} (what comes after it is the extension's own)")
}

/// Which option of `run` sets the limit that ended it.
fn raised_by(error: &Error) -> Option<&'static str> {
    match error {
        Error::WallTime(_) => Some("--wall-time"),
        Error::CpuTime(_) => Some("--cpu-time"),
        Error::Memory(_) => Some("--memory"),
        _ => None,
    }
}

/// Writes the contract's files to a folder, which is created if it is missing.
fn write_contract(dir: &Path) -> Result<i32, Failure> {
    let failed = |path: &Path, error| format!("failed to write {}: {error}", path.display());
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for (name, text) in incluster::WIT {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(0)
}

/// Shuts the runtime down in order on SIGTERM or SIGINT, without an error message. Returns the number of the signal, 0 until there was one.
fn end_by_signal(runtime: &Runtime) -> Result<Arc<AtomicI32>, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (runtime, ended) = (runtime.clone(), Arc::new(AtomicI32::new(0)));
    let by = ended.clone();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        };
        by.store(signal.as_raw_value(), Ordering::Relaxed);
        runtime.shutdown(Duration::ZERO).await;
        // A second signal ends the process without waiting for anything.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(128 + signal.as_raw_value());
    });
    Ok(ended)
}

async fn write_product(runtime: &Runtime, make: &Make) -> Result<i32, Failure> {
    let is_the_same = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if is_the_same(&make.file.path, &make.output) {
        return Err(format!("{} is the extension itself: name another file after -o", make.output.display()).into());
    }
    let bytes = read(&make.file)?.map_err(|e| in_file(&make.file, &Error::Extension(e)))?;
    let allowed = names(&make.file);
    let made = match make.what {
        #[cfg(feature = "standalone")]
        Product::Standalone => runtime.compose_standalone(TENANT, &bytes, &allowed).await,
        Product::Code => patiently(&make.file, runtime.precompile(TENANT, &bytes, &allowed)).await,
        _ => runtime.compose(TENANT, &bytes, &allowed).await,
    };
    let made = made.map_err(|e| in_file(&make.file, &e))?;
    std::fs::write(&make.output, made).map_err(|e| format!("failed to write {}: {e}", make.output.display()))?;
    Ok(0)
}

/// Runs a compilation. If it takes long, says on a terminal what is being compiled.
async fn patiently<T>(file: &File, compile: impl Future<Output = T>) -> T {
    let mut compile = pin!(compile);
    let patience = if std::io::stderr().is_terminal() { PATIENCE } else { Duration::MAX };
    match timeout(patience, &mut compile).await {
        Ok(done) => done,
        Err(_) => {
            let name = file.path.display().to_string();
            say(format!(
                "incluster: compiling {}; extensions from a cache, or precompiled ones, load in milliseconds\n",
                input::printable(&name)
            ));
            compile.await
        }
    }
}

#[expect(unsafe_code, reason = "the user states by an option that the file is trusted")]
async fn precompiled(runtime: &Runtime, code: &[u8]) -> Result<Extension, Error> {
    // SAFETY: the help says what `--precompiled` means, and the user who gives it can already do all that this process can.
    unsafe { runtime.extension_precompiled(code).await }
}

/// The folder of incluster in the user's cache folder (XDG Base Directory Specification).
fn cache_of_user() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(caches.join("incluster").join("extensions"))
}

/// Returns 0 if the extension can be loaded, and 1 if it is refused.
async fn print_inspection(runtime: &Runtime, check: &Check) -> Result<i32, Failure> {
    let file = &check.file;
    let inspection = match read(file)? {
        Ok(bytes) => runtime.inspect(TENANT, &bytes, &names(file)).await.map_err(|e| in_file(file, &e))?,
        Err(problem) => Inspection::refused(problem),
    };
    let text = match check.format {
        Format::Text => inspection.to_string(),
        Format::Json => {
            let mut json = serde_json::to_value(&inspection)?;
            json["message"] = inspection.problem.as_ref().map(ToString::to_string).into();
            input::json(serde_json::to_string_pretty(&json)? + "\n")
        }
    };
    print(&text)?;
    let is_imported = |name: &&String| inspection.imports.iter().any(|import| import.is_named(name));
    for name in file.allowed.iter().filter(|name| !is_imported(name)) {
        say(format!("incluster: note: --allow {}: the extension imports nothing of this name\n", input::printable(name)));
    }
    Ok(inspection.problem.is_some().into())
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text.as_bytes()).map_err(|e| format!("failed to write to standard output: {e}"))?)
}

/// Writes what the library reports about calls and requests to standard error.
fn show_requests() {
    let ours = Targets::new().with_target("incluster", LevelFilter::DEBUG);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let lines = lines.with_timer(uptime()).with_span_events(FmtSpan::CLOSE);
    tracing_subscriber::registry().with(lines.with_filter(ours)).init();
}

fn names(file: &File) -> Vec<&str> {
    file.allowed.iter().map(String::as_str).collect()
}

/// Reads the file, unless it has more bytes than the limit.
fn read(file: &File) -> Result<Result<Vec<u8>, ExtensionError>, Failure> {
    let value = file.limits.bytes;
    match input::read(&file.path, value) {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            Ok(Err(ExtensionError::OverLimit { limit: LoadLimit::Bytes, value, found: value.saturating_add(1) }))
        }
        Err(error) => Err(format!("failed to read {}: {error}", file.path.display()).into()),
    }
}

fn in_file(file: &File, error: &Error) -> Failure {
    format!("{}: {error}", file.path.display()).into()
}

/// Serves metrics for as long as the process runs.
fn serve_metrics(address: SocketAddr) -> Result<(), Failure> {
    let builder = PrometheusBuilder::new().with_http_listener(address);
    Ok(builder.install().map_err(|e| format!("failed to serve metrics at {address}: {e}"))?)
}
