#!/usr/bin/env bash
# Runs main.rs beside this file: incluster's images in the pods of a real Kubernetes of the repository's own (tests/cluster), which
# some tests disturb. Arguments are those of a Rust test: words, for tests whose names contain one; `--ignored NAME` for one
# that takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=$PWD/tests/cluster/cluster.py
# With the features of all of the workspace, as `just test` builds it: wasmtime is not compiled again.
cargo test --quiet --release --locked --workspace --test pods --no-run
. tests/cluster/own.sh
for image in dist/images/*.tar; do "$cluster" load "$image"; done
pods() {
  # Beside each other, but for those that disturb the cluster: they wait for kubelet more than for the processor.
  CLUSTER=$cluster INCLUSTER=$PWD/dist/incluster "$cluster" exec -- \
    cargo test --release --locked --offline --workspace --test pods -- --nocapture --test-threads=4 "$@"
}
pods "$@"
# What not every machine can show.
can=()
command -v containerd-shim-wasmtime-v1 >/dev/null && can+=(a_component_is_the_container)
containerd --version | grep --quiet ' v\?[2-9]\.' && can+=(in_a_user_namespace)
[ ${#can[@]} = 0 ] || [ $# -gt 0 ] || pods --ignored "${can[@]}"
