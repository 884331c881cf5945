#!/usr/bin/env bash
# Draw an experiment into the actor's frames, and write films:
# ./postprocess.sh <celeb_path> <exp_name> [<checkpoints_dir>] [flags]
# The flags are those of `ned postprocess --help`.
set -euo pipefail

fail() {
  printf 'postprocess.sh: error: %s\n' "$1" >&2
  exit 1
}

[[ $# -ge 2 ]] || fail "give two arguments or three: ./postprocess.sh <celeb_path> <exp_name> [<checkpoints_dir>]"
[[ -d "$1" ]] || fail "<celeb_path> is '$1', which is not a folder; give the folder of one actor"
[[ -n "$2" ]] || fail "<exp_name> is empty; give the name used with manipulator/test.py"

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
for python in "${VIRTUAL_ENV:-/none}/bin/python" "${CONDA_PREFIX:-/none}/bin/python" "$here/.venv/bin/python"; do
  [[ -x "$python" ]] && break
  python=python3
done
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m ned postprocess "$@"
