"""Pickles: FLAME codes to and from the per-frame .pkl files that NED and its relatives read."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deca.flame_codes import JAW_OPENING, FlameCodes, joined
from ned.core.errors import InputError, quoted
from ned.core.face.performance import Performance, load_performances
from ned.core.files.actor import Actor
from ned.core.files.records import write_atomically
from ned.core.progress import SILENT, Progress

_PROTOCOL = 2  # what every Python 3 reads
# NED's name of each array, ours, and its shape in one frame's file.
_ARRAYS = (
    ("shape", "shape", (1, 100)),
    ("tex", "texture", (1, 50)),
    ("exp", "expression", (1, 50)),
    ("pose", "pose", (1, 6)),
    ("cam", "camera", (1, 3)),
    ("light", "light", (1, 9, 3)),
    ("detail", "detail", (1, 128)),
)
_OPTIONAL = ("texture", "light", "detail")


def export_codes(
    folder: Path, exp_name: str | None = None, progress: Progress = SILENT
) -> list[str]:
    """Write one .pkl per frame beside the .safetensors of an actor, or of an experiment.

    Raises:
        InputError: There are no FLAME codes. OutputError: A file cannot be written.
    """
    actor = Actor.open(folder)
    if exp_name is not None:
        actor = actor.experiment(exp_name)
    codes = load_codes(actor)
    changed = exp_name is not None
    with progress.stage("exporting", len(codes)) as step:
        for row, frame in enumerate(codes.frames.tolist()):
            state = changed_state(codes, row) if changed else frame_state(codes, row)
            data = pickle.dumps(state, _PROTOCOL)
            write_atomically(actor.frame_pickle(frame), data)
            step(1)
    lines = [f"wrote {len(codes)} .pkl files to {actor.performances_folder}"]
    missing = [name for name in _OPTIONAL if getattr(codes, name) is None]
    if missing and not changed:
        lines.append(f"{', '.join(missing)}: not known to {codes.source}, written as zeros")
    return lines


def import_codes(
    folder: Path, exp_name: str | None = None, progress: Progress = SILENT
) -> list[str]:
    """Read the .pkl files of an actor, or of an experiment, into .safetensors beside them.

    Raises:
        InputError: A file is damaged, of another kind, or tries to run something.
        OutputError: A result cannot be written.
    """
    actor = source = Actor.open(folder)
    if exp_name is not None:
        actor = actor.experiment(exp_name)
    files = actor.frame_pickles()
    if not files:
        raise InputError(
            f"{quoted(actor.performances_folder)} holds no .pkl files named by frames, "
            "as 000000.pkl"
        )
    with progress.stage("importing", len(files)) as step:
        if exp_name is None:
            performance = _read_codes(files, step).performance()
        else:
            performance = _read_changed(files, load_codes(source), step)
    parts = _by_video(source, performance)
    present = {path.name for path in actor.performances_folder.glob("*.safetensors")}
    others = present - {f"{name}.safetensors" for name in parts}
    if others:
        raise InputError(
            f"{quoted(actor.performances_folder)} holds {sorted(others)[0]!r} already; "
            "move it away first"
        )
    lines = []
    for name, part in parts.items():
        path = actor.performances_folder / f"{name}.safetensors"
        part.save(path)
        lines.append(f"wrote {path}: {len(part)} frames")
    return lines


def load_codes(actor: Actor) -> FlameCodes:
    """The FLAME codes of all videos of an actor (or experiment) as one, in order of frames.

    Those of an experiment are the directed ones.

    Raises:
        InputError: There are none, two files hold the same frame, or they are of another face.
    """
    parts = []
    for path, performance in load_performances(actor).items():
        try:
            parts.append(FlameCodes.of(performance, performance.shown))
        except InputError as error:
            raise InputError(f"{quoted(path)}: {error}") from error
    parts = [part for part in parts if len(part)]
    if not parts:
        raise InputError(f"{quoted(actor.performances_folder)} holds codes of no frame at all")
    codes = joined(sorted(parts, key=lambda part: int(part.frames[0])))
    if len(np.unique(codes.frames)) != len(codes):
        raise InputError(
            f"{quoted(actor.performances_folder)}: two .safetensors files hold the same frames; "
            "move one of them away"
        )
    return codes


def frame_state(codes: FlameCodes, row: int) -> dict[str, Any]:
    """What NED keeps of one frame; arrays that are not known are zeros."""
    from skimage.transform import SimilarityTransform

    state: dict[str, Any] = {}
    for theirs, ours, size in _ARRAYS:
        array = getattr(codes, ours)
        zeros = np.zeros(size, np.float32)
        state[theirs] = zeros if array is None else array[row].reshape(size).copy()
    state["tform"] = SimilarityTransform(matrix=codes.transforms[row].copy())
    width, height = codes.image_size[row].tolist()
    state["original_size"] = (width, height)
    return state


def pickled_state(codes: FlameCodes, row: int) -> bytes:
    """`frame_state` as the bytes of a .pkl file."""
    return pickle.dumps(frame_state(codes, row), _PROTOCOL)


def changed_state(codes: FlameCodes, row: int) -> dict[str, NDArray[np.float32]]:
    """What NED keeps of one changed frame: the expression and the opening of the jaw."""
    pose = np.zeros((1, 6), np.float32)
    pose[0, JAW_OPENING] = codes.pose[row, JAW_OPENING]
    return {"exp": codes.expression[row][None].copy(), "pose": pose}


def _read_codes(files: Mapping[int, Path], step: Any) -> FlameCodes:
    rows: dict[str, list[NDArray[Any]]] = {}
    for path in files.values():
        state = _read_state(path)
        for theirs, ours, size in _ARRAYS:
            rows.setdefault(ours, []).append(_array(state, theirs, size, path)[0])
        rows.setdefault("transforms", []).append(_transform(state, path))
        rows.setdefault("image_size", []).append(_size(state, path))
        step(1)
    arrays: dict[str, Any] = {name: np.stack(values) for name, values in rows.items()}
    frames = np.array(list(files), np.int64)
    return FlameCodes(frames=frames, present=np.ones(len(files), bool), source="import", **arrays)


def _read_changed(files: Mapping[int, Path], source: FlameCodes, step: Any) -> Performance:
    places = {int(frame): row for row, frame in enumerate(source.frames)}
    rows, values = [], []
    for frame, path in files.items():
        if frame not in places:
            raise InputError(f"{quoted(path)}: the actor's own codes have no frame {frame}")
        state = _read_state(path)
        opening = _array(state, "pose", (1, 6), path)[0, JAW_OPENING]
        expression = _array(state, "exp", (1, 50), path)[0]
        rows.append(places[frame])
        values.append(np.concatenate([[opening], expression]))
        step(1)
    performance = source[np.array(rows)].performance()
    return dataclasses.replace(performance, directed=np.stack(values).astype(np.float32))


def _read_state(path: Path) -> dict[str, Any]:
    from ned.core.files.pickles import load_pickle

    state = load_pickle(path)
    if not isinstance(state, dict):
        raise InputError(f"{quoted(path)} holds a {type(state).__name__}, not a frame's parameters")
    return state


def _array(
    state: Mapping[str, Any], name: str, size: tuple[int, ...], path: Path
) -> NDArray[np.float32]:
    if name not in state:
        raise InputError(f"{quoted(path)} has no {name!r}; it is not a frame's parameters")
    value = np.asarray(state[name])
    if value.dtype.kind not in "fiu" or value.shape != size:
        raise InputError(f"{quoted(path)}: {name!r} is {value.shape}, {size} numbers are needed")
    if not np.isfinite(value).all():
        raise InputError(f"{quoted(path)}: {name!r} holds values that are no numbers")
    return value.astype(np.float32)


def _transform(state: Mapping[str, Any], path: Path) -> NDArray[np.float64]:
    matrix = np.asarray(state.get("tform"))
    if matrix.dtype.kind not in "fiu" or matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputError(f"{quoted(path)}: 'tform' is not a 3x3 similarity transform")
    return matrix.astype(np.float64)


def _size(state: Mapping[str, Any], path: Path) -> NDArray[np.int32]:
    size = np.asarray(state.get("original_size", ()))
    if size.dtype.kind not in "fiu" or size.shape[:1] != (2,) or size.ndim != 1:
        raise InputError(f"{quoted(path)}: 'original_size' is not (width, height)")
    return size.astype(np.int32)


def _by_video(actor: Actor, performance: Performance) -> dict[str, Performance]:
    """The performance of each video where box files tell how many frames each has, else as one."""
    try:
        videos = actor.videos
        counts = [_box_count(actor.boxes_file(video)) for video in videos]
    except InputError:
        return {"imported": performance}
    frames = performance.frames
    if None in counts or sum(count or 0 for count in counts) <= int(frames[-1]):
        return {"imported": performance}
    ends = np.cumsum([count or 0 for count in counts])
    owner = np.searchsorted(ends, frames, side="right")
    return {
        video.stem: performance[owner == index]
        for index, video in enumerate(videos)
        if (owner == index).any()
    }


def _box_count(path: Path) -> int | None:
    try:
        with path.open() as file:
            return sum(1 for _ in file) - 1
    except (OSError, ValueError):
        return None
