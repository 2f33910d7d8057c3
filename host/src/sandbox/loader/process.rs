//! Starts the compiling process, sends it a question, and interprets its answer or its end.

use super::protocol::{self, Answer, Question};
use crate::extension_error::ExtensionError;
use crate::figures::{self, Counted};
use incluster_core::text;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

#[cfg(test)]
mod tests;

/// How long a child is waited for, as a multiple of its processor time: it may have to share the processor, or have a part of one.
const WAIT: u32 = 30;

/// The longest time that a child is waited for.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// How many bytes of a child's standard error are kept.
const MAX_SAID: u64 = 16 << 10;

/// The environment variable that marks compiling processes. Without it, a program whose `main` forgets to call `compile_child` would start
/// children of its own, and so on.
const IN_CHILD: &str = "INCLUSTER_COMPILE_CHILD";

/// The program that compiles, and how it is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) threads: usize,
}

impl Program {
    /// Asks a new process, which ends with the future. At most `most` bytes are accepted as its result.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        component: &[u8],
        most: u64,
    ) -> Result<(Answer, Vec<u8>), ExtensionError> {
        if std::env::var_os(IN_CHILD).is_some() {
            return Err(self.not_usable(
                "this is a compiling process, and does something else: its main must call incluster::compile_child()",
            ));
        }
        let _counted = Counted::one(metrics::gauge!(figures::COMPILING));
        let mut child = self.start().map_err(|e| self.not_usable(format_args!("it cannot be started: {e}")))?;
        let limit = question.cpu_time.saturating_mul(WAIT).min(MAX_WAIT);
        let Ok(talked) = timeout(limit, talk(&mut child, question, component, most)).await else {
            return Err(ExtensionError::CompileWallTime { limit });
        };
        let Talk { status, answered, said } = talked.map_err(|e| self.not_usable(e))?;
        if let Err(TooLarge) = answered {
            return Err(ExtensionError::ArtifactTooLarge { limit: most });
        }
        if !status.success() {
            return Err(death(status, &said, question));
        }
        match answered {
            Ok(Ok((Answer::OtherEngine, _))) => {
                Err(self.not_usable("this runtime's engine has other settings than Runtime::builder() gives it"))
            }
            Ok(Ok((Answer::Refused(error), _))) => Err(error),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.not_usable("it ended without an answer")),
            Ok(Err(error)) => Err(self.not_usable(format_args!("its output is not an answer: {error}"))),
            Err(TooLarge) => Err(ExtensionError::ArtifactTooLarge { limit: most }),
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // The child must not see this process's environment.
        command.env_clear().envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        command.env(IN_CHILD, "1").env("RAYON_NUM_THREADS", self.threads.to_string());
        // By default, glibc reserves 64 MiB of address space for each thread.
        command.env("MALLOC_ARENA_MAX", "2");
        command.spawn()
    }

    pub(crate) fn not_usable(&self, reason: impl std::fmt::Display) -> ExtensionError {
        ExtensionError::CompilerNotUsable { program: text::name(&self.path.to_string_lossy()), reason: text::error(&reason) }
    }
}

/// The result of talking to a child: how it ended, its answer, and its standard error.
struct Talk {
    status: ExitStatus,
    answered: Result<io::Result<(Answer, Vec<u8>)>, TooLarge>,
    said: Vec<u8>,
}

/// The result is larger than it may be, and was not read.
struct TooLarge;

async fn talk(child: &mut Child, question: &Question, component: &[u8], most: u64) -> io::Result<Talk> {
    let (Some(mut input), Some(output), Some(mut error)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let mut head = Vec::new();
    protocol::write(&mut head, question)?;
    let ask = async move {
        // A child that ends early does not read all of it; how it ended says why.
        if input.write_all(&head).await.is_ok() && input.write_all(component).await.is_ok() {
            let _ = input.shutdown().await;
        }
    };
    let mut said = Vec::new();
    let overhear = async {
        (&mut error).take(MAX_SAID).read_to_end(&mut said).await?;
        tokio::io::copy(&mut error, &mut tokio::io::sink()).await
    };
    // If the output is not read to its end, it is closed, which ends the child.
    let ((), answered, overheard) = tokio::join!(ask, answer(output, most), overhear);
    overheard?;
    Ok(Talk { status: child.wait().await?, answered, said })
}

async fn answer(mut output: ChildStdout, most: u64) -> Result<io::Result<(Answer, Vec<u8>)>, TooLarge> {
    let mut head = vec![0; protocol::START];
    if let Err(error) = output.read_exact(&mut head).await {
        return Ok(Err(error));
    }
    let length = match protocol::head_length(&head) {
        Ok(length) => length,
        Err(error) => return Ok(Err(error)),
    };
    head.resize(protocol::START + length, 0);
    if let Err(error) = output.read_exact(&mut head[protocol::START..]).await {
        return Ok(Err(error));
    }
    let answer: Answer = match protocol::read(&mut head.as_slice()) {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    let (Answer::Made(bytes) | Answer::Inspected(_, bytes)) = answer else { return Ok(Ok((answer, Vec::new()))) };
    if bytes > most {
        return Err(TooLarge);
    }
    let mut made = vec![0; usize::try_from(bytes).map_err(|_| TooLarge)?];
    Ok(output.read_exact(&mut made).await.map(|_| (answer, made)))
}

/// Why a child ended without an answer.
fn death(status: ExitStatus, said: &[u8], question: &Question) -> ExtensionError {
    let is_all_that_is_left = question.memory < question.limits.memory_for(question.bytes);
    /// The signal at the limit of processor time of `setrlimit`.
    const SIGXCPU: i32 = 24;
    let said = String::from_utf8_lossy(said);
    // The words of Rust's standard library; of the system if it refuses to map memory, or a thread's stack; and of the compiler.
    let words = ["memory allocation of ", "Cannot allocate memory", "Resource temporarily unavailable", "out-of-memory"];
    let is_memory = words.iter().any(|words| said.contains(words));
    match status.signal() {
        Some(SIGXCPU) => ExtensionError::CompileCpuTime { limit: question.cpu_time },
        _ if is_memory => ExtensionError::CompileMemory { limit: question.memory, is_all_that_is_left },
        _ => ExtensionError::CompilerDied { how: text::error(&format_args!("{status}: {}", said.trim())) },
    }
}
