#!/usr/bin/env bash
# Prints the path of a program that is a crate, in a pinned version: cargo-tool.sh CRATE VERSION [OPTION of `cargo install`]...
# Builds it under target/tools if it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
crate=$1 version=$2
shift 2
here=$PWD/target/tools/$crate-$version
# A crate with another name than its program, such as wit-bindgen-cli.
program=$here/bin/${crate%-cli}

if [ ! -x "$program" ]; then
  echo "cargo-tool.sh: building $crate $version into $here (once, some minutes)" >&2
  cargo install --quiet --locked --root "$here" --version "$version" "$@" "$crate" >&2
fi
echo "$program"
