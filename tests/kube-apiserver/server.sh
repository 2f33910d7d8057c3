# Functions for scripts that need a real API server of their own; they source this file. The tools that build, start and seed
# one are in ../shared, beside the repository. `$root` is the repository.
tools=$root/../shared/tools
cache=$root/target/kube-apiserver
server=

kubectl() { "$KUBECTL" "$@"; }

get_kubectl() {
  mkdir -p "$cache"
  local get=("$tools/get-kubectl.sh" "$cache")
  # Once kubectl is in place, the tool shows the first line of its version, and may be ended by SIGPIPE for that: a second run finds
  # kubectl there.
  KUBECTL=$("${get[@]}" 2>"$cache/kubectl.log" || "${get[@]}" 2>>"$cache/kubectl.log") || { cat "$cache/kubectl.log" >&2; exit 1; }
  export KUBECTL
}

# Builds the API server once, and gets etcd.
get_server() {
  mkdir -p "$cache"
  "$tools/build-kube-apiserver.sh" "$cache" >"$cache/build.log" 2>&1 || { tail -n 20 "$cache/build.log" >&2; exit 1; }
  command -v etcd >/dev/null || { apt-get -qq update && apt-get install -y -qq --no-install-recommends etcd-server etcd-client >/dev/null; }
}

# The first of three ports in a row, which the server wants.
free_port() {
  python3 - <<'P'
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
}

# start DIR PORT: until `stop`, or the script's end. DIR keeps its certificates and its data.
start() {
  mkdir -p "$1"
  : >"$1/server.log"
  "$tools/start-kube-apiserver.sh" "$cache/kube-apiserver" "$1" "$2" >"$1/server.log" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    ! grep -q '^ready' "$1/server.log" || break
    kill -0 "$server" 2>/dev/null || { cat "$1/server.log" >&2; exit 1; }
    sleep 0.2
  done
  grep -q '^ready' "$1/server.log" || { echo "the API server did not start in two minutes" >&2; exit 1; }
}

# Gives the server whose folder this is ECDSA certificates in place of RSA ones, for when it starts again.
use_ecdsa() {
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  (
    cd "$1"
    openssl req -x509 "${key[@]}" -keyout ca.key -out ca.crt -subj /CN=kubernetes-ca -days 365
    openssl req "${key[@]}" -keyout server.key -out server.csr -subj /CN=kube-apiserver
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile san.ext -out server.crt
  ) 2>/dev/null
}

stop() {
  [ -n "$server" ] || return 0
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}

# seed URL CA TOKEN NAMESPACE COUNT
seed() {
  local address=${1#https://}
  [[ $address =~ :[0-9]+$ ]] || address=$address:443
  python3 "$tools/seed_pods.py" "${address%:*}" "${address##*:}" "$2" "$3" "$4" "$5" |
    { grep -x 'errors 0 \[\]' >/dev/null || { echo "seeding $4 failed" >&2; return 1; }; }
}
