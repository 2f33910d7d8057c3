#!/usr/bin/env bash
# Runs main.rs beside this file: incluster's images in the pods of a real Kubernetes of the repository's own (tests/cluster), which
# some tests disturb. With an argument, only tests whose names contain it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=$PWD/tests/cluster/cluster.py
cargo test --quiet --release --locked -p incluster --test pods --no-run
# It cleans up itself where it fails; and one that runs already is not ours to stop.
"$cluster" up
trap '"$cluster" down' EXIT
for image in dist/images/*.tar; do "$cluster" load "$image"; done
ignored=()
command -v containerd-shim-wasmtime-v1 >/dev/null && ignored=(--include-ignored)
# One by one: there is one API server, which some of them stop.
CLUSTER=$cluster "$cluster" exec -- \
  cargo test --release --locked --offline -p incluster --test pods -- --nocapture --test-threads=1 "${ignored[@]}" "$@"
