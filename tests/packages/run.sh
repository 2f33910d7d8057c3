#!/usr/bin/env bash
# Checks that the packages are complete: builds the README's first program from them, in an empty folder with all other crates vendored,
# without a network, and without the guests and their target. Then runs it to list pods.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
tools/package.sh
cargo build --quiet --release --locked -p incluster-testbed --bin serve
work=$(mktemp -d)
trap 'kill %1 2>/dev/null || true; rm -rf "$work"' EXIT
# Other crates as `cargo vendor` writes them, and ours from their packages.
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
# The README's first block in this language: its dependencies, and its program.
within() { awk -v begin="^\`\`\`$1" '$0 ~ begin { within = 1; next } /^```/ && within { exit } within' README.md; }
cat >"$work/program/Cargo.toml" <<END
[package]
name = "program"
edition = "2024"
$(within toml | sed "s/^incluster = .*/incluster = \"${version##*-}\"/")
[dev-dependencies]
incluster-testbed = "${version##*-}"
END
within rust |
  # The namespace and label of the test double's pods.
  sed 's/"default"/"shop"/; s/"app=web"/"tier=edge"/' >"$work/program/src/main.rs"
mkdir "$work/program/tests"
echo '#[tokio::test] async fn there_is_a_double() { assert!(testbed::Testbed::start().await.server.url().starts_with("https")); }' \
  >"$work/program/tests/double.rs"
cd "$work/program"
env -u CARGO_TARGET_DIR cargo build --quiet
env -u CARGO_TARGET_DIR cargo test --quiet --test double
[ ! -e target/guests ] || { echo "packages: the build has built guests" >&2; exit 1; }
echo "packages: the README's program is built"
cd "$root"

# The program needs a pod's service-account folder, which it gets in a mount namespace of its own.
coproc serve { target/release/serve 7; }
read -r url <&"${serve[0]}"
read -r volume <&"${serve[0]}"
address=${url#https://}
there=/var/run/secrets/kubernetes.io/serviceaccount
unshare --mount --map-root-user true 2>/dev/null || { echo "packages: the program cannot run here: this machine permits no mount namespaces" >&2; exit 1; }
listed=$(KUBERNETES_SERVICE_HOST=${address%:*} KUBERNETES_SERVICE_PORT=${address##*:} unshare --mount --map-root-user sh -euc "
  mount -t tmpfs none /var/run
  mkdir -p $there
  mount --bind '$volume' $there
  exec '$work/program/target/debug/program'" 2>&1) || true
echo "packages: the program printed: $listed"
case $listed in *"Some(\"Running\")"*) ;; *) echo "packages: the program has not listed the pods" >&2; exit 1 ;; esac
# Build the command line from the packages as well.
(cd "$work/program" && cargo build --quiet --manifest-path "$work/vendor/$version/Cargo.toml" --config "$work/program/.cargo/config.toml" --target-dir target)
"$work/program/target/debug/incluster" --version
# The command line contains the crates that an extension depends on.
"$work/program/target/debug/incluster" new "$work/hello" >/dev/null
diff wit/client.wit "$work/hello/crates/incluster-extension/wit/client.wit"
[ -e "$work/hello/crates/incluster-core/src/error.rs" ] || { echo "packages: the command line contains no crates" >&2; exit 1; }
