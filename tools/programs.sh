#!/usr/bin/env bash
# Builds the programs and the components, including those of the examples, and puts them into dist/: programs.sh PROFILE
#
# With the profile `release`, they are what the tests use. With the profile `dist`, they are what is published: without the programs of the examples,
# small, built for minutes, and with no path of this machine in them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=$1
# Another compiler would make other bytes. Its minor version is the oldest that the crates build with.
rust=1.95.0
mkdir -p dist
# They are of another build.
rm -rf dist/SHA256SUMS dist/components dist/*.cdx.json
case $profile in
  release)
    # `--example` turns on the features of the whole workspace, as in `just test`, so that wasmtime is not compiled again.
    # incluster-command is excluded because it has a binary of the same name.
    cargo build --release --locked --workspace --exclude incluster-command --features incluster-cli/standalone --bin incluster --example list
    cp target/release/incluster dist/
    # It also builds the extensions.
    cargo build --release --locked --workspace --bin gateway --bin incluster-envoy --example list
    cp target/release/{gateway,incluster-envoy} target/extensions/wasm32-wasip2/component/{sticky,controller}.wasm dist/
    ;;
  dist)
    [ "$(rustc --version | cut -d ' ' -f 2)" = "$rust" ] ||
      { echo "programs.sh: what is published is built with Rust $rust, and this is $(rustc --version)" >&2; exit 1; }
    cargo fetch --quiet --locked
    paths="--remap-path-prefix=$PWD=."
    for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do paths+=" --remap-path-prefix=$sources=."; done
    packed=
    # These linker options save a tenth of a program's size, where Rust links with lld and glibc is 2.36 or newer.
    case "$(uname -sm) $(getconf GNU_LIBC_VERSION 2>/dev/null)" in
      "Linux x86_64 glibc 2."3[6-9] | "Linux x86_64 glibc 2."[4-9][0-9]) packed="-C link-arg=-Wl,--icf=all,-z,pack-relative-relocs" ;;
    esac
    RUSTFLAGS="$paths $packed" cargo build --profile dist --locked -p incluster-cli --features standalone --bin incluster
    RUSTFLAGS="-C target-feature=+simd128 $paths" cargo build --profile component --locked --target wasm32-wasip2 -p sticky -p controller
    cp target/wasm32-wasip2/component/{sticky,controller}.wasm dist/
    cp target/dist/incluster dist/
    ;;
  *) echo "programs.sh: no profile $profile: release or dist" >&2; exit 1 ;;
esac
cp target/guests/incluster-plugin.wasm target/guests/incluster.wasm dist/
cp target/standalone/incluster-standalone.wasm target/standalone/incluster-plugin-over-sockets.wasm dist/
