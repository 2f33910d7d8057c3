#!/usr/bin/env bash
# Makes skopeo available, which checks images. Installs the distribution's package if it is permitted to. Does nothing if skopeo is there.
set -euo pipefail
command -v skopeo >/dev/null && exit
"$(dirname "${BASH_SOURCE[0]}")/debian.sh" skopeo
command -v skopeo >/dev/null || { echo "skopeo.sh: there is no skopeo, and it cannot be installed here; install it, and try again" >&2; exit 1; }
