#!/usr/bin/env bash
# Prints the path of wkg, which packs WIT: a pinned version under target/tools. Another version might write other bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.16.1
here=$PWD/target/tools/wkg-$version

if [ ! -x "$here/bin/wkg" ]; then
  echo "wkg.sh: building wkg $version into $here (once, some minutes)" >&2
  cargo install --quiet --locked --root "$here" --version "$version" wkg
fi
echo "$here/bin/wkg"
