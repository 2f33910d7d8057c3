#!/usr/bin/env bash
# Runs main.rs beside this file: the components in a stock wasmtime CLI, against the testbed, and against a real kube-apiserver on
# loopback where the tools for one are in ../shared, beside the repository; with RSA certificates first, then with ECDSA ones.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/kube-apiserver/server.sh"
cd "$root"
WASMTIME=$(tools/wasmtime-cli.sh)
INCLUSTER=$root/target/release/incluster
export WASMTIME INCLUSTER
cargo build --quiet --release --locked -p incluster --bin incluster
run() { cargo test --release --locked -p incluster-standalone --test cli -- "$@"; }
run against_testbed::

if [ ! -d "$tools" ]; then
  echo "test-wasmtime-cli: without a real API server: no tools that start and seed one are at ../shared/tools"
  exit 0
fi
work=$(mktemp -d)
finish() { stop; rm -rf "$work"; }
trap finish EXIT
get_kubectl
get_server
port=$(free_port)
export KUBECONFIG=$work/kubeconfig
start "$work" "$port"
kubectl create namespace shop >/dev/null
kubectl --namespace shop create serviceaccount lister >/dev/null
kubectl --namespace shop create role lister --verb=list,watch --resource=pods >/dev/null
kubectl --namespace shop create rolebinding lister --role=lister --serviceaccount=shop:lister >/dev/null
seed "https://127.0.0.1:$port" "$work/ca.crt" "$(cat "$work/admin-token")" shop 60
REAL_PORT=$port
REAL_CA=$work/ca.crt
REAL_TOKEN=$(kubectl --namespace shop create token lister)
export REAL_PORT REAL_CA REAL_TOKEN
echo "test-wasmtime-cli: kube-apiserver with RSA certificates"
run real::
stop
use_ecdsa "$work"
start "$work" "$port"
echo "test-wasmtime-cli: kube-apiserver with ECDSA certificates"
run real::
