#!/usr/bin/env bash
# Shows incluster at work in the pods of a real Kubernetes of the repository's own (tests/cluster): `just demo-cluster`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=$PWD/tests/cluster/cluster.py
program=target/extensions/wasm32-wasip2/component/program.wasm

if [ "${1:-}" != inside ]; then
  cargo build --quiet --release --locked -p extensions
  . tests/cluster/own.sh
  "$cluster" load dist/images/incluster.tar >/dev/null
  "$cluster" exec -- "${BASH_SOURCE[0]}" inside
  exit
fi

say() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }
quietly() { "$@" >/dev/null; }
# Waits until a command's output contains a text.
until_it_says() {
  local text=$1
  shift
  for _ in $(seq 240); do
    if "$@" 2>/dev/null | grep --quiet --fixed-strings -- "$text"; then return; fi
    sleep 0.5
  done
  echo "demo: \`$*\` has not printed \"$text\" within two minutes" >&2
  exit 1
}
# Prints the watcher's requests and their tokens in order, from the API server's audit log.
tokens() {
  python3 - "$CLUSTER_DIR/audit.log" "$1" <<'PY'
import json, sys
prefix, seen = "authentication.kubernetes.io/", []
for line in open(sys.argv[1]):
    event = json.loads(line)
    extra = event["user"].get("extra", {})
    if extra.get(f"{prefix}pod-name") == [sys.argv[2]] and event["auditID"] not in [audit for audit, *_ in seen]:
        seen.append((event["auditID"], event["requestReceivedTimestamp"][11:19], event["verb"], extra[f"{prefix}credential-id"][0]))
for _, time, verb, token in seen:
    print(f"{time}  {verb:6}{token}")
PY
}

say "a namespace, a service account that may list and watch its pods, and a watcher (deploy/rbac.yaml, deploy/watch.yaml)"
quietly kubectl apply -f deploy/namespace.yaml -f deploy/rbac.yaml -f deploy/watch.yaml
quietly kubectl rollout status --namespace=shop deployment/watch --timeout=90s
watcher=$(kubectl get pods --namespace=shop --selector=app=watch --output='jsonpath={.items[0].metadata.name}')

say "another namespace, whose pods the same account may list"
quietly kubectl create namespace bank
quietly kubectl create role lister --namespace=bank --verb=list --resource=pods
quietly kubectl create rolebinding lister --namespace=bank --role=lister --serviceaccount=shop:lister
quietly kubectl run vault --namespace=bank --image=incluster:0.1.0 -- pods --watch
show kubectl auth can-i list pods --namespace=bank --as=system:serviceaccount:shop:lister

say "an untrusted extension, with a policy that permits one of the two namespaces"
policy='rules: [{verbs: [list], apiGroups: [""], resources: [pods], namespaces: [shop]}]'
echo "policy.yaml: $policy"
quietly kubectl create configmap extension --namespace=shop --from-file="$program" --from-literal=policy.yaml="$policy"
for namespace in shop bank; do
  args='["run", "--policy", "/extension/policy.yaml", "/extension/program.wasm", "list", "'$namespace'"]'
  security='{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}'
  quietly kubectl apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: lists-$namespace, namespace: shop}
spec:
  serviceAccountName: lister
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: incluster
      image: incluster:0.1.0
      args: $args
      volumeMounts: [{name: extension, mountPath: /extension, readOnly: true}]
      resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 512Mi}}
      securityContext: $security
  volumes: [{name: extension, configMap: {name: extension}}]
YAML
done
for pod in lists-shop/Succeeded lists-bank/Failed; do
  quietly kubectl wait --namespace=shop --for=jsonpath='{.status.phase}'="${pod#*/}" "pod/${pod%/*}" --timeout=120s
  show kubectl logs --namespace=shop "${pod%/*}"
done

say "the kubelet rotates the token (it does so when it restarts, and otherwise every 48 minutes)"
"$cluster" restart kubelet
echo "the watcher reads the token again when it is a minute old: wait for a minute"
sleep 61

say "the API server restarts, and a pod is created"
"$cluster" restart apiserver
until_it_says ok kubectl get --raw /readyz
quietly kubectl apply -f deploy/list.yaml
until_it_says list- kubectl logs --namespace=shop "$watcher"
show kubectl logs --namespace=shop "$watcher"

say "the watcher's requests as the API server saw them: the verb, and which token"
tokens "$watcher"
