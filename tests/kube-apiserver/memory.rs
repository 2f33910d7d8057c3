//! Memory budgets for large lists.

use crate::{incluster_in, namespace, succeeded, variable, volume};
use std::process::Command;

/// The budget for listing 5,000 large pods in one answer: 80 MB for the whole process, of which the records are 31 MB. It would be over if the
/// whole list were in the sandbox at once.
const BUDGET_KB: u64 = 80_000;

fn peak_kb(stderr: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stderr);
    text.split_whitespace().rev().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn memory_of_5000_pods() {
    let volume = volume(&variable("REAL_TOKEN"));
    let example = std::path::Path::new(env!("CARGO_BIN_EXE_incluster")).with_file_name("examples").join("list");
    let mut command = Command::new(example);
    let output = command.arg(format!("{}-load", namespace())).arg(variable("REAL_SERVER")).arg(volume.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("5000 pods"), "{}", String::from_utf8_lossy(&output.stderr));
    let peak = peak_kb(&output.stderr);
    println!("listing 5,000 pods as records: peak memory {} MB", peak / 1000);
    assert!(peak < BUDGET_KB, "{peak} kB");
}

/// The budget for printing 5,000 pods page by page: 100 MB for the whole process.
const PRINTING_BUDGET_KB: u64 = 100_000;

/// A Python program that runs a command and prints its peak memory in kB.
const MEASURE: &str = "import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

#[test]
fn memory_of_printing_5000_pods() {
    let volume = volume(&variable("REAL_TOKEN"));
    let namespace = format!("{}-load", namespace());
    for format in ["table", "json"] {
        let command = incluster_in(&volume);
        let mut measure = Command::new("python3");
        measure.args(["-c", MEASURE]).arg(command.get_program()).args(command.get_args());
        let peak: u64 =
            succeeded(measure.args(["pods", "-n", &namespace, "-o", format]).output().unwrap()).trim().parse().unwrap();
        println!("printing 5,000 pods as {format}: peak memory {} MB", peak / 1000);
        assert!(peak < PRINTING_BUDGET_KB, "{peak} kB");
    }
}
