#!/usr/bin/env bash
# Compiles the binary `incluster` for arm64 on a machine of another architecture, as target/aarch64-unknown-linux-gnu/release/incluster.
# Arguments are passed to rustc. Installs the distribution's cross compiler and an emulator, if they are missing and it is permitted to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=aarch64-unknown-linux-gnu
gcc=aarch64-linux-gnu-gcc
has() { command -v "$gcc" >/dev/null && command -v qemu-aarch64-static >/dev/null && [ -e /usr/aarch64-linux-gnu/lib/libc.so ]; }
has || tools/debian.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
has || { echo "arm64.sh: there is no $gcc with a C library, or no qemu-aarch64-static, and they cannot be installed here" >&2; exit 1; }
compgen -G "$(rustc --print sysroot)/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null || rustup target add "$target"
CC_aarch64_unknown_linux_gnu=$gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$gcc \
  cargo rustc --release --locked -p incluster-cli --features standalone,cross --bin incluster --target "$target" -- "$@"
