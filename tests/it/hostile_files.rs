//! Tests of extension files that are made to kill the process that loads them or to fill its memory.

use crate::{RUNTIME, compiler, load, tenant};
use extensions::hostile;
use incluster::{Compiler, Ctx, Error, ExtensionError, LoadLimit, LoadLimits, Pool, Runtime, Sandboxes};
use std::process::Stdio;
use std::time::Duration;
use testbed::Testbed;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{Instance, TypedFunc};

async fn refusal(runtime: &Runtime, component: &[u8]) -> ExtensionError {
    match runtime.extension("hostile", component, &[]).await {
        Err(Error::Extension(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn building(limits: LoadLimits) -> Result<Runtime, Error> {
    Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).compiler(compiler()).load_limits(limits).build()
}

/// Hostile files are refused even on a tokio worker, whose stack is small, and the process goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn hostile_files_are_refused_wherever_they_are_compiled() {
    let in_process =
        Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).compiler(Compiler::in_process()).build().unwrap();
    for runtime in [&*RUNTIME, &in_process] {
        for (file, limit) in [
            (hostile::nested_types(700), LoadLimit::Nesting),
            (hostile::chained_types(3_000), LoadLimit::Nesting),
            (hostile::instantiated(25, 2), LoadLimit::Nesting),
            (hostile::instantiated(3, 900), LoadLimit::Instances),
            (hostile::nested_components(20_000), LoadLimit::Nesting),
            (hostile::empty_functions(300_000), LoadLimit::Functions),
            (hostile::closures(30), LoadLimit::Definitions),
            (hostile::held_instances(18), LoadLimit::Definitions),
            (hostile::passive_elements(20_000, 120), LoadLimit::InstanceItems),
        ] {
            for file in [hostile::beside_the_client(&file), file] {
                let error = refusal(runtime, &file).await;
                assert!(matches!(error, ExtensionError::OverLimit { limit: found, .. } if found == limit), "{error}");
            }
        }
    }
}

/// Files within the limits are composed with the client in this process without harm.
#[tokio::test]
async fn files_within_the_limits_are_composed() {
    let in_process =
        Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).compiler(Compiler::in_process()).build().unwrap();
    for file in [
        hostile::nested_types(12),
        hostile::chained_types(90),
        hostile::instantiated(6, 2),
        hostile::nested_components(14),
        hostile::closures(10),
        hostile::held_instances(10),
        hostile::copies(900, &hostile::empty()),
        hostile::doubled_types(18),
        hostile::fields(4_000, 4),
    ] {
        let composed = in_process.compose("hostile", &hostile::beside_the_client(&file), &[]).await.unwrap();
        assert!(composed.len() > incluster::PLUGIN.len());
    }
}

/// When counting a file exceeds the CPU time limit, the inspection does not count it again.
#[tokio::test]
async fn a_file_that_takes_too_long_to_count_is_inspected_briefly() {
    let brief = LoadLimits { compile_cpu_time: Duration::from_secs(1), ..LoadLimits::default() };
    let inspection = building(brief).unwrap().inspect("hostile", &hostile::wide_jumps(900_000, 1_000), &[]).await.unwrap();
    assert_eq!(inspection.problem, Some(ExtensionError::CompileCpuTime { limit: Duration::from_secs(1) }), "{inspection}");
    assert!(inspection.counts.is_empty(), "{inspection}");
}

/// An inspection reports the counts even of a file whose compilation fails.
#[tokio::test]
async fn a_file_that_cannot_be_compiled_is_still_inspected() {
    let little = LoadLimits { compile_memory: 96 << 20, ..LoadLimits::default() };
    let file = hostile::empty_functions(29_000);
    let inspection = building(little).unwrap().inspect("hostile", &file, &[]).await.unwrap();
    assert!(matches!(inspection.problem, Some(ExtensionError::CompileMemory { .. })), "{inspection}");
    assert_eq!(inspection.counts[LoadLimit::Functions as usize].found, 29_000);
}

#[tokio::test]
async fn a_list_of_imports_is_short_however_many_there_are() {
    let error = refusal(&RUNTIME, &hostile::imports(4_000)).await;
    let text = error.to_string();
    assert!(matches!(error, ExtensionError::Imports { names, total: 4_000 } if names.len() == 10), "{text}");
    assert!(text.contains("a:b/c9, and 3990 more") && text.len() < 1000, "{text}");
    let file = wat::parse_str(r#"(component (import "wasi:io/poll@0.2.0" (func)))"#).unwrap();
    assert_eq!(refusal(&RUNTIME, &file).await, ExtensionError::NotAnInterface("wasi:io/poll@0.2.0".into()));
}

#[tokio::test]
async fn compiling_has_limits_of_its_own() {
    let little = LoadLimits { compile_memory: 96 << 20, ..LoadLimits::default() };
    let error = refusal(&building(little).unwrap(), &hostile::empty_functions(29_000)).await;
    assert_eq!(error, ExtensionError::CompileMemory { limit: 96 << 20, is_all_that_is_left: false }, "{error}");
    let brief = LoadLimits { compile_cpu_time: Duration::from_secs(1), ..LoadLimits::default() };
    let error = refusal(&building(brief).unwrap(), &hostile::branches(45_000)).await;
    assert_eq!(error, ExtensionError::CompileCpuTime { limit: Duration::from_secs(1) }, "{error}");
}

/// Reads a file of a process in `/proc`. Returns an empty text if the process has ended.
fn written(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// The process that compiles has no files of its parent, can open none, and can gain no privileges.
#[tokio::test]
async fn a_process_that_compiles_has_and_opens_no_files() {
    // Before it reads its task, the process closes what it has inherited.
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "exec 7</dev/null 8>/dev/null; exec \"$0\" compile-child", env!("CARGO_BIN_EXE_incluster")]);
    let waiting = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let pid = waiting.id().unwrap();
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count());
    let closes = async {
        while !written(pid, "comm").starts_with("incluster") || open() != 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), closes).await.expect("the process closes what it inherits");

    // Now a process that is compiling.
    let file = hostile::branches(45_000);
    let limited = async {
        loop {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let children =
                tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
            let is_limited = |pid: u32| {
                let opens_none = written(pid, "limits")
                    .lines()
                    .any(|line| line.split_whitespace().eq(["Max", "open", "files", "0", "0", "files"]));
                opens_none && written(pid, "status").contains("NoNewPrivs:\t1")
            };
            if children.split_whitespace().filter_map(|pid| pid.parse().ok()).any(is_limited) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        inspected = RUNTIME.inspect("files", &file, &[]) => panic!("{inspected:?}"),
        limited = timeout(Duration::from_secs(60), limited) => limited.expect("the process limits itself"),
    }
}

#[tokio::test]
async fn a_runtime_without_a_compiler_says_so_and_one_with_another_engine_too() {
    let error =
        refusal(&Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).build().unwrap(), extensions::PICKER).await;
    let text = error.to_string();
    assert!(
        error == ExtensionError::NoCompiler && text.contains("Compiler::child(") && text.contains("Compiler::in_process()"),
        "{text}"
    );

    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true).cranelift_opt_level(wasmtime::OptLevel::None);
    let engine = || wasmtime::Engine::new(&config).unwrap();
    let other = Runtime::builder().engine(engine()).compiler(compiler()).build().unwrap();
    let error = refusal(&other, extensions::PICKER).await;
    assert!(error.to_string().contains("engine has other settings"), "{error}");
    let own = Runtime::builder().engine(engine()).compiler(Compiler::in_process()).build().unwrap();
    assert!(own.extension("own", extensions::PICKER, &[]).await.is_ok());
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let default = LoadLimits::default;
    for (limits, says) in [
        (LoadLimits { nesting: 0, ..default() }, "nesting is 0"),
        (LoadLimits { nesting: 65, ..default() }, "nesting is 65, and 64 is the maximum"),
        (LoadLimits { name_bytes: 1 << 20, ..default() }, "nameBytes"),
        (LoadLimits { memories: 1000, ..default() }, "memories"),
        (LoadLimits { bytes: u64::MAX, ..default() }, "bytes"),
        (LoadLimits { compile_memory: 1 << 20, ..default() }, "compileMemory"),
        (LoadLimits { compile_cpu_time: Duration::ZERO, ..default() }, "compileCpuTime"),
    ] {
        let error = building(limits).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
    let limits: LoadLimits = serde_json::from_str(r#"{"codeBytes": 5, "compileMemory": "2Gi", "compileCpuTime": "3s"}"#).unwrap();
    assert_eq!((limits.code_bytes, limits.compile_cpu_time, limits.bytes), (5, Duration::from_secs(3), default().bytes));
}

/// An extension just within the limits fits into a place of the pool.
#[tokio::test]
async fn files_just_within_the_limits_are_instantiated() {
    let testbed = Testbed::start().await;
    for file in [hostile::made(3, 6), hostile::instantiated(1, 256)] {
        let extension = load(&file, &[]).await;
        let sandboxes = Sandboxes::typed(&tenant(&testbed), &extension, |_| Ok(()), |(), _, _| Ok(())).unwrap();
        sandboxes.call(async |(): &(), _: &mut Store<Ctx>| Ok(())).await.unwrap();
    }
}

/// Function names are untrusted: in a trap's text they are escaped and cut, though each frame on the stack repeats the name.
#[tokio::test]
async fn the_names_of_functions_are_data() {
    let testbed = Testbed::start().await;
    let name = "\\1b[2J\\0a2026-11-25T22:00:00Z ERROR host: all is lost \\e2\\80\\ae".repeat(1_000);
    let extension = load(&wat::parse_str(hostile::deep_trap(&name, 30)).unwrap(), &[]).await;
    let trap = |(): &(), store: &mut Store<Ctx>, instance: &Instance| instance.get_typed_func::<(), ()>(store, "trap");
    let traps = Sandboxes::typed(&tenant(&testbed), &extension, |_| Ok(()), trap).unwrap();
    let trap = traps.call(async |trap: &TypedFunc<(), ()>, store: &mut Store<Ctx>| trap.call_async(store, ()).await).await;
    let error = trap.unwrap_err();
    for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        assert!(text.contains("unreachable") && text.contains("all is lost"), "{text}");
        assert!(text.len() < 4_200 && !text.contains(['\x1b', '\u{202e}']), "{} bytes: {text}", text.len());
    }
    assert!(!error.to_string().contains('\n'));
    assert!(matches!(error, Error::Trap(trap) if trap.code == Some(wasmtime::Trap::UnreachableCodeReached)));
}
