#!/usr/bin/env bash
# Builds this commit's dist/ in two new folders, and compares the sums. It takes the time of two releases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -z "$(git status --porcelain)" ] || { echo "dist-twice.sh: commit first: only what is committed is built" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in first a/second-with-another-length; do
  git clone --quiet . "$work/$folder"
  # The tools are the same.
  mkdir "$work/$folder/target"
  ln -s "$PWD/target/tools" "$work/$folder/target/tools"
  (cd "$work/$folder" && env -u CARGO_TARGET_DIR ./justw dist)
  cp "$work/$folder/dist/SHA256SUMS" "$work/$(basename "$folder").sums"
  # A build takes gigabytes.
  rm -rf "${work:?}/$folder"
done
diff "$work/first.sums" "$work/second-with-another-length.sums"
echo "dist-twice: $(wc -l <"$work/first.sums") files are the same in both folders"
