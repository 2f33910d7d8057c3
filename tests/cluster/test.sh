#!/usr/bin/env bash
# Checks that the cluster of cluster.py leaves nothing behind, however it ends: `just test-cluster`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
finish() {
  local status=$?
  [ "$status" = 0 ] || ./cluster.py down
  exit "$status"
}
./leftovers.py || { echo "test-cluster: the above is left of a cluster: stop it first" >&2; exit 1; }
./cluster.py build >/dev/null
trap finish EXIT
trap 'exit 143' HUP INT TERM

# nothing_is_left AFTER STATUS WANTED
nothing_is_left() {
  [ "$2" = "$3" ] || { echo "test-cluster: after $1: exit status $2, not $3" >&2; exit 1; }
  local left
  left=$(./leftovers.py) || { echo "test-cluster: after $1: $left" >&2; exit 1; }
  echo "after $1: $left"
}
status=0
./cluster.py up
./cluster.py exec -- kubectl create namespace left >/dev/null
./cluster.py down || status=$?
nothing_is_left "down" $status 0

status=0
APISERVER_FLAGS=--no-such-flag ./cluster.py up 2>/dev/null || status=$?
nothing_is_left "a failed start" $status 1

for seconds in 1 3 6; do
  for signal in HUP=129 INT=130 TERM=143; do
    # `timeout --foreground` sends the signal only to this process, not to its children.
    status=0
    timeout --foreground --preserve-status --signal="${signal%=*}" "$seconds" ./cluster.py up 2>/dev/null || status=$?
    nothing_is_left "${signal%=*} $seconds s after up" $status "${signal#*=}"
  done
done

# A killed `up` cannot clean up: the next command does.
timeout --foreground --signal=KILL 5 ./cluster.py up 2>/dev/null || true
status=0
./cluster.py down || status=$?
nothing_is_left "KILL 5 s after up, and down" $status 0
