#!/usr/bin/env bash
# Checks what `just dist` has made, with tools of others: its sums, the metadata, the bills of materials, and that components can be pulled from
# a registry, which runs here on a free port of the loopback interface.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -e dist/SHA256SUMS ] || { echo "dist-check.sh: run \`./justw dist\` first" >&2; exit 1; }
wasm_tools=$(tools/wasm-tools.sh)
wkg=$(tools/cargo-tool.sh wkg 0.16.1)
tools/skopeo.sh
command -v docker-registry >/dev/null || tools/debian.sh docker-registry
command -v docker-registry >/dev/null || { echo "dist-check.sh: there is no docker-registry, and it cannot be installed here" >&2; exit 1; }
work=$(mktemp -d)
registry=
finish() {
  [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

(cd dist && sha256sum --check --quiet SHA256SUMS)
echo "dist-check: the sums of $(wc -l <dist/SHA256SUMS) files are right"

for component in dist/*.wasm; do
  "$wasm_tools" metadata show --json "$component" >"$work/metadata.json"
  python3 - "$component" "$work/metadata.json" <<'END'
import json, sys
path, metadata = sys.argv[1], json.load(open(sys.argv[2]))
said = metadata["component"]["metadata"]
is_package = "incluster-kubernetes-" in path
# The repository has no address yet, which would be `source`.
for field in ("description", "licenses", "version") + (() if is_package else ("name", "revision")):
    assert said[field], f"{path} has no {field}: {said}"
print(f"{path}: {said['name'] or 'the contract'} {said['version']}, {said['licenses']}: {said['description']}")
END
done

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'
for bill in dist/*.cdx.json; do
  "$work/venv/bin/python" - "$bill" <<'END'
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1]).read()
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
assert error is None, f"{sys.argv[1]}: {error}"
components = json.loads(text)["components"]
assert len(components) > 10 and all(part.get("licenses") for part in components), sys.argv[1]
print(f"{sys.argv[1]}: {len(components)} crates, each with its licence")
END
done

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/registry.yaml" <<END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:$port"}
END
docker-registry serve "$work/registry.yaml" >"$work/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
for archive in dist/components/*.tar; do
  name=$(basename "$archive" .tar)
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
  skopeo copy --quiet --preserve-digests --dest-tls-verify=false "oci-archive:$archive" "docker://127.0.0.1:$port/$name:$version"
  "$wkg" oci pull --insecure "127.0.0.1:$port" --output "$work/pulled.wasm" "127.0.0.1:$port/$name:$version"
  published=dist/$name.wasm
  [ -e "$published" ] || published=dist/$name-$version.wasm
  cmp "$work/pulled.wasm" "$published"
  "$wasm_tools" component wit "$work/pulled.wasm" >/dev/null
  echo "dist-check: $name:$version was pulled from a registry, and is $published"
done
for archive in dist/images/*.tar; do
  skopeo copy --quiet --preserve-digests --dest-tls-verify=false "oci-archive:$archive" "docker://127.0.0.1:$port/images/$(basename "$archive" .tar):published"
done
echo "dist-check: the registry takes all images"
