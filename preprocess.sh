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
for python in "${VIRTUAL_ENV:-/none}/bin/python" "${CONDA_PREFIX:-/none}/bin/python" "$here/.venv/bin/python"; do
  [[ -x "$python" ]] && break
  python=python3
done
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m ned preprocess "$@"
