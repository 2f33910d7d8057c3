#!/usr/bin/env bash
# Makes OCI archives in dist/images from what tools/programs.sh put into dist/. It needs no container engine, and the same files always make the same archives.
#
#   incluster.tar             the binary `incluster` and the parts of glibc that it is linked to: no shell, and nothing else
#   incluster-gateway.tar     the gateway of examples/gateway, likewise
#   incluster-envoy.tar       the program of examples/envoy, likewise
#   incluster-wasmtime.tar    a stock wasmtime CLI, with incluster-standalone.wasm as it is and compiled
#   incluster-standalone.tar  incluster-standalone.wasm alone, for runtimes that run components
#
# `images.sh limited` makes those that are published, and checks that each is small enough. `images.sh arm64` makes incluster.tar in dist/images-arm64 from what tools/arm64.sh has compiled, on a machine with the cross compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(cargo metadata --format-version 1 --no-deps --offline | python3 -c 'import json, sys
print(next(package["version"] for package in json.load(sys.stdin)["packages"] if package["name"] == "incluster"))')
# An unprivileged user: by convention, images without a user database run as this one.
user=65532:65532
# The most bytes that a published image may have, as a registry stores it and a node pulls it. For incluster's image, this is also the limit when
# unpacked.
most=$((30 << 20))
kind=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
images=dist/images
[ "$kind" != arm64 ] || images+=-arm64
mkdir -p "$images"

# root NAME PROGRAM: makes a folder with a program and the libraries that it is linked to
root() {
  local root=$work/$1
  mkdir -p "$root"
  strip --output-target="$(objdump --file-headers "$2" | sed -n 's/.*file format //p')" -o "$root/$(basename "$2")" "$2"
  env -i PATH="$PATH" ldd "$2" | grep --only-matching ' /[^ ]*\|^\s*/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp --dereference "$library" "$root$library"
  done
  echo "$root"
}

# image NAME TITLE ROOT OPTION… ENTRYPOINT: makes an image of a folder, and checks it
image() {
  local name=$1 title=$2 root=$3
  shift 3
  tools/image.py "$images/$name.tar" "$name:$version" "$root" --user "$user" --label org.opencontainers.image.title="$title" \
    --label org.opencontainers.image.version="$version" --label org.opencontainers.image.licenses=Apache-2.0 "$@"
  local archive unpacked
  archive=$(stat --format %s "$images/$name.tar")
  unpacked=$(du --apparent-size --bytes --summarize "$root" | cut -f 1)
  echo "$images/$name.tar: $name:$version, $archive bytes, $unpacked bytes unpacked"
  if [ -n "$kind" ] && { [ "$archive" -gt "$most" ] || { [ "$name" = incluster ] && [ "$unpacked" -gt "$most" ]; }; }; then
    echo "images.sh: $name is too large: an image may have $most bytes" >&2
    exit 1
  fi
  # skopeo did not write the archive: it compares every digest, and reports what a registry would.
  skopeo copy --quiet --override-arch "$architecture" "oci-archive:$images/$name.tar" "dir:$work/$name.read"
  local said
  said=$(skopeo inspect --override-arch "$architecture" --config --format '{{.Config.User}} {{.Config.Entrypoint}}' "oci-archive:$images/$name.tar")
  [ "$said" = "$user [${*: -1}]" ] || { echo "images.sh: skopeo reads \"$said\" in $images/$name.tar" >&2; exit 1; }
}

if [ "$kind" = arm64 ]; then
  architecture=arm64
  root=$work/incluster
  mkdir -p "$root/lib"
  aarch64-linux-gnu-strip -o "$root/incluster" target/aarch64-unknown-linux-gnu/release/incluster
  aarch64-linux-gnu-readelf --dynamic --program-headers "$root/incluster" |
    sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p; s/.*program interpreter: .*\/\(.*\)\]$/\1/p' | while read -r library; do
    cp --dereference "/usr/aarch64-linux-gnu/lib/$library" "$root/lib/"
  done
  # An emulator shows that the program starts with only the files of the image, because this machine cannot run it.
  qemu-aarch64-static -L "$root" "$root/incluster" --version
  image incluster incluster "$root" --architecture arm64 /incluster
  exit
fi
wasmtime=$(tools/wasmtime-cli.sh)
architecture=$(uname -m)
case $architecture in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) echo "images.sh: there is no image for $architecture" >&2; exit 1 ;;
esac
root incluster dist/incluster >/dev/null
image incluster incluster "$work/incluster" --architecture "$architecture" /incluster
if [ "$kind" != limited ]; then
  root gateway dist/gateway >/dev/null
  image incluster-gateway "incluster's example gateway" "$work/gateway" --architecture "$architecture" /gateway
  root envoy dist/incluster-envoy >/dev/null
  image incluster-envoy "incluster's external processor for Envoy" "$work/envoy" --architecture "$architecture" /incluster-envoy
fi
root wasmtime "$wasmtime" >/dev/null
cp dist/incluster-standalone.wasm "$work/wasmtime/"
# Naming the target keeps this machine's own CPU features out of the code.
"$wasmtime" compile --target "$(uname -m)-unknown-linux-gnu" -o "$work/wasmtime/incluster-standalone.cwasm" dist/incluster-standalone.wasm
image incluster-wasmtime "incluster-standalone.wasm in the wasmtime CLI" "$work/wasmtime" --architecture "$architecture" /wasmtime
mkdir "$work/standalone"
cp dist/incluster-standalone.wasm "$work/standalone/"
image incluster-standalone incluster-standalone.wasm "$work/standalone" --architecture wasm --os wasip1 /incluster-standalone.wasm
