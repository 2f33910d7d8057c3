#!/usr/bin/env bash
# Runs the soak of main.rs beside this file in a real Kubernetes of the repository's own (tests/cluster), for so many SECONDS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=$PWD/tests/cluster/cluster.py
# With the features of all of the workspace, as `just test` builds it: wasmtime is not compiled again.
cargo test --quiet --release --locked --workspace --test soak --no-run
. tests/cluster/own.sh
CLUSTER=$cluster "$cluster" exec -- cargo test --quiet --release --locked --offline --workspace --test soak -- cluster "$1"
