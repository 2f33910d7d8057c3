//! Asks the process that compiles, and understands how it ends.

use super::error::ExtensionError;
use super::protocol::{self, Answer, Question};
use crate::text;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

#[cfg(test)]
mod tests;

/// So many times the processor time that a child may have it is waited for: it may have to share the processor, or have a part of one.
const WAIT: u32 = 30;

/// What a child says on standard error is kept up to here: 16 KiB.
const MAX_SAID: u64 = 16 << 10;

/// An answer's head, in bytes, beyond what was made.
const MAX_HEAD: u64 = 64 << 20;

/// The program that compiles, and how it is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) threads: usize,
}

impl Program {
    /// Asks a new process. It ends with the future.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        component: &[u8],
        most: u64,
    ) -> Result<(Answer, Vec<u8>), ExtensionError> {
        let mut child = self.start().map_err(|e| self.not_usable(format_args!("it cannot be started: {e}")))?;
        let limit = question.cpu_time.saturating_mul(WAIT);
        let Ok(talked) = timeout(limit, talk(&mut child, question, component, most)).await else {
            return Err(ExtensionError::CompileWallTime { limit });
        };
        let Talk { status, answered, said } = talked.map_err(|e| self.not_usable(e))?;
        if answered.len() as u64 > most + MAX_HEAD {
            return Err(ExtensionError::ArtifactTooLarge { limit: most });
        }
        if !status.success() {
            return Err(death(status, &said, question));
        }
        let mut from = answered.as_slice();
        if from.is_empty() {
            return Err(self.not_usable("it ended without an answer"));
        }
        let answer: Answer =
            protocol::read(&mut from).map_err(|e| self.not_usable(format_args!("what it says is not an answer: {e}")))?;
        match answer {
            Answer::OtherEngine => {
                Err(self.not_usable("this runtime's engine has other settings than Runtime::builder() gives it"))
            }
            Answer::Made(bytes) if bytes != from.len() as u64 => Err(self.not_usable("its answer is not as long as it says")),
            Answer::Made(bytes) if bytes > most => Err(ExtensionError::ArtifactTooLarge { limit: most }),
            Answer::Refused(error) => Err(error),
            answer => {
                let head = answered.len() - from.len();
                let mut made = answered;
                made.drain(..head);
                Ok((answer, made))
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // What is in this process's environment is none of a component's business.
        command.env_clear().envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        command.env("RAYON_NUM_THREADS", self.threads.to_string());
        // By default, glibc reserves 64 MiB of address space for each thread.
        command.env("MALLOC_ARENA_MAX", "2");
        command.spawn()
    }

    pub(crate) fn not_usable(&self, reason: impl std::fmt::Display) -> ExtensionError {
        ExtensionError::CompilerNotUsable { program: text::name(&self.path.to_string_lossy()), reason: text::error(&reason) }
    }
}

/// How a conversation went.
struct Talk {
    status: ExitStatus,
    answered: Vec<u8>,
    said: Vec<u8>,
}

async fn talk(child: &mut Child, question: &Question, component: &[u8], most: u64) -> io::Result<Talk> {
    let (Some(mut input), Some(output), Some(mut error)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let mut head = Vec::new();
    protocol::write(&mut head, question)?;
    let ask = async move {
        // A child that ends early does not read it all, and how it ended says why.
        let _ = async {
            input.write_all(&head).await?;
            input.write_all(component).await?;
            input.shutdown().await
        }
        .await;
    };
    let (mut answered, mut said) = (Vec::new(), Vec::new());
    // One byte more than it may be tells that it is too long; what comes after that is not read, which ends the child.
    let listen = async { output.take(most + MAX_HEAD + 1).read_to_end(&mut answered).await };
    let overhear = async {
        (&mut error).take(MAX_SAID).read_to_end(&mut said).await?;
        tokio::io::copy(&mut error, &mut tokio::io::sink()).await
    };
    let ((), listened, overheard) = tokio::join!(ask, listen, overhear);
    listened?;
    overheard?;
    Ok(Talk { status: child.wait().await?, answered, said })
}

/// Why a child ended without an answer.
fn death(status: ExitStatus, said: &[u8], question: &Question) -> ExtensionError {
    let is_all_that_is_left = question.memory < question.limits.memory_for(question.bytes);
    /// By `setrlimit`'s limit of processor time.
    const SIGXCPU: i32 = 24;
    let said = String::from_utf8_lossy(said);
    // The words of Rust's standard library, of the system's for what it does not map, and of the compiler's.
    let is_memory = ["memory allocation of ", "Cannot allocate memory", "out-of-memory"].iter().any(|words| said.contains(words));
    match status.signal() {
        Some(SIGXCPU) => ExtensionError::CompileCpuTime { limit: question.cpu_time },
        _ if is_memory => ExtensionError::CompileMemory { limit: question.memory, is_all_that_is_left },
        _ => ExtensionError::CompilerDied { how: text::error(&format_args!("{status}: {}", said.trim())) },
    }
}
