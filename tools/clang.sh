#!/usr/bin/env bash
# Makes a C compiler for WebAssembly available: clang, which compiles ring's C code for incluster-standalone.wasm, and llvm-ar. Installs
# the distribution's packages if it may. Does nothing if both are there.
set -euo pipefail
works() { command -v llvm-ar >/dev/null && echo 'int x;' | clang --target=wasm32-wasip2 -c -x c -o /dev/null - 2>/dev/null; }
if works; then
  exit 0
fi
"$(dirname "${BASH_SOURCE[0]}")/debian.sh" clang llvm
works || { echo "clang.sh: there is no clang that compiles for wasm32-wasip2, or no llvm-ar, and they cannot be installed here; install them, and try again" >&2; exit 1; }
