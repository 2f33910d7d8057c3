#!/usr/bin/env bash
# Makes packages of the crates that others depend on, in target/package: with the WIT and the built components in them, as whoever
# depends on them has neither the guests nor their target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(incluster-core incluster-components incluster-standalone incluster incluster-cli incluster-testbed)
cargo build --quiet --release --locked -p incluster -p incluster-standalone
trap 'rm -rf host/components guest/standalone/components' EXIT
mkdir -p host/components guest/standalone/components
cp target/guests/incluster-plugin.wasm target/guests/incluster.wasm host/components/
cp target/standalone/incluster-standalone.wasm target/standalone/incluster-plugin-over-sockets.wasm guest/standalone/components/
rm -rf target/package
cargo package --quiet --locked --no-verify --allow-dirty "${packages[@]/#/--package=}"
ls -l target/package/*.crate
