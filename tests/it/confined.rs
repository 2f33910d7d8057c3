//! Tests of the `incluster` binary with little address space, and where the kernel refuses executable memory files.

use crate::command::{Output, command_in};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use testbed::Testbed;
use tokio::process::Command;

const POLICY: &str = r#"{"rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["shop"]}]}"#;

/// One GiB in KiB, the unit of `ulimit -v`.
const GIB: u64 = 1 << 20;

/// The binary, started by another program that executes its last arguments.
fn within(program: &[&str], testbed: &Testbed, args: &[&str]) -> Command {
    let binary = command_in(testbed, args);
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(binary.as_std().get_program()).args(binary.as_std().get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

/// Runs the binary with this much address space.
async fn limited(kibibytes: u64, testbed: &Testbed, args: &[&str]) -> Output {
    let script = format!("ulimit -v {kibibytes}; {UNPRIVILEGED} exec \"$0\" \"$@\"");
    Output::of(&mut within(&["sh", "-c", &script], testbed, args)).await
}

/// The beginning of a script that drops the privilege to raise a limit again, which root has.
const UNPRIVILEGED: &str =
    "setpriv --bounding-set=-sys_resource true 2>&- && exec setpriv --bounding-set=-sys_resource \"$0\" \"$@\";";

/// An extension that lists pods, and its policy.
fn extension() -> (TempDir, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("pods.wasm"), extensions::PODS).unwrap();
    std::fs::write(at("policy.json"), POLICY).unwrap();
    let files = [at("policy.json"), at("pods.wasm")];
    (dir, files)
}

#[track_caller]
fn lists(output: &Output) {
    assert_eq!((output.status, &*output.stderr), (0, ""));
    assert_eq!(output.stdout.matches("catalog-46f22f2a56-9e90c4").count(), 1, "{}", output.stdout);
}

/// 512 GiB is an address space of 39 bits, of which a process has half with RISC-V's Sv39. 8 GiB has room for one sandbox of the client but
/// not for one of an extension, which may have more memories. 512 MiB has room for neither.
#[tokio::test]
async fn a_small_address_space_is_enough() {
    let testbed = Testbed::start().await;
    let (_dir, [policy, extension]) = extension();
    for kibibytes in [512 * GIB, 256 * GIB, 8 * GIB, GIB / 2] {
        lists(&limited(kibibytes, &testbed, &["pods", "-o", "name"]).await);
        lists(&limited(kibibytes, &testbed, &["run", "--policy", &policy, &extension]).await);
    }
}

#[tokio::test]
async fn an_address_space_that_is_too_small_says_what_is_enough() {
    let testbed = Testbed::start().await;
    for (args, enough) in [(&["pods", "-o", "name"][..], 6 * GIB), (&["check", "/dev/null"], 18 * GIB)] {
        let output = limited(GIB / 5, &testbed, args).await;
        assert_eq!((output.stdout.as_str(), output.stderr.lines().count()), ("", 1), "{}", output.stderr);
        for part in ["the address space of this process has no room for one sandbox", &format!("(ulimit -v {enough})")] {
            assert!(output.stderr.contains(part), "{part} in {}", output.stderr);
        }
    }
    lists(&limited(6 * GIB, &testbed, &["pods", "-o", "name"]).await);
}

/// A Python program that makes the kernel refuse memory files without `MFD_NOEXEC_SEAL`, as Linux 6.3 to 6.5 do if `vm.memfd_noexec` is 2,
/// and then executes its arguments. It exits with 77 if it cannot do that.
const REFUSING: &str = "
import ctypes, errno, os, platform, struct, sys
calls = {'x86_64': 319, 'aarch64': 279}
NOEXEC_SEAL, NO_NEW_PRIVS, SECCOMP, FILTER = 8, 38, 22, 2
libc = ctypes.CDLL(None)
def step(code, value, otherwise=0): return struct.pack('HBBI', code, 0, otherwise, value)
def filter(call):
    load, equal, has, end = 0x20, 0x15, 0x45, 0x06
    flags = 24
    # The second jump skips the refusal if the flag is set.
    return [step(load, 0), step(equal, call, 3), step(load, flags), struct.pack('HBBI', has, 1, 0, NOEXEC_SEAL),
            step(end, 0x50000 | errno.EINVAL), step(end, 0x7fff0000)]
class Program(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
if platform.machine() not in calls: sys.exit(77)
steps = b''.join(filter(calls[platform.machine()]))
buffer = ctypes.create_string_buffer(steps, len(steps))
program = Program(len(steps) // 8, ctypes.addressof(buffer))
if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, ctypes.byref(program)): sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])";

/// A script for a new PID namespace, because the setting belongs to a PID namespace.
const IN_NAMESPACE: &str = "echo 2 >/proc/sys/vm/memfd_noexec || exit 77; exec \"$0\" \"$@\"";

/// Reports that a test did not run. It writes to stderr directly, because the test harness would capture a macro's output.
fn ignored(test: &str, reason: &str) {
    std::io::stderr().write_all(format!("ignored: {test}: {reason}\n").as_bytes()).unwrap();
}

/// Lists pods within a program: with the client, for which wasmtime makes a memory file, and with an extension, whose token is in another.
async fn lists_within(name: &str, program: &[&str]) {
    let testbed = Testbed::start().await;
    let (_dir, [policy, extension]) = extension();
    let tried = Command::new(program[0]).args(&program[1..]).arg("/bin/true").output().await;
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return ignored(name, "it needs root, Linux 6.3, unshare and python3");
    }
    lists(&Output::of(&mut within(program, &testbed, &["pods", "-o", "name"])).await);
    lists(&Output::of(&mut within(program, &testbed, &["run", "--policy", &policy, &extension])).await);
}

#[tokio::test]
async fn files_in_memory_that_may_be_executed_are_not_needed() {
    lists_within("files_in_memory_that_may_be_executed_are_not_needed", &["python3", "-c", REFUSING]).await;
}

/// From Linux 6.6 on, this setting makes memory files non-executable unless the program asks for an executable one.
#[tokio::test]
async fn vm_memfd_noexec_may_be_2() {
    if !Path::new("/proc/sys/vm/memfd_noexec").exists() {
        return ignored("vm_memfd_noexec_may_be_2", "it needs Linux 6.3");
    }
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", IN_NAMESPACE];
    lists_within("vm_memfd_noexec_may_be_2", &namespace).await;
}
