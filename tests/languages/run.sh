#!/usr/bin/env bash
# Builds the extensions of examples/extensions and the host of examples/hosts in target/languages, each with its language's own toolchain. Then runs
# the tests of main.rs and the gateway's test `languages` with them. The lister is the project that `incluster new` writes, with the picker added.
# `run.sh go` includes those in Go, whose tools it compiles first, which takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
export LANGUAGES=$root/target/languages
sources=$LANGUAGES/sources
mkdir -p "$sources"
# Built as in tests/wasmtime-cli, together with what the tests run.
cargo build --quiet --release --locked --workspace --exclude incluster-command --features incluster-cli/standalone --bin incluster --example list
cp target/release/incluster "$LANGUAGES/incluster-standalone"
WASMTIME=$(tools/wasmtime-cli.sh)
export WASMTIME
cargo test --release --locked --workspace --test languages --no-run
for program in lister picker; do cp "target/extensions/wasm32-wasip2/component/$program.wasm" "$LANGUAGES/rust-$program.wasm"; done

# Copied over what is already there, so that downloaded toolchains stay.
cp -r examples/hosts "$sources/"
for language in javascript python go; do
  project=$(mktemp -d)/$language
  target/release/incluster new --language "$language" "$project" >/dev/null
  cp -r examples/extensions/$language/picker* "$project/"
  cp examples/extensions/wit/picker.wit "$project/wit/"
  mkdir "$project/wit/deps/example-gateway"
  cp examples/gateway/wit/gateway.wit "$project/wit/deps/example-gateway/"
  mkdir -p "$sources/extensions/$language"
  cp -r "$project/." "$sources/extensions/$language/"
  rm -rf "$(dirname "$project")"
done

javascript() {
  cd "$sources/extensions/javascript"
  npm install --no-audit --no-fund --silent
  npm run --silent build
  for world in lister picker; do mv "$world.wasm" "$LANGUAGES/javascript-$world.wasm"; done
}
node_host() {
  cd "$sources/hosts/node"
  cp "$LANGUAGES/../guests/incluster-plugin.wasm" .
  npm install --no-audit --no-fund --silent
  npm run --silent build
}
python() {
  cd "$sources/extensions/python"
  [ -x .venv/bin/componentize-py ] || { python3 -m venv .venv && .venv/bin/pip install --quiet --requirement requirements.txt; }
  for world in lister picker; do
    .venv/bin/componentize-py --quiet --wit-path wit --world "$world" componentize "$world" --output "$LANGUAGES/python-$world.wasm"
  done
}
go_() {
  cd "$sources/extensions/go"
  local tools=$LANGUAGES/tools wit_bindgen wasm_tools
  wit_bindgen=$("$root/tools/cargo-tool.sh" wit-bindgen-cli 0.63.0 --no-default-features --features go)
  wasm_tools=$("$root/tools/wasm-tools.sh")
  # Two crates contain files that are not Rust: the Go package that the bindings use, and the adapter.
  mkdir -p "$tools/crates/src"
  printf '%s\n' '[package]' 'name = "files"' 'version = "0.0.0"' '[workspace]' '[dependencies]' 'wit-bindgen-go = "=0.63.0"' \
    'wasi-preview1-component-adapter-provider = "=48.0.1"' >"$tools/crates/Cargo.toml"
  touch "$tools/crates/src/lib.rs"
  (cd "$tools/crates" && cargo vendor --quiet >/dev/null)
  local crates=$tools/crates/vendor
  PATH=$(dirname "$wit_bindgen"):$(dirname "$wasm_tools"):$PATH GO_PACKAGE=$crates/wit-bindgen-go/src/pkg \
    ADAPTER=$crates/wasi-preview1-component-adapter-provider/artefacts/wasi_snapshot_preview1.reactor.wasm bash build.sh
  for world in lister picker; do mv "$world.wasm" "$LANGUAGES/go-$world.wasm"; done
}
(javascript)
(python)
(node_host)
ignored=()
if [ "${1:-}" = go ]; then
  (go_)
  ignored=(--include-ignored)
fi

# Builds with the features of the whole workspace, as `just test` does, so that wasmtime is not compiled again.
cargo test --release --locked --workspace --test languages -- "${ignored[@]}"
