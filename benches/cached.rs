//! Measures loading a compiled extension from the cache in a new process: the time, and the resident memory before its first call.
//! `./justw bench-cached FILE…`

use incluster::{Compiler, Pool, Runtime};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

/// How many times to load each extension. The fastest run counts, because disturbances only make a run slower.
const TIMES: usize = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["load", file, cache] => load(file, cache).await,
        [] => Err("usage: cached FILE…".into()),
        files => files.iter().try_for_each(|file| measure(file)),
    }
}

fn runtime(cache: &Path, compiler: Option<Compiler>) -> Result<Runtime, Failure> {
    let builder = Runtime::builder().pool(Pool { places: 1, ..Pool::default() }).cache(cache);
    Ok(match compiler {
        Some(compiler) => builder.compiler(compiler).build()?,
        None => builder.build()?,
    })
}

/// The resident memory of this process, in bytes.
fn resident() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Loads an extension, compiling it if it is not in the cache, and prints microseconds and bytes. It runs in a process of its own.
async fn load(file: &str, cache: &str) -> Result<(), Failure> {
    let compiler = Compiler::child(env!("CARGO_BIN_EXE_incluster")).arg("compile-child");
    let runtime = runtime(Path::new(cache), Some(compiler))?;
    let before = resident()?;
    let begun = Instant::now();
    let extension = runtime.extension("bench", &fs::read(file)?, &[]).await?;
    let time = begun.elapsed();
    println!("{} {}", time.as_micros(), resident()?.saturating_sub(before));
    drop(extension);
    Ok(())
}

fn measure(file: &str) -> Result<(), Failure> {
    let cache = tempfile::tempdir()?;
    let once = || -> Result<(Duration, u64), Failure> {
        let output = Command::new(std::env::current_exe()?).args(["load", file]).arg(cache.path()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let (time, memory) = text.trim().split_once(' ').ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok((Duration::from_micros(time.parse()?), memory.parse()?))
    };
    let compiled = once()?;
    let entry = fs::read_dir(cache.path())?.next().ok_or("the cache is empty")??;
    let mut cached = (0..TIMES).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    cached.sort_unstable();
    let (wasm, code) = (fs::metadata(file)?.len(), entry.metadata()?.len());
    let mega = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{file}: {:.1} MB, {:.1} MB compiled; compiled in {:.2?}; from the cache in {:.1?} ({:.1?} median), {:.1} MB more resident memory",
        mega(wasm),
        mega(code),
        compiled.0,
        cached[0].0,
        cached[TIMES / 2].0,
        mega(cached[0].1),
    );
    Ok(())
}
