#!/usr/bin/env bash
# Put rendered faces back into the frames: ./postprocess.sh <celeb_path> <exp_name> <checkpoints_dir>
set -euo pipefail

fail() {
  printf 'postprocess.sh: error: %s\n' "$1" >&2
  exit "$2"
}

[[ $# -eq 3 ]] || fail "give three arguments: ./postprocess.sh <celeb_path> <exp_name> <checkpoints_dir>" 2
[[ -d "$1" ]] || fail "<celeb_path> is '$1', which is not a folder; give the folder of one actor" 2
[[ -n "$2" ]] || fail "<exp_name> is empty; give the name used with manipulator/test.py" 2
[[ -d "$3" ]] || fail "<checkpoints_dir> is '$3', which is not a folder" 2

fail "actor folders are not built yet, nothing was done; to change a clip without one, \
use: ned direct clip.mp4 --emotion happy" 1
