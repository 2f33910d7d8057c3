#!/usr/bin/env bash
# Prints the path of a hyperfine that reports peak memory, which the distribution's does not: a pinned version under target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=1.20.0
here=$PWD/target/tools/hyperfine-$version

if [ ! -x "$here/bin/hyperfine" ]; then
  echo "hyperfine.sh: building hyperfine $version into $here (once)" >&2
  cargo install --quiet --locked --root "$here" --version "$version" hyperfine
fi
echo "$here/bin/hyperfine"
