#!/usr/bin/env bash
# Builds and starts the oldest API server that incluster is tested with: Kubernetes 1.20.2 from the source package of Debian 12, with
# Debian's etcd. There are no controllers and no nodes, so that objects stay as they are written.
#
#   oldest.sh build DIR         makes DIR/kube-apiserver, DIR/etcd and DIR/kubectl, once; this takes minutes
#   oldest.sh start DIR PORT    starts them on loopback: the API server at PORT, and etcd at the two ports after it
#
# `start` prints a line that begins with `ready` when the API server is ready. It runs until the process in DIR/server/pid gets a signal,
# or until its parent process ends. DIR/server has the data, which the next start keeps, and the administrator's kubeconfig. The
# certificates are RSA; the next start uses those that `tests/cluster/cluster.py certificates` has put there in between.
# Exit status: 1 after a failure, 2 after wrong usage, 3 if this machine cannot build it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster=$here/../cluster/cluster.py
suite=bookworm
version=1.20.2

say() { echo "oldest: $*" >&2; }
usage() { say "usage: oldest.sh build DIR, or oldest.sh start DIR PORT"; exit 2; }

# Installs nothing: packages are unpacked where they are used, and apt-get uses package lists of its own.
build() {
  local kube mirror
  kube=$("$cluster" build) || exit
  ln -sfn "$kube" "$dir/kubectl"
  if [ -x "$dir/kube-apiserver" ] && [ -x "$dir/etcd" ]; then
    return
  fi
  for program in apt-get dpkg openssl; do
    command -v "$program" >/dev/null || { say "$program not found: run this on Debian"; exit 3; }
  done
  # Sources that have only updates have a codename with a hyphen.
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$1 !~ /-/ && !found++ { print $2 }')
  [ -n "$mirror" ] || { say "apt-get has no Debian mirror: add one to its sources"; exit 3; }
  say "building Kubernetes $version, once; this takes minutes"
  work=$(mktemp -d "$dir/part.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  mkdir -p lists/partial cache/archives/partial unpacked
  for kind in deb deb-src; do
    echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >sources.list
  apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  "${apt[@]}" download etcd-server golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev
  "${apt[@]}" source --download-only kubernetes
  for package in *.deb; do
    dpkg --extract "$package" unpacked
  done
  compile
  mv "$work/unpacked/usr/bin/etcd" "$work/kube-apiserver" "$dir"
}

# Builds kube-apiserver, in the folder with the packages.
compile() {
  export CGO_ENABLED=0 GO111MODULE=off GOCACHE=$work/go-cache GOFLAGS='' GOPATH=$work/go GOROOT=$work/unpacked/usr/lib/go-1.19
  local go=$GOROOT/bin/go module=k8s.io/kubernetes reflect2=github.com/modern-go/reflect2
  local source=$GOPATH/src/$module
  mkdir -p "$source"
  tar --extract --gzip --strip-components=1 --directory="$source" --file kubernetes_*.orig.tar.gz
  # The vendored reflect2 crashes when it is built with Go 1.18 or later.
  rm -r "$source/vendor/$reflect2"
  cp -r "unpacked/usr/share/gocode/src/$reflect2" "$source/vendor/$reflect2"
  # The package that describes all types is generated and not in the source; the API server does not start without it.
  # The generator looks for vendored packages in the current folder.
  cd "$source"
  local types
  types=$("$go" list -deps -f '{{.Dir}} {{.ImportPath}}' "$module/cmd/kube-apiserver" | described | paste -sd ,)
  "$go" run "$module/vendor/k8s.io/kube-openapi/cmd/openapi-gen" --input-dirs="$types" --output-base="$GOPATH/src" \
    --output-package="$module/pkg/generated/openapi" --output-file-base=zz_generated.openapi --report-filename="$work/violations" \
    --go-header-file="$source/hack/boilerplate/boilerplate.generatego.txt"
  local variables='' package
  # One of the two versions is for the answers, the other for the log.
  for package in client-go/pkg/version component-base/version; do
    package=$module/vendor/k8s.io/$package
    variables+=" -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=20"
  done
  "$go" build -o "$work/kube-apiserver" -ldflags "-s -w$variables" "$module/cmd/kube-apiserver"
}

# Reads lines of a folder and a package, and prints the packages that ask for descriptions of their types.
described() {
  local folder package
  while read -r folder package; do
    case $folder in "$GOROOT"/*) continue ;; esac
    if grep --quiet --no-messages --fixed-strings '+k8s:openapi-gen=' "$folder"/*.go; then
      echo "$package"
    fi
  done
}

# Writes the files that the API server reads; keys and tokens of an earlier start are kept.
configure() {
  if [ ! -e ca.crt ]; then
    "$cluster" certificates --ca .
  fi
  if [ ! -e token ]; then
    openssl genrsa -out sa.key 2048 2>openssl.log || { cat openssl.log >&2; exit 1; }
    openssl rand -hex 16 >token
    echo "$(cat token),admin,admin,system:masters" >tokens.csv
  fi
  cat >audit-policy <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
YAML
  cat >kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters: [{name: oldest, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$PWD/ca.crt"}}]
users: [{name: admin, user: {token: "$(cat token)"}}]
contexts: [{name: oldest, context: {cluster: oldest, user: admin}}]
current-context: oldest
YAML
}

serve() {
  local client=http://127.0.0.1:$((port + 1)) peer=http://127.0.0.1:$((port + 2))
  # The folder holds the administrator's token.
  umask 077
  mkdir -p "$dir/server"
  cd "$dir/server"
  echo $$ >pid
  configure
  trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
  setpriv --pdeathsig TERM "$dir/etcd" --data-dir=etcd --listen-client-urls="$client" --advertise-client-urls="$client" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="default=$peer" >etcd.log 2>&1 &
  # Nothing connects to the advertised address. Without one, the machine would need a default route.
  setpriv --pdeathsig TERM "$dir/kube-apiserver" --etcd-servers="$client" --bind-address=127.0.0.1 --secure-port="$port" \
    --advertise-address=192.0.2.1 --endpoint-reconciler-type=none --service-cluster-ip-range=203.0.113.0/24 \
    --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --authorization-mode=RBAC --token-auth-file=tokens.csv \
    --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file=sa.key \
    --audit-policy-file=audit-policy --audit-log-path=audit.log --service-account-key-file=sa.key --disable-admission-plugins=ServiceAccount >apiserver.log 2>&1 &
  for _ in $(seq 300); do
    [ "$(jobs -pr | wc -l)" = 2 ] || break
    if [ "$("$dir/kubectl" --kubeconfig=kubeconfig get --raw /readyz 2>/dev/null)" = ok ]; then
      echo "ready: https://127.0.0.1:$port, KUBECONFIG=$PWD/kubeconfig"
      wait -n || true
      break
    fi
    sleep 0.2
  done
  say "the API server or etcd has ended, or is not ready after a minute; the last log lines are:"
  tail -n 5 etcd.log apiserver.log >&2
  exit 1
}

case ${1:-}:$# in build:2 | start:3 | serve:3) ;; *) usage ;; esac
mkdir -p "$2"
dir=$(cd "$2" && pwd)
port=${3:-}
case $1 in
  build) build ;;
  start)
    [ -x "$dir/kube-apiserver" ] || { say "nothing is built in $dir: run oldest.sh build $2"; exit 1; }
    # `setpriv` sends a signal when the parent ends; `exec` keeps the parent.
    exec setpriv --pdeathsig TERM "${BASH_SOURCE[0]}" serve "$dir" "$port"
    ;;
  serve) serve ;;
esac
