#!/usr/bin/env bash
# Runs the tests of main.rs: incluster's images in the pods of a real Kubernetes of the repository's own (tests/cluster), which some
# tests disturb. Takes the arguments of a Rust test: words, to run the tests whose names contain one; `--ignored NAME` for a test that
# takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=$PWD/tests/cluster/cluster.py
# Builds with the features of the whole workspace, as `just test` does, so that wasmtime is not compiled again.
cargo test --quiet --release --locked --workspace --test pods --no-run
. tests/cluster/own.sh
# The tests with Envoy are asked for by name. A stand-in for Envoy's own image has the Envoy that PyPI has.
images=(dist/images/*.tar)
if [[ "$*" = *envoy* || "$*" = *a_minute* ]]; then
  envoy=target/test-images/envoy
  if [ ! -e "$envoy.tar" ]; then
    mkdir -p "$envoy"
    program=$(tools/envoy.sh)
    cp "$program" "$envoy/envoy"
    ldd "$program" | grep --only-matching ' /[^ ]*\|^\s*/[^ ]*' | while read -r library; do
      mkdir -p "$envoy$(dirname "$library")"
      cp --dereference "$library" "$envoy$library"
    done
    tools/image.py "$envoy.tar.new" envoyproxy/envoy:distroless-v1.40.0 "$envoy" --user 65532:65532 /envoy
    mv "$envoy.tar.new" "$envoy.tar"
  fi
  images+=("$envoy.tar")
fi
for image in "${images[@]}"; do "$cluster" load "$image"; done
pods() {
  # The tests run concurrently, except those that disturb the cluster: they wait for the kubelet more than for the CPU.
  CLUSTER=$cluster INCLUSTER=$PWD/dist/incluster "$cluster" exec -- \
    cargo test --release --locked --offline --workspace --test pods -- --nocapture --test-threads=4 "$@"
}
pods "$@"
# Tests that only some machines can run.
can=()
command -v containerd-shim-wasmtime-v1 >/dev/null && can+=(a_component_is_the_container)
containerd --version | grep --quiet ' v\?[2-9]\.' && can+=(in_a_user_namespace)
[ ${#can[@]} = 0 ] || [ $# -gt 0 ] || pods --ignored "${can[@]}"
