#!/usr/bin/env bash
# Makes rustc's target wasm32-wasip2 available: by rustup, or else from Debian's packages. Does nothing if it is there.
set -euo pipefail
target=wasm32-wasip2
# Otherwise, rustup would try to install missing parts before it runs rustc, and fail without a network.
export RUSTUP_AUTO_INSTALL=0
sysroot=$(rustc --print sysroot)
libdir=$sysroot/lib/rustlib/$target/lib

# std is the last file that the installation from Debian's packages writes.
if compgen -G "$libdir/libstd-*.rlib" >/dev/null; then
  exit 0
fi
if command -v rustup >/dev/null && rustup target add "$target" >/dev/null 2>&1; then
  echo "setup: rustup added the target $target" >&2
  exit 0
fi

fail() {
  echo "setup: the target $target is missing: rustup could not add it, and $1" >&2
  echo "setup: run \`rustup target add $target\` by hand, where there is a network, and try again" >&2
  exit 1
}
command -v apt-get >/dev/null || fail "there is no apt-get to install it from Debian's packages"
echo "setup: rustup could not add the target $target: building its std from Debian's packages (about a minute)" >&2
work=$(mktemp -d)
linked=
# std's sources are needed only here: left in place, they would be mistaken for those of rustup's component rust-src.
finish() {
  rm -rf "$work"
  [ -z "$linked" ] || rm -rf "$linked"
}
trap finish EXIT
# Outside the repository, its rust-toolchain.toml does not apply: name the same toolchain.
if command -v rustup >/dev/null; then
  RUSTUP_TOOLCHAIN=$(rustup show active-toolchain | cut -d' ' -f1)
  export RUSTUP_TOOLCHAIN
fi
cd "$work"

# Reads packages of one Debian suite from apt's own mirror, without changing the system's apt setup.
find_mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | sort -u | head -n 1 || true; }
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get -qq update && mirror=$(find_mirror); } || true
[ -n "$mirror" ] || fail "apt has no Debian mirror"
mkdir -p lists/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie-backports main" >sources.list
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >>sources.list
apt=(apt-get -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/lists"
  -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root -qq)
"${apt[@]}" update || fail "Debian's mirror does not answer"

# std must have exactly rustc's version.
version=$(rustc --version | cut -d' ' -f2)
package=$(apt-cache "${apt[@]:1}" madison rust-src | awk -F'|' '{gsub(/ /, "", $2); print $2}' | grep "^${version//./\\.}[+~-]" | head -n 1 || true)
[ -n "$package" ] || fail "Debian has no rust-src of version $version"
"${apt[@]}" download "rust-src=$package" wasi-libc || fail "its packages could not be downloaded"
for deb in ./*.deb; do dpkg -x "$deb" debian; done

library=$sysroot/lib/rustlib/src/rust/library
if [ ! -e "$library" ]; then
  mkdir -p "$(dirname "$library")"
  linked=$library
  ln -sfn "$work/debian/usr/src/rustc-$version/library" "$library"
fi
mkdir -p "$libdir/self-contained"
cp debian/usr/lib/$target/{crt1-command.o,crt1-reactor.o,libc.a} "$libdir/self-contained/"

cargo new --quiet --vcs none empty
cd empty
# Without bitcode, programs built with this std could not use LTO.
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR="$work/target" \
  cargo build --quiet --release -Zbuild-std=std,panic_abort --target "$target" || fail "its std could not be built"
rm -f "$work/target/$target/release/deps"/libempty-*.rlib
built=$work/target/$target/release/deps
find "$built" -name '*.rlib' ! -name 'libstd-*' -exec cp -t "$libdir" {} +
cp "$built"/libstd-*.rlib "$libdir/"
echo "setup: built the target $target from Debian's packages" >&2
