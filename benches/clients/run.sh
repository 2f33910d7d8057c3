#!/usr/bin/env bash
# Compares clients that list pods: run.sh SIZES… (100 5000 50000). The server is a real kube-apiserver where the tools for one
# are, which keeps its pods under target/ for the next run, and else the testbed. What it finds goes to docs/performance/.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/kube-apiserver/server.sh"
cd "$root"
sizes=("${@:-100}")
[ $# -gt 0 ] || sizes=(100 5000 50000)

HYPERFINE=$(tools/hyperfine.sh)
WASMTIME=$(tools/wasmtime-cli.sh)
venv=$root/target/bench/venv
if [ ! -e "$venv/done" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check kubernetes==37.0.2 matplotlib==3.10.7
  touch "$venv/done"
fi
cargo build --quiet --release --locked -p incluster --bin incluster
# As an embedder builds it who only lists pods: without a compiler in the process.
cargo build --quiet --release --locked -p incluster --no-default-features --example list --example pages
cargo build --quiet --release --locked -p testbed --bin serve
cargo build --quiet --release --locked -p incluster-standalone
cargo build --quiet --release --locked --manifest-path benches/clients/kube-rs/Cargo.toml --target-dir target/bench/kube-rs
export HYPERFINE WASMTIME

if [ ! -d "$tools" ]; then
  exec "$venv/bin/python" benches/clients/compare.py testbed "${sizes[@]}"
fi

get_kubectl
get_server
dir=$cache/bench
trap stop EXIT
# The kubeconfig and the certificates name the port of the first run.
[ -e "$dir/port" ] || { mkdir -p "$dir" && free_port >"$dir/port"; }
port=$(cat "$dir/port")
export KUBECONFIG=$dir/kubeconfig
start "$dir" "$port"
url=https://127.0.0.1:$port
seeded=
for size in "${sizes[@]}"; do
  [ ! -e "$dir/seeded-$size" ] || continue
  echo "bench: making $size pods" >&2
  kubectl create namespace "pods-$size" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  seed "$url" "$dir/ca.crt" "$(cat "$dir/admin-token")" "pods-$size" "$size"
  touch "$dir/seeded-$size"
  seeded=yes
done
# With no past in its memory, as a server that has run for long.
[ -z "$seeded" ] || { stop && start "$dir" "$port"; }
account=$dir/service-account
if [ ! -e "$account" ]; then
  kubectl create serviceaccount lister >/dev/null
  kubectl create clusterrole lister --verb=list --resource=pods >/dev/null
  kubectl create clusterrolebinding lister --clusterrole=lister --serviceaccount=default:lister >/dev/null
  mkdir -p "$account"
  cp "$dir/ca.crt" "$account/ca.crt"
  printf default >"$account/namespace"
fi
kubectl create token lister --duration=12h >"$account/token"
"$venv/bin/python" benches/clients/compare.py "$url" "${sizes[@]}"
