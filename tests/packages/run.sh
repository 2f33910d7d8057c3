#!/usr/bin/env bash
# Shows that the packages are enough: in an empty folder, with every other crate vendored and no network, without the guests and their
# target, the README's first program is built from them, and lists pods.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
tools/package.sh
cargo build --quiet --release --locked -p incluster-testbed --bin serve
work=$(mktemp -d)
trap 'kill %1 2>/dev/null || true; rm -rf "$work"' EXIT
# Other people's crates, as they are vendored; and ours, from their packages.
cargo vendor --quiet --locked --versioned-dirs "$work/vendor" >/dev/null
for crate in target/package/*.crate; do
  name=$(basename "$crate" .crate)
  tar --extract --gzip --file "$crate" --directory "$work/vendor"
  printf '{"files": {}, "package": "%s"}' "$(sha256sum "$crate" | cut -d ' ' -f 1)" >"$work/vendor/$name/.cargo-checksum.json"
done
mkdir -p "$work/program/.cargo" "$work/program/src"
cat >"$work/program/.cargo/config.toml" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$work/vendor"
[net]
offline = true
END
version=$(basename target/package/incluster-cli-*.crate .crate)
cat >"$work/program/Cargo.toml" <<END
[package]
name = "program"
edition = "2024"
[dependencies]
incluster = "${version##*-}"
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
[dev-dependencies]
incluster-testbed = "${version##*-}"
END
# The first program of the README.
awk '/^```rust/ { within = 1; next } /^```/ && within { exit } within' README.md |
  # The namespace and labels of the pods that the test double has.
  sed 's/"default"/"shop"/; s/"app=web"/"tier=edge"/' >"$work/program/src/main.rs"
mkdir "$work/program/tests"
echo '#[tokio::test] async fn there_is_a_double() { assert!(testbed::Testbed::start().await.server.url().starts_with("https")); }' \
  >"$work/program/tests/double.rs"
cd "$work/program"
env -u CARGO_TARGET_DIR cargo build --quiet
env -u CARGO_TARGET_DIR cargo test --quiet --test double
[ ! -e target/guests ] || { echo "packages: it has built guests" >&2; exit 1; }
echo "packages: the README's program is built"
cd "$root"

# A pod's folder is nobody's here: it is this program's alone, in a namespace of mounts of its own.
coproc serve { target/release/serve 7; }
read -r url <&"${serve[0]}"
read -r volume <&"${serve[0]}"
address=${url#https://}
there=/var/run/secrets/kubernetes.io/serviceaccount
unshare --mount --map-root-user true 2>/dev/null || { echo "packages: no program can be run here, as there are no namespaces of mounts" >&2; exit 1; }
listed=$(KUBERNETES_SERVICE_HOST=${address%:*} KUBERNETES_SERVICE_PORT=${address##*:} unshare --mount --map-root-user sh -euc "
  mount -t tmpfs none /var/run
  mkdir -p $there
  mount --bind '$volume' $there
  exec '$work/program/target/debug/program'" 2>&1) || true
echo "packages: it said: $listed"
case $listed in *"Some(\"Running\")"*) ;; *) echo "packages: it has not listed the pods" >&2; exit 1 ;; esac
# The command line, too.
(cd "$work/program" && cargo build --quiet --manifest-path "$work/vendor/$version/Cargo.toml" --config "$work/program/.cargo/config.toml" --target-dir target)
"$work/program/target/debug/incluster" --version
# It carries the crates that an extension depends on.
"$work/program/target/debug/incluster" new "$work/hello" >/dev/null
diff wit/client.wit "$work/hello/crates/incluster-extension/wit/client.wit"
[ -e "$work/hello/crates/incluster-core/src/error.rs" ] || { echo "packages: it carries no crates" >&2; exit 1; }
