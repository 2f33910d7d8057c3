//! Programs that are not a compiler, or a compiler that fails.

use super::*;
use crate::load_limits::LoadLimits;
use crate::sandbox::loader::compose::Imports;
use crate::sandbox::loader::protocol::Action;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::yield_now;

fn question(cpu_time: Duration) -> Question {
    Question {
        action: Action::Load,
        imports: Imports::default(),
        limits: LoadLimits::default(),
        engine: 0,
        memory: LoadLimits::default().memory_for(3),
        cpu_time,
        bytes: 3,
    }
}

/// A shell script as the program.
fn script(lines: &str) -> Program {
    Program { path: "/bin/sh".into(), args: vec!["-c".into(), lines.into()], threads: 1 }
}

async fn ask(program: &Program) -> ExtensionError {
    program.ask(&question(Duration::from_secs(10)), b"abc", 1 << 20).await.unwrap_err()
}

#[tokio::test]
async fn a_program_that_is_not_a_compiler_is_not_usable() {
    for (lines, says) in [
        ("cat >/dev/null; echo hello, I am another program, and have much to say", "does not speak this version's protocol"),
        ("cat >/dev/null", "ended without an answer"),
        ("exit 0", "ended without an answer"),
        ("cat", "is not an answer"),
    ] {
        let error = ask(&script(lines)).await;
        assert!(
            matches!(error, ExtensionError::CompilerNotUsable { .. }) && error.to_string().contains(says),
            "{lines}: {error}"
        );
    }
    let absent = Program { path: "/absent/program".into(), args: Vec::new(), threads: 1 };
    let error = ask(&absent).await;
    assert!(matches!(&error, ExtensionError::CompilerNotUsable { reason, .. } if reason.contains("No such file")), "{error}");
}

#[tokio::test]
async fn the_error_says_how_a_child_died() {
    let said = |lines: &str| script(lines);
    let memory = ask(&said("cat >/dev/null; echo memory allocation of 9 bytes failed >&2; kill -ABRT $$")).await;
    assert_eq!(memory, ExtensionError::CompileMemory { limit: LoadLimits::default().memory_for(3), is_all_that_is_left: false });
    let time = ask(&said("cat >/dev/null; kill -XCPU $$")).await;
    assert_eq!(time, ExtensionError::CompileCpuTime { limit: Duration::from_secs(10) });
    for (lines, says) in [
        ("printf 'panicked at \\033[2J%0100000d' 7 >&2; exit 101", "exit status: 101: panicked at \\u{1b}[2J00"),
        ("kill -SEGV $$", "signal: 11 (SIGSEGV)"),
        ("kill -KILL $$", "signal: 9 (SIGKILL)"),
    ] {
        let ExtensionError::CompilerDied { how } = ask(&said(lines)).await else { panic!("{lines}") };
        assert!(how.contains(says) && how.len() < 4200, "{how}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let head = r#"printf 'incluster-compile %s\n\024\000\000\000{"Made":99999999999}'"#;
    let endless = script(&format!("{head} {}; exec cat /dev/zero", env!("CARGO_PKG_VERSION")));
    let asked = endless.ask(&question(Duration::from_secs(10)), b"abc", 1 << 20).await;
    assert_eq!(asked, Err(ExtensionError::ArtifactTooLarge { limit: 1 << 20 }));
    let zeros = ask(&script("exec cat /dev/zero")).await;
    assert!(matches!(zeros, ExtensionError::CompilerDied { .. } | ExtensionError::CompilerNotUsable { .. }), "{zeros}");
}

#[tokio::test]
async fn a_child_that_does_nothing_times_out() {
    let brief = question(Duration::from_millis(1));
    let asked = script("exec sleep 1000").ask(&brief, &vec![0; 1 << 20], 1 << 20).await;
    assert_eq!(asked, Err(ExtensionError::CompileWallTime { limit: Duration::from_millis(30) }));
}

#[tokio::test]
async fn a_child_ends_with_its_call_and_has_nothing_of_this_processs_environment() {
    let dir = TempDir::new().unwrap();
    assert!(std::env::var_os("PATH").is_some());
    let lines = format!("cd '{}'; export -p >env; echo $$ >pid.new; mv pid.new pid; exec sleep 1000", dir.path().display());
    let program = script(&lines);
    let (pid, asked) = (dir.path().join("pid"), question(Duration::from_secs(1000)));
    let started = async {
        while !pid.exists() {
            yield_now().await;
        }
    };
    tokio::select! {
        asked = program.ask(&asked, b"abc", 1 << 20) => panic!("{asked:?}"),
        () = started => {}
    }
    let environment = fs::read_to_string(dir.path().join("env")).unwrap();
    assert!(environment.contains("RAYON_NUM_THREADS='1'") && !environment.contains("CARGO"), "{environment}");
    // The call was dropped: its process is gone, or dead and not yet waited for.
    let status = Path::new("/proc").join(fs::read_to_string(&pid).unwrap().trim()).join("status");
    let ended = async {
        while fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), ended).await.unwrap();
}
