#!/usr/bin/env bash
# Builds the extensions of examples/extensions by each language's own toolchain, in target/languages, and runs main.rs beside this file and the
# gateway's test `languages` with them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LANGUAGES=$PWD/target/languages
mkdir -p "$LANGUAGES/sources"
# Over what is there: toolchains that were fetched stay.
cp -r examples/extensions/. "$LANGUAGES/sources/"
deps=$LANGUAGES/sources/wit/deps
mkdir -p "$deps/incluster-kubernetes" "$deps/example-gateway"
cp wit/*.wit "$deps/incluster-kubernetes/"
cp examples/gateway/wit/gateway.wit "$deps/example-gateway/"

javascript() {
  cd "$LANGUAGES/sources/javascript"
  npm install --no-audit --no-fund --silent
  npm run --silent build
  for world in lister picker; do mv "$world.wasm" "$LANGUAGES/javascript-$world.wasm"; done
}
python() {
  cd "$LANGUAGES/sources/python"
  [ -x .venv/bin/componentize-py ] || { python3 -m venv .venv && .venv/bin/pip install --quiet --requirement requirements.txt; }
  for world in lister picker; do
    .venv/bin/componentize-py --quiet --wit-path ../wit --world "$world" componentize "$world" --output "$LANGUAGES/python-$world.wasm"
  done
}
(javascript)
(python)

# With the features of all of the workspace, as `just test` builds it: wasmtime is not compiled again.
cargo test --release --locked --workspace --test languages
