//! The compiling process, which limits itself before it reads the component.

use super::pipeline::{compile, inspect, on_own_stack, prepare, survey};
use super::protocol::{self, Action, Answer, Question};
use super::{compiler, inventory::Inventory};
use crate::sandbox::{compile as settings, movable};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::set_no_new_privs;
use std::fs;
use std::io::{self, Read, Write, stdin, stdout};
use std::process::ExitCode;
use wasmtime::Engine;

/// The niceness of the process: it gives way to processes that serve.
const NICENESS: i32 = 10;

/// The address space that the process maps in addition to the memory that it writes to: its program, stacks, and what the allocator reserves.
const RESERVED: u64 = 512 << 20;

/// Compiles one component: the whole `main` of a program for [`Compiler::child`](crate::Compiler::child). The process reads the component
/// from its standard input, writes the result to its standard output, and ends.
///
/// Before it reads the component, the process limits itself: its memory, address space and processor time, no core dump, no file or socket
/// beyond standard input, output and error, no new privileges. It gives way to other processes. As this function closes all other open files,
/// call it first in `main`.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     incluster::compile_child()
/// }
/// ```
pub fn compile_child() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host reads this.
            let _ = writeln!(io::stderr(), "incluster: compiling failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> io::Result<()> {
    close_inherited()?;
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let question: Question = protocol::read(&mut input)?;
    limit(&question)?;
    let Some(engine) = engine(question.engine)? else { return protocol::write(&mut output, &Answer::OtherEngine) };
    let mut component = Vec::with_capacity(usize::try_from(question.bytes).map_err(io::Error::other)?);
    input.take(question.bytes).read_to_end(&mut component)?;
    let (answer, made) = on_own_stack(|| work(&engine, &question, &component))?;
    protocol::write(&mut output, &answer)?;
    output.write_all(&made)?;
    output.flush()
}

/// The engine with these settings, if this program can make it.
fn engine(asked: u64) -> io::Result<Option<Engine>> {
    let ours = [
        settings::configuration,
        #[cfg(feature = "debug")]
        crate::sandbox::debug::configuration,
    ];
    for configuration in ours {
        for config in [configuration(), movable::configuration(configuration())] {
            let engine = Engine::new(&config).map_err(io::Error::other)?;
            if compiler::settings_of(&engine) == asked {
                return Ok(Some(engine));
            }
        }
    }
    Ok(None)
}

/// Closes all files but standard input, output and error: open files of the process that started this one may be inherited.
fn close_inherited() -> io::Result<()> {
    /// The first file beyond standard input, output and error.
    const FIRST: i32 = 3;
    let open = fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The list contains the descriptor of the folder itself, which is closed by then.
    let open: Vec<i32> = open.filter(|&file| file >= FIRST).collect();
    for file in open {
        close(file);
    }
    Ok(())
}

#[expect(unsafe_code, reason = "closing a file by its number trusts that nobody owns it: this process has opened none yet")]
fn close(file: i32) {
    // SAFETY: this is the first thing that this process does; what it has opened itself has been closed again.
    unsafe { rustix::io::close(file) }
}

fn work(engine: &Engine, question: &Question, component: &[u8]) -> (Answer, Vec<u8>) {
    let Question { action, imports, limits, .. } = question;
    let made = match action {
        Action::Load => compile(engine, component, imports, limits, &mut Inventory::default()),
        Action::Survey(problem) => {
            let inspection = survey(component, imports, limits, problem.clone());
            return (Answer::Inspected(Box::new(inspection), 0), Vec::new());
        }
        Action::Compose(client) => prepare(component, *client, imports, limits, &mut Inventory::default()),
        Action::Inspect => {
            let (inspection, code) = inspect(engine, component, imports, limits);
            return (Answer::Inspected(Box::new(inspection), code.len() as u64), code);
        }
    };
    match made {
        Ok(made) => (Answer::Made(made.len() as u64), made),
        Err(error) => (Answer::Refused(error), Vec::new()),
    }
}

fn limit(question: &Question) -> io::Result<()> {
    let at_most = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit) };
    let seconds = question.cpu_time.as_secs() + u64::from(question.cpu_time.subsec_nanos() > 0);
    setrlimit(Resource::Core, at_most(0))?;
    setrlimit(Resource::Fsize, at_most(0))?;
    // Open files stay open; nothing more can be opened, not even in place of a closed file.
    setrlimit(Resource::Nofile, at_most(0))?;
    set_no_new_privs(true)?;
    // The limits of the memory that the process may write to, and of all that it may map, some of which is only reserved, or is the program
    // itself.
    lower(Resource::Data, question.memory)?;
    lower(Resource::As, question.memory.saturating_add(RESERVED))?;
    // At the soft limit, SIGXCPU ends the process. The host recognizes the limit by that signal.
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + 1) })?;
    setpriority_process(None, NICENESS)?;
    Ok(())
}

/// Limits a resource, but never above what this process was started with, which only root may do.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
    Ok(setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?)
}
