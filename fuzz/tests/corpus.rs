//! Runs every file of the corpus through its fuzz target, without libFuzzer.

use incluster_fuzz::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("failed to list `{}`: {e}", folder.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn every_input_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        let inputs = files(&corpus.join(target));
        assert!(!inputs.is_empty(), "{target} has no inputs");
        for input in inputs {
            let data = fs::read(&input).expect("an input");
            if catch_unwind(|| run(&data)).is_err() {
                failed.push(input);
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// `corpus/`, `fuzz_targets/` and `TARGETS` must have the same names. A corpus without a target would never run, and a target that is missing in `TARGETS`
/// would run only with a nightly compiler.
#[test]
fn targets_are_the_same_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    for folder in ["corpus", "fuzz_targets"] {
        let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert_eq!(files(&root.join(folder)).into_iter().map(stem).collect::<BTreeSet<_>>(), names, "{folder}");
    }
}
