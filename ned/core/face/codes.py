"""Codes: whatever describes a face through a clip; FLAME's parameters or the rig's units."""

from __future__ import annotations

from pathlib import Path

from ned.core.errors import InputError, quoted
from ned.core.face.flame_codes import FlameCodes
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor

Codes = FlameCodes | Performance


def load_codes(path: Path) -> Codes:
    """FLAME codes or a performance, as the file says.

    Raises:
        InputError: It is missing, damaged, or neither.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            kind = (file.metadata() or {}).get("format", "")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{quoted(path)} holds no face parameters: {error}") from error
    return Performance.load(path) if "performance" in kind else FlameCodes.load(path)


def load_clips(actor: Actor) -> dict[Path, Codes]:
    """The codes of every clip of an actor by file, in the order of their names.

    Raises:
        InputError: There are none, or one is damaged.
    """
    files = sorted(actor.codes_folder.glob("*.safetensors"))
    if not files:
        where = quoted(actor.codes_folder)
        if actor.codes_pickles():
            raise InputError(f"{where} holds .pkl files only; run `ned import` first")
        raise InputError(f"{where} holds no face parameters; run ./preprocess.sh first")
    return {path: load_codes(path) for path in files}
