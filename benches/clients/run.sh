#!/usr/bin/env bash
# Compares clients that list pods: run.sh [SIZE…] (default: 100 5000 50000). The server is a real kube-apiserver with etcd, from a cluster
# of tests/cluster, or the testbed if no cluster can run. The results are written to docs/performance/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=tests/cluster/cluster.py
seed=tests/kube-apiserver/seed.py
venv=$PWD/target/bench/venv
sizes=("$@")
[ $# -gt 0 ] || sizes=(100 5000 50000)
compare() { "$venv/bin/python" benches/clients/compare.py "$@" "${sizes[@]}"; }

if [ -z "${CLUSTER_DIR:-}" ]; then
  HYPERFINE=$(tools/cargo-tool.sh hyperfine 1.20.0)
  WASMTIME=$(tools/wasmtime-cli.sh)
  export HYPERFINE WASMTIME
  if [ ! -e "$venv/done" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check kubernetes==37.0.2 matplotlib==3.10.7
    touch "$venv/done"
  fi
  cargo build --quiet --release --locked -p incluster-cli
  # Built as for an embedder that only lists pods: without a compiler in the process.
  cargo build --quiet --release --locked -p incluster --example list --example pages
  cargo build --quiet --release --locked -p incluster-testbed --bin serve
  cargo build --quiet --release --locked -p incluster-standalone
  cargo build --quiet --release --locked --manifest-path benches/clients/kube-rs/Cargo.toml --target-dir target/bench/kube-rs

  # Before the trap, so that a cluster that is already running is left alone.
  status=0
  "$cluster" up || status=$?
  if [ "$status" = 3 ]; then
    echo "bench: no cluster can run here; using the testbed as the server" >&2
    compare testbed
    exit
  elif [ "$status" != 0 ]; then
    exit "$status"
  fi
  trap '"$cluster" down' EXIT
  # The cluster's own kubectl is part of a binary with all of Kubernetes, which makes it slower and larger.
  KUBECTL=$PWD/target/bench/kubectl
  export KUBECTL
  (
    cd tests/cluster/kube
    export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off
    version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    go build -o "$KUBECTL" -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=$version" k8s.io/kubernetes/cmd/kubectl
  )
  "$cluster" exec -- benches/clients/run.sh "${sizes[@]}"
  exit
fi

for size in "${sizes[@]}"; do
  echo "bench: creating $size pods" >&2
  kubectl create namespace "pods-$size" >/dev/null
  "$seed" "pods-$size" "$size"
done
kubectl create serviceaccount lister >/dev/null
kubectl create clusterrole lister --verb=list --resource=pods >/dev/null
kubectl create clusterrolebinding lister --clusterrole=lister --serviceaccount=default:lister >/dev/null
# The other components would take CPU time from the clients.
for component in scheduler controllers kubelet proxy; do
  "$cluster" stop "$component"
done
# Restarted, so that it has no history in memory, like a server that has run for long.
"$cluster" restart apiserver
for _ in $(seq 600); do kubectl get --raw /readyz >/dev/null 2>&1 && break; sleep 0.2; done
account=$(mktemp -d)
trap 'rm -rf "$account"' EXIT
cp "$CLUSTER_DIR/ca.crt" "$account"
printf default >"$account/namespace"
kubectl create token lister --duration=12h >"$account/token"
compare "$(kubectl config view --minify --output 'jsonpath={.clusters[0].cluster.server}')" "$account"
