#!/usr/bin/env bash
# Prints the path of valgrind: the installed one, or else the distribution's, which it installs if it is permitted to.
set -euo pipefail
find_it() { command -v valgrind; }
if ! find_it; then
  "$(dirname "${BASH_SOURCE[0]}")/debian.sh" valgrind libc6-dbg
  find_it || { echo "valgrind.sh: there is no valgrind, and it cannot be installed here; install it, and try again" >&2; exit 1; }
fi
