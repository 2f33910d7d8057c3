#!/usr/bin/env bash
# Runs cargo-deny: the installed one, or else a pinned version under target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.20.2
here=$PWD/target/tools/cargo-deny-$version

if command -v cargo-deny >/dev/null; then
  exec cargo-deny "$@"
fi
if [ ! -x "$here/bin/cargo-deny" ]; then
  echo "cargo-deny.sh: building cargo-deny $version into $here (once, some minutes)" >&2
  cargo install --quiet --locked --root "$here" --version "$version" cargo-deny
fi
exec "$here/bin/cargo-deny" "$@"
