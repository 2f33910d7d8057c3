#!/usr/bin/env bash
# Runs main.rs beside this file against a real Kubernetes: the cluster of KUBECONFIG as it is, else one of the repository's own
# (tests/cluster), whose API server and etcd some tests disturb. Those are ignored where the cluster is somebody's.
# `run.sh oldest` runs it against the oldest API server that is tested, without a node: oldest.sh.
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
  # Whoever stops it starts it anew.
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
  # There is no registry in the cluster's network.
  # With the features of all of the workspace, as `just test` builds it, which an example brings: wasmtime is not compiled again. The command has
  # a binary of the same name.
  cargo build --quiet --release --locked --workspace --exclude incluster-command --bin incluster --example list
  cargo test --quiet --release --locked --workspace --test real --no-run
  . tests/cluster/own.sh
  REAL_RESTART="$(printf %q "$PWD/$cluster") restart apiserver" "$cluster" exec -- "${BASH_SOURCE[0]}"
  exit
fi

if [ -n "${CLUSTER_DIR:-}" ]; then
  export REAL_AUDIT_LOG=$CLUSTER_DIR/audit.log
fi
command -v "$KUBECTL" >/dev/null || { echo "test-real: there is no kubectl: set KUBECTL to one" >&2; exit 1; }
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
  # What a watch is told where it is forbidden, the namespace with the many pods shows.
  case $name in *-load) verbs=list ;; *) verbs=list,watch ;; esac
  "$KUBECTL" --namespace "$name" create role lister --verb="$verbs" --resource=pods
  "$KUBECTL" --namespace "$name" create rolebinding lister --role=lister --serviceaccount="$namespace:lister"
done >"$work/log"
"$KUBECTL" --namespace "$namespace" create serviceaccount lister >"$work/log"
tests/kube-apiserver/seed.py "$namespace" 60
tests/kube-apiserver/seed.py "$namespace-load" 5000
ignored=
if [ -n "${REAL_RESTART:-}" ]; then
  # Started anew, the API server knows the pods, and no longer how they came to be: that is how it is with any that is older.
  sh -c "$REAL_RESTART"
  for _ in $(seq 300); do "$KUBECTL" get --raw /readyz >/dev/null 2>&1 && break; sleep 0.2; done
  ignored=--include-ignored
fi
REAL_TOKEN=$("$KUBECTL" --namespace "$namespace" create token lister)
export REAL_TOKEN

cargo build --quiet --release --locked --offline --workspace --exclude incluster-command --bin incluster --example list
# One by one: some make the server forget what others have listed.
cargo test --release --locked --offline --workspace --test real -- --nocapture --test-threads=1 $ignored
