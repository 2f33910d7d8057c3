#!/usr/bin/env bash
# Makes packages of the crates that others depend on, in target/package. The packages contain the WIT and the built components, because
# whoever depends on them has neither the guests nor the wasm target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(incluster-core incluster-components incluster-extension incluster-standalone incluster incluster-cli incluster-testbed)
cargo build --quiet --release --locked -p incluster -p incluster-standalone
trap 'rm -rf host/components guest/standalone/components host/cli/crates host/cli/languages' EXIT
mkdir -p host/components guest/standalone/components
cp target/guests/incluster-plugin.wasm target/guests/incluster.wasm host/components/
cp target/standalone/incluster-standalone.wasm target/standalone/incluster-plugin-over-sockets.wasm guest/standalone/components/
# The sources that `incluster new` writes. Their manifests are renamed, because cargo leaves folders with a Cargo.toml out of a package.
mkdir -p host/cli/crates
cp Cargo.toml host/cli/crates/manifest.toml
for crate in incluster-core:core incluster-extension:guest/extension; do
  to=host/cli/crates/${crate%%:*} from=${crate#*:}
  mkdir -p "$to"
  cp -r "$from/src" "$to/"
  cp "$from/Cargo.toml" "$to/manifest.toml"
  [ ! -e "$from/README.md" ] || cp "$from/README.md" "$to/"
done
mkdir -p host/cli/languages
(cd examples/extensions && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory ../../host/cli/languages)
rm -rf target/package
cargo package --quiet --locked --no-verify --allow-dirty "${packages[@]/#/--package=}"
ls -l target/package/*.crate
