#!/usr/bin/env bash
# Runs the tests of main.rs: the components in a stock wasmtime CLI, against the testbed and against a real Kubernetes of the repository's
# own (tests/cluster), whose API server has an RSA certificate first and then an ECDSA one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=tests/cluster/cluster.py

if [ -z "${CLUSTER_DIR:-}" ]; then
  WASMTIME=$(tools/wasmtime-cli.sh)
  INCLUSTER=$PWD/target/release/incluster
  export WASMTIME INCLUSTER
  # The whole workspace's features, which building an example enables, are those of `just test`, so that wasmtime is not compiled again.
  # incluster-command is excluded because it has a binary of the same name.
  cargo build --quiet --release --locked --workspace --exclude incluster-command --features incluster-cli/standalone --bin incluster --example list
  cargo test --release --locked --workspace --test cli -- against_testbed
  . tests/cluster/own.sh
  "$cluster" exec -- "${BASH_SOURCE[0]}"
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kubectl create namespace shop >/dev/null
kubectl --namespace shop create serviceaccount lister >/dev/null
kubectl --namespace shop create role lister --verb=get,list,watch --resource=pods >/dev/null
kubectl --namespace shop create rolebinding lister --role=lister --serviceaccount=shop:lister >/dev/null
tests/kube-apiserver/seed.py shop 60
server=$(kubectl config view --raw --minify --output 'jsonpath={.clusters[0].cluster.server}')
REAL_HOST=${server#https://}
REAL_PORT=${REAL_HOST##*:}
REAL_HOST=${REAL_HOST%:*}
REAL_CA=$CLUSTER_DIR/ca.crt
REAL_TOKEN=$(kubectl --namespace shop create token lister)
KUBECTL=kubectl
export REAL_HOST REAL_PORT REAL_CA REAL_TOKEN KUBECTL
run() { cargo test --release --locked --offline --workspace --test cli -- real::; }
echo "test-wasmtime-cli: kube-apiserver with an RSA certificate"
run
# Make a new CA and a certificate of it, and restart the API server with the certificate: a running one would take it, but not at once.
"$cluster" certificates --ca "$work/ecdsa" --key ecdsa
cp "$work/ecdsa/ca.crt" "$CLUSTER_DIR/ca.crt"
cp "$work/ecdsa"/apiserver.{key,crt} "$CLUSTER_DIR"
"$cluster" restart apiserver
for _ in $(seq 300); do kubectl get --raw /readyz >/dev/null 2>&1 && break; sleep 0.2; done
echo "test-wasmtime-cli: kube-apiserver with an ECDSA certificate"
run
