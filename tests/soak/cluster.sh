#!/usr/bin/env bash
# Usage: cluster.sh SECONDS. Runs the soak (main.rs) for SECONDS in a real Kubernetes of the repository's own (tests/cluster).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=$PWD/tests/cluster/cluster.py
# Builds with the features of the whole workspace, as `just test` does, so that wasmtime is not compiled again.
cargo test --quiet --release --locked --workspace --test soak --no-run
. tests/cluster/own.sh
CLUSTER=$cluster "$cluster" exec -- cargo test --quiet --release --locked --offline --workspace --test soak -- cluster "$1"
