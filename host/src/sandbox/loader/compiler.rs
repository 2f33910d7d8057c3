//! Where components are compiled: in this process, or in a child.

use super::compose::{Client, Imports};
use super::inspection::Inspection;
use super::inventory::Inventory;
use super::memory::Share;
use super::pipeline::{inspect, not_compiled, not_mapped, on_own_stack, prepare};
use super::process::Program;
use super::protocol::{Action, Answer, Question};
use super::queue::{Place, Queue};
use crate::extension_error::ExtensionError;
use crate::load_limits::{LoadLimit, LoadLimits};
use crate::sandbox::code;
use crate::sandbox::runtime::PLUGIN;
use ring::digest::{Context, SHA256};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use wasmtime::Engine;
use wasmtime::component::Component;

/// How many components are compiled at once, unless the embedder sets another number.
const AT_ONCE: usize = 2;

/// The processor time of a survey.
const SURVEY: Duration = Duration::from_secs(1);

/// How many threads compile one component, unless the embedder sets another number.
const THREADS: usize = 2;

/// Where a [`Runtime`](crate::Runtime) composes and compiles extensions. An embedder must choose: there is no default.
///
/// ```no_run
/// use incluster::{Compiler, Runtime};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let compiler = Compiler::child("/usr/libexec/my-gateway-compile");
/// let runtime = Runtime::builder().compiler(compiler).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Compiler {
    mode: Mode,
    queue: Arc<Queue>,
}

#[derive(Clone)]
enum Mode {
    InProcess,
    Child(Program),
}

impl Compiler {
    /// Compiles in this process, on a separate thread. A component is counted against [`LoadLimits`] first, but the memory and time for
    /// compiling are not limited, and a fault in the composer or compiler ends this process. So this is only for components that you trust as
    /// much as this program. The thread runs to its end even if nobody waits for it any more, and keeps its place in the queue until then.
    pub fn in_process() -> Compiler {
        Compiler { mode: Mode::InProcess, queue: Arc::new(Queue::new(AT_ONCE)) }
    }

    /// Compiles each component in a separate process, with limits of memory and processor time. The program must be one whose whole
    /// `main` is [`compile_child`](crate::compile_child), of this version of this crate. It may be the embedder's own executable, by
    /// `/proc/self/exe` and an argument ([`Compiler::arg`]) that its `main` looks for first:
    ///
    /// ```no_run
    /// # use std::process::ExitCode;
    /// fn main() -> ExitCode {
    ///     if std::env::args_os().nth(1).is_some_and(|arg| arg == "compile-child") {
    ///         return incluster::compile_child();
    ///     }
    ///     // Compiler::child("/proc/self/exe").arg("compile-child")
    /// #   ExitCode::SUCCESS
    /// }
    /// ```
    ///
    /// This needs a tokio runtime with I/O and time enabled.
    pub fn child(program: impl Into<PathBuf>) -> Compiler {
        let program = Program { path: program.into(), args: Vec::new(), threads: THREADS };
        Compiler { mode: Mode::Child(program), queue: Arc::new(Queue::new(AT_ONCE)) }
    }

    /// Adds an argument for the program.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        if let Mode::Child(program) = &mut self.mode {
            program.args.push(arg.into());
        }
        self
    }

    /// How many threads compile one component, at least one. 2 by default. For [`Compiler::in_process`], rayon decides this.
    pub fn threads(mut self, threads: usize) -> Self {
        if let Mode::Child(program) = &mut self.mode {
            program.threads = threads.max(1);
        }
        self
    }

    /// How many components are compiled at once, at least one. 2 by default. The others wait. A tenant's second component comes after the first
    /// one of every other tenant that waits.
    pub fn at_once(mut self, components: usize) -> Self {
        self.queue = Arc::new(Queue::new(components.max(1)));
        self
    }
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mode {
            Mode::InProcess => f.write_str("Compiler::in_process()"),
            Mode::Child(program) => write!(f, "Compiler::child({:?})", program.path),
        }
    }
}

/// A component, and all that is needed to compile, compose or inspect it.
pub(crate) struct Job<'a> {
    pub(crate) compiler: &'a Compiler,
    pub(crate) engine: &'a Engine,
    pub(crate) limits: &'a LoadLimits,
    pub(crate) tenant: &'a str,
    pub(crate) component: &'a [u8],
    pub(crate) imports: Imports,
}

impl Job<'_> {
    /// Waits until it is this tenant's turn. The place is held until the work on the component has ended.
    pub(crate) async fn place(&self) -> Place {
        self.compiler.queue.enter(self.tenant).await
    }

    /// Compiles the component.
    pub(crate) async fn compile(&self, place: Place) -> Result<Vec<u8>, ExtensionError> {
        match &self.compiler.mode {
            Mode::InProcess => {
                let engine = self.engine.clone();
                let compile = move |component: &[u8], imports: &Imports, limits: &LoadLimits| {
                    let composed = prepare(component, Client::HostTls, imports, limits, &mut Inventory::default())?;
                    engine.precompile_component(&composed).map_err(|e| not_compiled(&e))
                };
                self.in_process(place, compile).await?
            }
            Mode::Child(program) => match self.ask(program, Action::Load, &place).await? {
                (Answer::Made(_), code) => Ok(code),
                _ => Err(program.not_usable(OTHER_ANSWER)),
            },
        }
    }

    /// Composes the component with the client.
    pub(crate) async fn compose(&self, place: Place, client: Client) -> Result<Vec<u8>, ExtensionError> {
        match &self.compiler.mode {
            Mode::InProcess => {
                let compose = move |component: &[u8], imports: &Imports, limits: &LoadLimits| {
                    prepare(component, client, imports, limits, &mut Inventory::default())
                };
                self.in_process(place, compose).await?
            }
            Mode::Child(program) => match self.ask(program, Action::Compose(client), &place).await? {
                (Answer::Made(_), composition) => Ok(composition),
                _ => Err(program.not_usable(OTHER_ANSWER)),
            },
        }
    }

    /// Inspects the component, and compiles it if nothing is wrong.
    pub(crate) async fn inspect(&self, place: Place) -> Result<(Inspection, Option<Component>), ExtensionError> {
        let (mut inspection, code) = match &self.compiler.mode {
            Mode::InProcess => {
                let engine = self.engine.clone();
                let inspect =
                    move |component: &[u8], imports: &Imports, limits: &LoadLimits| inspect(&engine, component, imports, limits);
                self.in_process(place, inspect).await?
            }
            Mode::Child(program) => {
                let asked = match self.ask(program, Action::Inspect, &place).await {
                    // The child died while compiling. Counting alone will not kill it.
                    Err(
                        problem @ (ExtensionError::CompileMemory { .. }
                        | ExtensionError::CompileCpuTime { .. }
                        | ExtensionError::CompileWallTime { .. }
                        | ExtensionError::ArtifactTooLarge { .. }
                        | ExtensionError::CompilerDied { .. }),
                    ) => self.survey(program, problem, &place).await,
                    asked => asked?,
                };
                match asked {
                    (Answer::Inspected(inspection, _), code) => (*inspection, code),
                    _ => return Err(program.not_usable(OTHER_ANSWER)),
                }
            }
        };
        if inspection.problem.is_some() {
            return Ok((inspection, None));
        }
        // Only mapping the code shows whether the component has room in a place of the pool.
        let mapped = map(self.engine, code.into()).await;
        inspection.problem = mapped.as_ref().err().cloned();
        Ok((inspection, mapped.ok()))
    }

    /// Inspects a component that killed the compiler, without compiling it. Counting is quick, unless the counting killed the compiler.
    async fn survey(&self, program: &Program, problem: ExtensionError, place: &Place) -> (Answer, Vec<u8>) {
        let brief = LoadLimits { compile_cpu_time: SURVEY, ..self.limits.clone() };
        let job = Job { limits: &brief, imports: self.imports.clone(), ..*self };
        let surveyed = job.ask(program, Action::Survey(problem.clone()), place).await;
        surveyed.unwrap_or_else(|_| (Answer::Inspected(Box::new(Inspection::refused(problem)), 0), Vec::new()))
    }

    async fn in_process<T: Send + 'static>(
        &self,
        place: Place,
        task: impl FnOnce(&[u8], &Imports, &LoadLimits) -> T + Send + 'static,
    ) -> Result<T, ExtensionError> {
        let (component, imports, limits) = (self.component.to_vec(), self.imports.clone(), self.limits.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _until_it_ends = place;
            on_own_stack(|| task(&component, &imports, &limits))
        });
        let done = done.await.unwrap_or_else(|error| Err(error.into()));
        done.map_err(|error| ExtensionError::CompilerDied { how: error.to_string() })
    }

    async fn ask(&self, program: &Program, action: Action, _place: &Place) -> Result<(Answer, Vec<u8>), ExtensionError> {
        let bytes = self.component.len() as u64;
        // The child would say so, too, but only after it has read all of it.
        LoadLimit::Bytes.check(self.limits, bytes)?;
        let memory = Share::of(self.limits.memory_for(bytes)).await?;
        let question = Question {
            action,
            imports: self.imports.clone(),
            limits: self.limits.clone(),
            engine: settings_of(self.engine),
            memory: memory.bytes(),
            cpu_time: self.limits.cpu_time_for(bytes),
            bytes,
        };
        program.ask(&question, self.component, self.limits.artifact_for(bytes)).await
    }
}

const OTHER_ANSWER: &str = "it gave an answer of another kind than it was asked for";

/// A hash of the client that extensions are composed with, and of the rules: both may change within a version of this crate before its release.
static COMPOSED_BY: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let mut hash = Context::new(&SHA256);
    hash.update(PLUGIN);
    hash.update(&RULES.to_le_bytes());
    hash.finish().as_ref().first_chunk().copied().unwrap_or_default()
});

/// A number for the code that checks and composes extensions (FNV-1a of its source).
const RULES: u64 = {
    let sources: &[&[u8]] = &[
        include_bytes!("compose.rs"),
        include_bytes!("count.rs"),
        include_bytes!("count/aliases.rs"),
        include_bytes!("count/frame.rs"),
        include_bytes!("count/types.rs"),
        include_bytes!("inventory.rs"),
        include_bytes!("pipeline.rs"),
    ];
    let (mut hash, mut source) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while source < sources.len() {
        let (bytes, mut at) = (sources[source], 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        source += 1;
    }
    hash
};

/// A number that differs for engines with incompatible code, and for extensions composed with another client or by other rules.
pub(crate) fn settings_of(engine: &Engine) -> u64 {
    let mut settings = Settings(Context::new(&SHA256));
    settings.write(&*COMPOSED_BY);
    engine.precompile_compatibility_hash().hash(&mut settings);
    settings.finish()
}

/// A stable hasher. The standard library's may change in its next version, which another process may have been built with.
struct Settings(Context);

impl Hasher for Settings {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.clone().finish().as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }
}

/// Code for an engine, by its origin.
#[derive(Clone)]
pub(super) enum Code {
    /// Made by this process, or by one that it started from a program that the embedder named, and received through a pipe.
    Made(Arc<Vec<u8>>),
    /// Made by such a process of this user, which stored it where nobody else can write; or by somebody that the embedder vouches for.
    Kept(Arc<File>),
}

impl From<Vec<u8>> for Code {
    fn from(code: Vec<u8>) -> Code {
        Code::Made(Arc::new(code))
    }
}

/// Maps code, on a thread that may block.
pub(super) async fn map(engine: &Engine, code: Code) -> Result<Component, ExtensionError> {
    let engine = engine.clone();
    let mapped = tokio::task::spawn_blocking(move || deserialize(&engine, &code).map_err(|e| not_mapped(&e)));
    mapped.await.unwrap_or_else(|error| Err(ExtensionError::CompilerDied { how: error.to_string() }))
}

#[expect(unsafe_code, reason = "deserializing trusts the bytes: `Code` says where they are from")]
fn deserialize(engine: &Engine, code: &Code) -> wasmtime::Result<Component> {
    match code {
        // SAFETY: the bytes are what `precompile_component` returned; nobody else can write to the pipe.
        Code::Made(code) => unsafe { code::component(engine, code) },
        // SAFETY: the bytes are what `precompile_component` returned, in a sealed file.
        Code::Kept(code) => unsafe { code::component_of(engine, code) },
    }
}
