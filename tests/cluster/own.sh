# Sourced, in the repository's root, by scripts that need a cluster of their own: starts one in $cluster, which ends when they do,
# however that is, and fails them where it leaves anything behind. One that runs already is not theirs: then they fail at once.
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
# Without these, a shell that is told to end leaves what it waits for behind.
trap 'exit 143' HUP INT TERM
# It cleans up itself where it fails.
"$cluster" up || { is_own=no; exit 1; }
