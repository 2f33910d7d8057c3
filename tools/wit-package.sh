#!/usr/bin/env bash
# Packs the contract as dist/incluster-kubernetes-VERSION.wasm, for registries of components and for other tools. It is built twice, because
# others can build it and compare only if the same files always make the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Another version might write other bytes.
wkg=$(tools/cargo-tool.sh wkg 0.16.1)
version=$(sed -n 's/^package incluster:kubernetes@\(.*\);$/\1/p' wit/worlds.wit)
package=dist/incluster-kubernetes-$version.wasm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build NAME FILE…: builds in a separate folder, because wkg writes a lock file where it runs. The contract depends on no package, so the lock is empty.
build() {
  local name=$1
  shift
  mkdir "$work/$name"
  cp "$@" "$work/$name/"
  (cd "$work/$name" && "$wkg" build --cache "$work/cache" --wit-dir . --output "$work/$name.wasm") 2>"$work/log" ||
    { cat "$work/log" >&2; exit 1; }
}
build first wit/wkg.toml wit/*.wit
# In another order, because the order of files in a folder differs between machines.
mapfile -t backwards < <(printf '%s\n' wit/*.wit | sort --reverse)
build second wit/wkg.toml "${backwards[@]}"
cmp "$work/first.wasm" "$work/second.wasm"

# The package's metadata is in custom sections with these names.
python3 - "$work/first.wasm" "$version" <<'END'
import re, sys

path, version = sys.argv[1:]
data = open(path, "rb").read()
assert data[:4] == b"\0asm", "wit-package.sh: it is not WebAssembly"


def number(at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


says, at = {}, 8
while at < len(data):
    kind, (size, at) = data[at], number(at + 1)
    if kind == 0:
        length, name = number(at)
        says[data[name : name + length].decode()] = data[name + length : at + size]
    at += size
written = dict(re.findall(r'^(\w+) = "(.*)"$', open("wit/wkg.toml").read(), re.MULTILINE))
# The licence must be that of the crates.
licence = re.search(r'^license = "(.*)"$', open("Cargo.toml").read(), re.MULTILINE)[1]
for name, text in {"description": None, **written, "licenses": licence, "version": version}.items():
    found = says.get(name, b"").decode()
    if not found or found != text:
        sys.exit(f"wit-package.sh: its {name} is {found!r}, not {text!r}")
    print(f"{name}: {found}")
END
mkdir -p dist
cp "$work/first.wasm" "$package"
echo "$package: $(stat --format %s "$package") bytes, the same twice"
sha256sum "$package"
