#!/usr/bin/env bash
# Prints the path of a Chromium: the installed one, or else the distribution's, which it installs if it is permitted to.
set -euo pipefail
find_it() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! find_it; then
  "$(dirname "${BASH_SOURCE[0]}")/debian.sh" chromium fonts-dejavu-core
  find_it || { echo "chromium.sh: there is no Chromium, and it cannot be installed here; install one, and try again" >&2; exit 1; }
fi
