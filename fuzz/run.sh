#!/usr/bin/env bash
# Fuzzes one target (`run.sh TARGET SECONDS`) or every target for a short time (`run.sh smoke`). `run.sh replay` runs only the corpus.
#
# Fuzzing needs a nightly compiler and cargo-fuzz: the installed one, or else a pinned version under target/tools. Where these
# are not available, smoke runs the corpus on the stable compiler. Inputs that fail go to fuzz/artifacts/, and new inputs to
# target/fuzz-corpus/; copy those worth keeping to fuzz/corpus/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.13.2
here=$PWD/target/tools/cargo-fuzz-$version
build=${CARGO_TARGET_DIR:-$PWD/target/fuzz}

can_fuzz() {
  cargo +nightly --version >/dev/null 2>&1 || { echo "fuzz: there is no nightly compiler" >&2; return 1; }
  command -v c++ >/dev/null || { echo "fuzz: there is no C++ compiler, which libFuzzer needs" >&2; return 1; }
  command -v cargo-fuzz >/dev/null && return
  PATH=$here/bin:$PATH
  command -v cargo-fuzz >/dev/null && return
  echo "fuzz: building cargo-fuzz $version into $here (once, a minute)" >&2
  cargo install --quiet --locked --root "$here" --version "$version" cargo-fuzz ||
    { echo "fuzz: cargo-fuzz cannot be installed" >&2; return 1; }
}

fuzz() {
  local target=$1 seconds=$2 found=target/fuzz-corpus/$1
  mkdir -p "$found"
  cargo +nightly fuzz run --fuzz-dir fuzz --target-dir "$build" "$target" "$found" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=4096 -print_final_stats=1
}

replay() {
  cargo test --release --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir "$build" --no-default-features --features extensions,yaml
}

case "${1:-smoke}" in
  smoke)
    if can_fuzz; then
      echo "fuzz: every target for 10 s, with $(cargo +nightly --version)"
      for file in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$file" .rs)
        log=$(fuzz "$target" 10 2>&1) || { echo "$log"; echo "fuzz: $target failed" >&2; exit 1; }
        echo "$target: $(grep -o 'stat::number_of_executed_units: *[0-9]*' <<<"$log" | grep -o '[0-9]*$') inputs"
      done
    else
      echo "fuzz: only the corpus, with $(cargo --version)"
      replay
    fi
    ;;
  replay) replay ;;
  *) can_fuzz && fuzz "$1" "${2:-60}" ;;
esac
