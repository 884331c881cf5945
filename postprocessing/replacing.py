"""Replacing: whether a file that is in the way of a result may be overwritten."""

from __future__ import annotations

from pathlib import Path

from ned.core.errors import InputError, OutputError, quoted
from ned.core.files.json_files import parse_json
from ned.core.film.encoder import FORMATS
from ned.core.film.image_files import SUFFIXES, is_marked
from ned.core.film.packets import open_source
from postprocessing.provenance import VERSION_TAG, WORDS

_LONGEST_HEADER = 1 << 20  # bytes of a safetensors header, or of the start of a table
_TABLE = "actor,frame,time,"  # how tables of blendshapes begin
_ONNX_PRODUCER = b"pytorch"


def check_replaceable(path: Path | None, overwrite: bool) -> None:
    """Refuse a result's name that belongs to a file which this program did not make.

    Films are known by their metadata or by the record beside them, pictures by their metadata,
    records, performances, tables and networks by how they begin.

    Raises:
        OutputError: There is such a file, and `overwrite` is False.
    """
    if path is None or overwrite or not path.is_file() or path.stat().st_size == 0:
        return
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        ours = _is_recorded(path) or _is_tagged(path)
    elif suffix in SUFFIXES:
        ours = is_marked(path)
    else:
        ours = _begins_as_ours(path)
    if not ours:
        raise OutputError(
            f"{quoted(path)} exists and was not made by this program; "
            "choose another name, or replace it with --overwrite"
        )


def _is_tagged(path: Path) -> bool:
    try:
        with open_source(path) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
    except InputError:
        return False
    return VERSION_TAG in tags or any(WORDS in str(value) for value in tags.values())


def _is_recorded(path: Path) -> bool:
    """True if the record beside a film is of a film with just as many bytes."""
    record = _record(path.with_name(f"{path.name}.json"))
    result = record.get("result")
    return isinstance(result, dict) and result.get("bytes") == path.stat().st_size


def _record(path: Path) -> dict[str, object]:
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and record.get("tool") == "ned" else {}


def _begins_as_ours(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return bool(_record(path))
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    if suffix == ".safetensors":
        length = int.from_bytes(start[:8], "little")
        return b'"ned' in start[8 : 8 + length]
    if suffix == ".csv":
        return start.startswith(_TABLE.encode())
    return suffix == ".onnx" and _ONNX_PRODUCER in start[:64] and b"picture" in path.read_bytes()
