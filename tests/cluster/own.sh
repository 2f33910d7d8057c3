# Sourced in the repository's root by scripts that need a cluster of their own: starts one with $cluster, and stops it when the script
# ends, in whatever way. The script fails if the cluster leaves anything behind, and at once if a cluster is already running.
finish_cluster() {
  local status=$?
  trap '' HUP INT TERM
  if [ "$is_own" = yes ]; then
    "$cluster" down
    "$(dirname "$cluster")/leftovers.py" || status=1
  fi
  exit "$status"
}
is_own=yes
trap finish_cluster EXIT
# Without this, a shell that a signal ends would leave its running command behind.
trap 'exit 143' HUP INT TERM
# If `up` fails, it cleans up by itself.
"$cluster" up || { is_own=no; exit 1; }
