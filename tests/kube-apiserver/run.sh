#!/usr/bin/env bash
# Runs the tests of main.rs against a real Kubernetes: the cluster of KUBECONFIG if it is set, else one of the repository's own
# (tests/cluster). Tests that disturb the API server and etcd run only in the latter.
# `run.sh oldest` runs them against the oldest supported API server, without a node: see oldest.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=tests/cluster/cluster.py
KUBECTL=${KUBECTL:-kubectl}
export KUBECTL

if [ "${1:-}" = oldest ]; then
  dir=$PWD/target/kube-apiserver
  tests/kube-apiserver/oldest.sh build "$dir"
  ln -sf "$(readlink "$dir/kubectl")" "$dir/etcdctl"
  port=$(python3 -c 'import socket
for first in range(20000, 60000, 7):
    try:
        for port in range(first, first + 3):
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        print(first)
        break
    except OSError:
        pass')
  rm -rf "$dir/server"
  # Whenever a test stops the API server, this loop starts it again.
  while :; do tests/kube-apiserver/oldest.sh start "$dir" "$port" >/dev/null || sleep 1; done &
  end="running=\$(cat $(printf %q "$dir/server/pid")) && kill \$running && while kill -0 \$running 2>/dev/null; do sleep 0.1; done"
  trap 'kill %1 || true; sh -c "$end" || true' EXIT
  export PATH=$dir:$PATH KUBECONFIG=$dir/server/kubeconfig ETCDCTL_ENDPOINTS=http://127.0.0.1:$((port + 1))
  for _ in $(seq 300); do kubectl get --raw /readyz >/dev/null 2>&1 && break; sleep 0.2; done
  export REAL_RESTART=$end REAL_AUDIT_LOG=$dir/server/audit.log
  "${BASH_SOURCE[0]}"
  exit
fi
if [ -z "${KUBECONFIG:-}" ]; then
  # Built before the cluster is started: no crate registry can be reached from the cluster's network.
  # The whole workspace's features, which building an example enables, are those of `just test`, so that wasmtime is not compiled again.
  # incluster-command is excluded because it has a binary of the same name.
  cargo build --quiet --release --locked --workspace --exclude incluster-command --bin incluster --example list
  cargo test --quiet --release --locked --workspace --test real --no-run
  . tests/cluster/own.sh
  REAL_RESTART="$(printf %q "$PWD/$cluster") restart apiserver" "$cluster" exec -- "${BASH_SOURCE[0]}"
  exit
fi

if [ -n "${CLUSTER_DIR:-}" ]; then
  export REAL_AUDIT_LOG=$CLUSTER_DIR/audit.log
fi
command -v "$KUBECTL" >/dev/null || { echo "test-real: kubectl not found: set KUBECTL to its path" >&2; exit 1; }
namespace=incluster-test-$(openssl rand -hex 4)
work=$(mktemp -d)
finish() {
  "$KUBECTL" delete namespace "$namespace" "$namespace-load" "$namespace-watch" --ignore-not-found --wait=false >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

config() { "$KUBECTL" config view --raw --minify --output "jsonpath={.clusters[0].cluster.$1}"; }
REAL_SERVER=$(config server)
if [ -n "$(config certificate-authority-data)" ]; then
  config certificate-authority-data | base64 -d >"$work/ca.crt"
else
  cp "$(config certificate-authority)" "$work/ca.crt"
fi
REAL_CA=$work/ca.crt
REAL_NAMESPACE=$namespace
export REAL_SERVER REAL_CA REAL_NAMESPACE

for name in "$namespace" "$namespace-load" "$namespace-watch"; do
  "$KUBECTL" create namespace "$name"
  # In the namespace with the many pods, watches are forbidden: a test checks the refusal.
  case $name in *-load) verbs=list ;; *) verbs=list,watch ;; esac
  "$KUBECTL" --namespace "$name" create role lister --verb="$verbs" --resource=pods
  "$KUBECTL" --namespace "$name" create rolebinding lister --role=lister --serviceaccount="$namespace:lister"
done >"$work/log"
"$KUBECTL" --namespace "$namespace" create serviceaccount lister >"$work/log"
tests/kube-apiserver/seed.py "$namespace" 60
tests/kube-apiserver/seed.py "$namespace-load" 5000
ignored=
if [ -n "${REAL_RESTART:-}" ]; then
  # After a restart, the API server knows the pods but not their history, like any API server that has run for long.
  sh -c "$REAL_RESTART"
  for _ in $(seq 300); do "$KUBECTL" get --raw /readyz >/dev/null 2>&1 && break; sleep 0.2; done
  ignored=--include-ignored
fi
REAL_TOKEN=$("$KUBECTL" --namespace "$namespace" create token lister)
export REAL_TOKEN

cargo build --quiet --release --locked --offline --workspace --exclude incluster-command --bin incluster --example list
# One test at a time: some make the server forget what others have listed.
cargo test --release --locked --offline --workspace --test real -- --nocapture --test-threads=1 $ignored
