#!/usr/bin/env bash
# Prepare the folder of one actor: ./preprocess.sh <celeb_path> {train,test,reference}
set -euo pipefail

fail() {
  printf 'preprocess.sh: error: %s\n' "$1" >&2
  exit "$2"
}

[[ $# -eq 2 ]] || fail "give two arguments: ./preprocess.sh <celeb_path> {train,test,reference}" 2
[[ -d "$1" ]] || fail "<celeb_path> is '$1', which is not a folder; give the folder of one actor" 2
case "$2" in
  train | test | reference) ;;
  *) fail "the second argument is '$2', give train, test or reference" 2 ;;
esac

fail "actor folders are not built yet, nothing was done; to change a clip without one, \
use: ned direct clip.mp4 --emotion happy" 1
