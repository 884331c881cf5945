#!/usr/bin/env bash
# Prepare the folder of one actor: ./preprocess.sh <celeb_path> {train,test,reference} [flags]
# The flags are those of `ned preprocess --help`.
set -euo pipefail

fail() {
  printf 'preprocess.sh: error: %s\n' "$1" >&2
  exit 1
}

[[ $# -ge 2 ]] || fail "give two arguments: ./preprocess.sh <celeb_path> {train,test,reference}"
[[ -d "$1" ]] || fail "<celeb_path> is '$1', which is not a folder; give the folder of one actor"
case "$2" in
  train | test | reference) ;;
  *) fail "the second argument is '$2', give train, test or reference" ;;
esac

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# The first Python that has what NED needs. -I: it takes no module from the current folder.
for python in "${VIRTUAL_ENV:-/none}/bin/python" "${CONDA_PREFIX:-/none}/bin/python" \
  "$here/.venv/bin/python" python3; do
  "$python" -I -c 'import importlib.util as u, sys
sys.exit(sys.version_info < (3, 10) or not all(map(u.find_spec, ("av", "mediapipe", "tyro"))))' \
    </dev/null >/dev/null 2>&1 || continue
  exec "$python" -I -c 'import sys
sys.path.insert(0, sys.argv.pop(1))
from ned.door import enter
sys.exit(enter())' "$here" preprocess "$@"
done
fail "no Python with NED's packages is active; run 'make demo' in '$here' once, or activate yours"
