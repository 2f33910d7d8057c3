#!/usr/bin/env bash
# Installs the given Debian packages, if it is permitted to. It reports no failure: the caller checks whether they are there afterwards.
set -uo pipefail
echo "debian.sh: installing $*" >&2
{ apt-get install -y --no-install-recommends "$@" ||
  { apt-get update && apt-get install -y --no-install-recommends "$@"; }; } >&2 || true
