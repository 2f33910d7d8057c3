#!/usr/bin/env bash
# Builds a component from each program in this folder. ADAPTER is wasi_snapshot_preview1.reactor.wasm, of a release of wasmtime; GO_PACKAGE is a copy of the module
# go.bytecodealliance.org/pkg, for use where the Go module proxy does not have it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
for world in lister picker; do
  [ -d "$world" ] || continue
  wit-bindgen go --quiet ../wit --world "$world" --out-dir "$world"
  (
    cd "$world"
    if [ -n "${GO_PACKAGE:-}" ]; then
      rm -rf ../pkg && cp -r "$GO_PACKAGE" ../pkg && chmod -R u+w ../pkg
      (cd ../pkg && go mod edit -go 1.26)
      go mod edit -replace go.bytecodealliance.org/pkg=../pkg
    fi
    # The package allocates memory by a function of Go's runtime that is not public.
    GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod go build -buildmode=c-shared -ldflags="-s -w -checklinkname=0" -o core.wasm .
    wasm-tools component embed ../../wit --world "$world" core.wasm -o embedded.wasm
    wasm-tools component new --adapt "wasi_snapshot_preview1=${ADAPTER:?the adapter}" embedded.wasm -o "../$world.wasm"
  )
done
