#!/usr/bin/env bash
# Runs main.rs beside this file against a real API server: the cluster of KUBECONFIG, else a kube-apiserver and an etcd on
# loopback, built once by the tools in ../shared, beside the repository. Without either it says so, and is done.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/kube-apiserver/server.sh"
namespace=incluster-test-$$

if [ ! -d "$tools" ]; then
  echo "test-real: skipped: no tools that start and seed an API server are at ../shared/tools"
  exit 0
fi
work=$(mktemp -d)
created=
finish() {
  if [ -n "$server" ]; then
    stop
  elif [ -n "$created" ]; then
    kubectl delete namespace "$namespace" "$namespace-load" "$namespace-watch" --wait=false >/dev/null 2>&1 || true
  fi
  rm -rf "$work"
}
trap finish EXIT
get_kubectl

if [ -z "${KUBECONFIG:-}" ]; then
  get_server
  port=$(free_port)
  # Its etcd, for tests that make it forget the past.
  export REAL_ETCD=http://127.0.0.1:$((port + 1))
  export KUBECONFIG=$work/server/kubeconfig
  start "$work/server" "$port"
fi

config() { kubectl config view --raw --minify --output "jsonpath={.clusters[0].cluster.$1}"; }
REAL_SERVER=$(config server)
if [ -n "$(config certificate-authority-data)" ]; then
  config certificate-authority-data | base64 -d >"$work/ca.crt"
else
  cp "$(config certificate-authority)" "$work/ca.crt"
fi
REAL_CA=$work/ca.crt
REAL_NAMESPACE=$namespace
export REAL_SERVER REAL_CA REAL_NAMESPACE

created=yes
{
  for name in "$namespace" "$namespace-load" "$namespace-watch"; do
    kubectl create namespace "$name"
    kubectl --namespace "$name" create serviceaccount seeder
    kubectl --namespace "$name" create role seeder --verb=create,patch --resource=pods,pods/status
    kubectl --namespace "$name" create rolebinding seeder --role=seeder --serviceaccount="$name:seeder"
    # What a watch is told where it is forbidden, the namespace with the many pods shows.
    case $name in *-load) verbs=list ;; *) verbs=list,watch ;; esac
    kubectl --namespace "$name" create role lister --verb="$verbs" --resource=pods
    kubectl --namespace "$name" create rolebinding lister --role=lister --serviceaccount="$namespace:lister"
  done
  kubectl --namespace "$namespace" create serviceaccount lister
} >/dev/null
fill() { seed "$REAL_SERVER" "$REAL_CA" "$(kubectl --namespace "$1" create token seeder)" "$1" "$2"; }
fill "$namespace" 60
fill "$namespace-load" 5000
# Started anew, the API server knows the pods, and no longer how they came to be: that is how it is with any that is older.
if [ -n "$server" ]; then
  stop
  start "$work/server" "$port"
fi
REAL_TOKEN=$(kubectl --namespace "$namespace" create token lister)
export REAL_TOKEN

cd "$root"
cargo build --quiet --release --locked -p incluster --bin incluster --example list
# One by one: some make the server forget what others have listed.
cargo test --release --locked -p incluster --test real -- --nocapture --test-threads=1
