#!/usr/bin/env bash
# Compares the interfaces of the published crates with those of the last tag, and the version with what semantic versioning asks for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null) || { echo "semver.sh: there is no release to compare with yet" >&2; exit 0; }
check=$(tools/cargo-tool.sh cargo-semver-checks 0.51.0)
"$check" semver-checks --baseline-rev "$tag" -p incluster -p incluster-core -p incluster-extension -p incluster-testbed
