#!/usr/bin/env bash
# Installs these packages of Debian's, where it may. Whether they are there then is for the caller to see.
set -uo pipefail
echo "debian.sh: installing $*" >&2
{ apt-get install -y --no-install-recommends "$@" ||
  { apt-get update && apt-get install -y --no-install-recommends "$@"; }; } >&2 || true
