#!/usr/bin/env bash
# Prints the path of valgrind: the one that is installed, else the distribution's, which it installs where it may.
set -euo pipefail
find_it() { command -v valgrind; }
if ! find_it; then
  echo "valgrind.sh: installing Debian's valgrind" >&2
  { apt-get install -y --no-install-recommends valgrind libc6-dbg ||
    { apt-get update && apt-get install -y --no-install-recommends valgrind libc6-dbg; }; } >&2 ||
    { echo "valgrind.sh: there is no valgrind, and it cannot be installed here; install one, and try again" >&2; exit 1; }
  find_it
fi
