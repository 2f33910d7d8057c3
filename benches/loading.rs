//! Measures the cost of hostile files in `incluster check`: the time, and the peak memory of both its processes. `./justw bench-loading [FILE…]`

use extensions::hostile;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The bounds for a bomb, which the loader's counting refuses, and (`SMALL`) for any other file of at most 1 MB.
const BOMB: Bound = Bound { time: Duration::from_millis(100), memory: 50 };
const SMALL: Bound = Bound { time: Duration::from_secs(5), memory: 300 };

/// The pause between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(1);

struct Bound {
    time: Duration,
    /// The peak memory in MB.
    memory: u64,
}

fn main() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let given: Vec<PathBuf> = std::env::args_os().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    println!("{:<28} {:>9} {:>8} {:>6}", "file", "bytes", "time", "MB");
    for path in &given {
        measure(path, None)?;
    }
    if !given.is_empty() {
        return Ok(());
    }
    for (bound, files) in [(BOMB, bombs()), (SMALL, largest())] {
        for (name, file) in files {
            let path = dir.path().join(name);
            fs::write(&path, file)?;
            measure(&path, Some(&bound))?;
        }
    }
    Ok(())
}

/// Small files that would expand to gigabytes, and the like.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nested types", hostile::nested_types(700)),
        ("chained types", hostile::chained_types(3_000)),
        ("instantiated 2^25 times", hostile::instantiated(25, 2)),
        ("instantiated 900^3 times", hostile::instantiated(3, 900)),
        ("nested components", hostile::nested_components(20_000)),
        ("empty functions", hostile::empty_functions(300_000)),
        ("closures", hostile::closures(30)),
        ("held instances", hostile::held_instances(18)),
        ("a type of 15 million parts", hostile::large_type(15_000_000)),
        ("elements of 120 instances", hostile::passive_elements(20_000, 120)),
    ]
}

/// Files of at most 1 MB that are within the limits of the loader's counting, or just beyond them.
fn largest() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("29,000 functions", hostile::empty_functions(29_000)),
        ("1,990 nested blocks", hostile::nested_blocks(1_990)),
        ("5,000 branches", hostile::branches(5_000)),
        ("45,000 branches", hostile::branches(45_000)),
        ("65,000 targets", hostile::jump_table(65_000)),
        ("65,000 targets, 1,000 values", hostile::wide_jumps(65_000, 1_000)),
        ("900,000 targets", hostile::wide_jumps(900_000, 1_000)),
        ("9,900 globals", hostile::globals(9_900)),
        ("900 copies", hostile::copies(900, &hostile::empty())),
        ("19,000 canonical functions", hostile::canonical_functions(19_000)),
        ("4 records of 4,900 fields", hostile::fields(4_900, 4)),
        ("a type of 19,900 parts", hostile::large_type(19_900)),
        ("96 core modules", hostile::core_modules(96)),
        ("types doubled 18 times", hostile::doubled_types(18)),
        ("256 instances", hostile::instantiated(1, 256)),
    ]
}

fn measure(path: &Path, bound: Option<&Bound>) -> io::Result<()> {
    let begun = Instant::now();
    let mut check = Command::new(env!("CARGO_BIN_EXE_incluster"));
    let mut check = check.arg("check").arg(path).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let mut output = check.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let reading = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let mut most = 0;
    while check.try_wait()?.is_none() {
        most = most.max(resident(check.id()));
        thread::sleep(LOOK_EVERY);
    }
    let (time, memory) = (begun.elapsed(), most * 1024 / 1_000_000);
    let text = reading.join().map_err(|_| io::ErrorKind::Other)??;
    let is_over = bound.is_some_and(|bound| time > bound.time || memory > bound.memory);
    let (name, bytes) = (path.file_name().unwrap_or_default().to_string_lossy(), fs::metadata(path)?.len());
    let result: String = text.lines().next().unwrap_or_default().chars().skip("result    ".len()).take(90).collect();
    println!("{name:<28} {bytes:>9} {time:>8.2?} {memory:>6} {}{result}", if is_over { "OVER: " } else { "" });
    Ok(())
}

/// The resident memory of a process and its children, in kB. A process that has ended counts as 0.
fn resident(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> =
        children.flat_map(|pids| pids.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    let of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0)
    };
    of(pid) + children.into_iter().map(of).sum::<u64>()
}
