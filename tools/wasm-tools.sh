#!/usr/bin/env bash
# Prints the path of wasm-tools, which reads and writes what a component says of itself. It is also a step of extensions in Go.
exec "$(dirname "${BASH_SOURCE[0]}")/cargo-tool.sh" wasm-tools 1.253.0 --no-default-features --features component,metadata
