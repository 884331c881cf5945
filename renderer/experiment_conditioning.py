"""Conditioning of an experiment: what a network is given of a changed performance, as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.face_models import drawing_model
from deca.flame_pickles import import_codes
from ned.core.errors import InputError, quoted
from ned.core.face.face_model import Conditioning, FaceModel
from ned.core.face.performance import Performance, face_model_of, load_performances
from ned.core.files.actor import Actor
from ned.core.files.frame_files import FileWriter, read_numbers
from ned.core.files.records import Record, content_hash, fingerprint, sweep
from ned.core.progress import SILENT, Progress
from preprocessing.align import held_rows
from preprocessing.boxes import crop_from_frame
from preprocessing.eye_sketch import EYE_POINTS

KINDS = ("nmfcs_aligned", "shapes_aligned", "eye_landmarks_aligned")

_VERSION = 2  # counts up when the same parameters give other pictures
_CHUNK = 16  # frames in memory at once


def draw_inputs(actor: Actor, experiment: Actor, progress: Progress = SILENT) -> None:
    """Fill an experiment's nmfcs_aligned, shapes_aligned and eye_landmarks_aligned.

    They are drawn if they are missing, or if this tool drew them from other parameters; those of
    other tools are left alone.

    Raises:
        InputError: There is nothing to draw from, or the actor is not preprocessed in test mode.
        AssetError: A file that the face model needs is missing.
        OutputError: A file cannot be written.
    """
    present = all(experiment.frames(kind) for kind in KINDS)
    record = Record.load(experiment.folder / ".ned" / "inputs.json")
    if present and "inputs" not in record.made:
        return
    if face_model_of(experiment) is None:
        if present:
            return
        raise InputError(
            f"{quoted(experiment.performances_folder)} holds no changed parameters; make them with "
            "manipulator/test.py, or draw nmfcs_aligned and the others elsewhere"
        )
    _import_pickles(experiment, actor)
    files = {path.name: content_hash(path) for path in _performance_files(experiment)}
    made = fingerprint(version=_VERSION, codes=files)
    if present and record.made.get("inputs") == made and "inputs" in record.done:
        return
    own, changed = face_model_of(actor), face_model_of(experiment)
    if own != changed:
        raise InputError(
            f"{quoted(experiment.folder)} was made with the {changed} face, the actor is "
            f"preprocessed with {own or 'none'}; preprocess and change it with the same"
        )
    takes = _takes(actor, experiment)
    record.begin({"inputs": made})
    for kind in KINDS:
        sweep(experiment.folder_of(kind))
    total = sum(len(rows) for *_, rows in takes)
    with progress.stage("conditioning", total) as step, FileWriter() as writer:
        for numbers, drawn in _conditioned(actor, takes):
            for k, frame in enumerate(numbers.tolist()):
                writer.png(experiment.frame_file("nmfcs_aligned", frame), drawn.nmfcs[k])
                writer.png(experiment.frame_file("shapes_aligned", frame), drawn.shapes[k])
                writer.numbers(experiment.frame_file("eye_landmarks_aligned", frame), drawn.eyes[k])
            step(len(numbers))
    record.finish({"inputs"})


def video_starts(actor: Actor) -> dict[str, tuple[int, int]]:
    """First frame number and count of frames by name of video, as the box files tell.

    Raises:
        InputError: The actor is not preprocessed in test mode.
    """
    found: dict[str, tuple[int, int]] = {}
    first = 0
    for video in actor.videos:
        count = len(read_boxes(actor.boxes_file(video)))
        found[video.stem] = first, count
        first += count
    return found


def read_boxes(path: Path) -> NDArray[np.int64]:
    """(n, 4) crop boxes of a video.

    Raises:
        InputError: There are none.
    """
    try:
        return np.loadtxt(path, skiprows=1, ndmin=2).astype(np.int64).reshape(-1, 4)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{quoted(path)} holds no crop boxes; preprocess the actor in test mode"
        ) from error


def _performance_files(actor: Actor) -> list[Path]:
    return sorted(actor.performances_folder.glob("*.safetensors"))


def _import_pickles(experiment: Actor, actor: Actor) -> None:
    """Read NED's .pkl files where there is nothing else."""
    if not _performance_files(actor) and actor.frame_pickles():
        import_codes(actor.folder)
    if not _performance_files(experiment):
        import_codes(actor.folder, experiment.folder.name)


def _takes(
    actor: Actor, experiment: Actor
) -> list[tuple[FaceModel, Performance, NDArray[np.int64]]]:
    """An experiment's performances, what draws each, and their rows that are the actor's frames.

    Raises:
        InputError: One does not belong to the actor's videos.
    """
    count = sum(count for _, count in video_starts(actor).values())
    own = {path.name: performance for path, performance in load_performances(actor).items()}
    models: dict[str, FaceModel] = {}
    takes, seen = [], np.zeros(count, bool)
    for path, performance in load_performances(experiment).items():
        source = own.get(path.name)
        known = count if source is None else len(source)
        if source is None and len(own) == len(actor.videos):
            raise InputError(f"{quoted(path)} belongs to no video of {quoted(actor.folder)}")
        if source is not None and len(performance) > known:
            raise InputError(
                f"{quoted(path)} has {len(performance)} frames, the actor's own {known}; "
                "make it anew"
            )
        rows = np.flatnonzero(performance.frames < count)
        numbers = performance.frames[rows]
        if not len(rows) or seen[numbers].any():
            raise InputError(
                f"{quoted(path)} has frames that no video of {quoted(actor.folder)} has, or that "
                "another file has too; make the experiment anew"
            )
        seen[numbers] = True
        if performance.source not in models:
            models[performance.source] = drawing_model(performance)
        takes.append((models[performance.source], performance, rows))
    return takes


def _conditioned(
    actor: Actor, takes: list[tuple[FaceModel, Performance, NDArray[np.int64]]]
) -> Iterator[tuple[NDArray[np.int64], Conditioning]]:
    """Numbers of a few frames and their conditioning, one after the other."""
    boxes = np.concatenate([read_boxes(actor.boxes_file(video)) for video in actor.videos])
    crops = crop_from_frame(boxes)
    for model, performance, rows in takes:
        held = performance.frames[held_rows(performance.present)]
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            numbers, of = performance.frames[part], held[part]
            aligned, eyes = [], []
            for number, one in zip(numbers.tolist(), of.tolist(), strict=True):
                aligned.append(read_numbers(actor.frame_file("align_transforms", one), 3, 2))
                filmed = read_numbers(actor.frame_file("eye_landmarks", number), 2)
                eyes.append(filmed[:EYE_POINTS])
            given = crops[of], np.stack(aligned), np.stack(eyes)
            yield numbers, model.condition(performance, part, *given)
