"""Sources: data sets on disk become labelled sequences."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deca.flame_codes import FLAME, UNIT_NAMES
from manipulator.data.names import Scheme, parse_name
from manipulator.data.sequences import read_sequences
from manipulator.data.windows import UNLABELLED, LabelledSequence
from ned.core.errors import InputError, quoted
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.script.emotions import AFF_WILD2_LABELS, ALIASES

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelledData:
    """What is learned from: sequences of one face model's units."""

    face_model: str
    unit_names: tuple[str, ...]
    sequences: list[LabelledSequence]


_JAW_AND_EXPRESSION = [0, *range(3, 53)]
_COLUMNS = ("clip", "emotion")
_END = "_deca.pkl"


def read_mead(root: Path, emotions: Sequence[str], actors: Sequence[str] = ()) -> LabelledData:
    """Sequences of the actors' {actor}_deca.pkl; clips of other emotions are left out.

    Args:
        actors: whose; all that are there if empty.

    Raises:
        InputError: A file is missing or damaged, or none holds a known emotion.
    """
    names = list(actors) or sorted(p.name.removesuffix(_END) for p in root.glob(f"*{_END}"))
    if not names:
        raise InputError(
            f"{quoted(root)} holds no M003{_END} or the like; run `ned reconstruct-mead` first"
        )
    found, left_out = [], Counter()
    for actor in dict.fromkeys(names):
        path = root / f"{actor}{_END}"
        if not path.is_file():
            raise InputError(f"{quoted(path)} does not exist; run `ned reconstruct-mead` first")
        for number, clip in enumerate(read_sequences(path)):
            if clip.emotion not in emotions:
                left_out[clip.emotion] += 1
                continue
            values = clip.values[:, _JAW_AND_EXPRESSION]
            label = emotions.index(clip.emotion)
            found.append(LabelledSequence.of(values, label, actor, f"{actor} clip {number}"))
    _tell_left_out(left_out)
    return LabelledData(FLAME, UNIT_NAMES, found)


def read_aff_wild(root: Path, annotations: Path, emotions: Sequence[str]) -> LabelledData:
    """Sequences of DECA/<video>.safetensors with annotations <video>.txt, a label per frame.

    Every video counts as an actor. Videos without annotation are left out.

    Raises:
        InputError: There is nothing, or an annotation is none or has gaps.
    """
    if not annotations.is_dir():
        raise InputError(f"--annotations_path {quoted(annotations)} is not a folder")
    names = np.array(
        [emotions.index(name) if name in emotions else -1 for name in AFF_WILD2_LABELS]
    )
    found, kinds = [], set()
    for path in _code_files(root):
        annotation = annotations / f"{path.stem}.txt"
        if not annotation.is_file():
            log.warning("%s has no annotation, left out", path.stem)
            continue
        given = read_annotation(annotation)
        performance = Performance.load(path)
        frames, present = performance.frames, performance.present
        if len(frames) and frames[-1] >= len(given):
            raise InputError(
                f"{quoted(annotation)} has {len(given)} labels, the video has frame {frames[-1]}; "
                "give the annotation of the whole video"
            )
        labels = given[frames]
        labels = np.where(labels >= 0, names[np.minimum(labels, len(names) - 1)], UNLABELLED)
        labels[given[frames] >= len(names)] = UNLABELLED
        kinds.add((performance.face_model, performance.unit_names))
        sequence = LabelledSequence(performance.units, labels, frames, path.stem, path.stem)
        found.append(sequence.kept(present))
    return LabelledData(*_one_kind(root, kinds), found)


def read_annotation(path: Path) -> np.ndarray:
    """(T,) labels below a heading, one per line: -1 is invalid; raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")[1:]
    except (OSError, ValueError) as error:
        raise InputError(f"{quoted(path)} cannot be read as an annotation") from error
    labels = []
    for number, line in enumerate(lines, start=2):
        try:
            labels.append(int(line))
        except ValueError as error:
            said = "is empty" if not line.strip() else f"is {line.strip()[:20]!r}"
            raise InputError(
                f"{quoted(path)}, line {number} {said}; every line below the heading is one "
                "number, -1 where there is no label"
            ) from error
    return np.array(labels, np.int64)


def read_folder(root: Path, labels: Path | Scheme, emotions: Sequence[str]) -> LabelledData:
    """Sequences of preprocessed actors: <root>/<actor>/DECA/<clip>, or <root>/DECA/<clip>.

    Args:
        labels: a CSV file with the columns clip, emotion and (if wanted) actor, or the way in
            which file names tell ("crema-d", "ravdess"); clips of other emotions are left out.

    Raises:
        InputError: There is nothing, a clip has no label, or the table cannot be read.
    """
    table = read_table(labels) if isinstance(labels, Path) else None
    found, kinds, left_out = [], set(), Counter()
    for path in _code_files(root):
        owner = path.parent.parent.name
        if table is not None:
            told = table.get(f"{owner}/{path.stem}") or table.get(path.stem)
        else:
            told = parse_name(labels, path.stem)  # type: ignore[arg-type]
        if told is None:
            raise InputError(
                f"{quoted(labels)} has no label for the clip {path.stem!r} of {quoted(root)}; "
                "add a row for it, or move the clip away"
                if table is not None
                else f"{quoted(path.name)} is not named as {labels} names clips"
            )
        actor, emotion = told[0] or owner, told[1]
        if emotion not in emotions:
            left_out[emotion] += 1
            continue
        performance = Performance.load(path)
        kinds.add((performance.face_model, performance.unit_names))
        values, frames, present = performance.units, performance.frames, performance.present
        label = np.full(len(values), emotions.index(emotion), np.int64)
        found.append(LabelledSequence(values, label, frames, actor, path.stem).kept(present))
    _tell_left_out(left_out)
    return LabelledData(*_one_kind(root, kinds), found)


def read_table(path: Path) -> dict[str, tuple[str, str]]:
    """{clip: (actor or "", emotion)} of a CSV file.

    Raises:
        InputError: It cannot be read, has not the columns, or a row lacks its clip or emotion or
            says what another row says otherwise.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            fields = [name.strip().lower() for name in rows.fieldnames or ()]
            rows.fieldnames = fields
            if not set(_COLUMNS) <= set(fields):
                raise InputError(
                    f"{quoted(path)} has the columns {', '.join(fields) or 'none'}; clip, emotion "
                    "and perhaps actor are needed"
                )
            table: dict[str, tuple[str, str]] = {}
            for number, row in enumerate(rows, start=2):
                cells = {name: (row.get(name) or "").strip() for name in (*_COLUMNS, "actor")}
                for name in _COLUMNS:
                    if not cells[name]:
                        raise InputError(f"{quoted(path)}, line {number} has no {name}")
                clip = cells["clip"].removesuffix(".safetensors").removesuffix(".mp4")
                emotion = cells["emotion"].lower()
                told = (cells["actor"], ALIASES.get(emotion, emotion))
                if table.setdefault(clip, told) != told:
                    raise InputError(f"{quoted(path)}, line {number} labels {clip!r} otherwise")
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{quoted(path)} cannot be read as a CSV file of labels") from error
    return table


def _code_files(root: Path) -> Iterator[Path]:
    """Files of face parameters of one actor, or of the actors in a folder."""
    if not root.is_dir():
        raise InputError(f"--train_root {quoted(root)} is not a folder")
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    files = [
        path
        for folder in folders
        for path in sorted(Actor(folder).performances_folder.glob("*.safetensors"))
    ]
    if not files:
        raise InputError(
            f"{quoted(root)} holds no face parameters (<actor>/DECA/<clip>.safetensors); run "
            "./preprocess.sh or `ned reconstruct` first"
        )
    yield from files


def _one_kind(root: Path, kinds: set[tuple[str, tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    """The face model and units of all performances."""
    models = sorted({model for model, _ in kinds})
    if len(models) > 1:
        raise InputError(f"{quoted(root)} mixes units of {' and '.join(models)}; use one of them")
    if len(kinds) > 1:
        raise InputError(f"{quoted(root)} mixes versions of {models[0]}; preprocess all again")
    return next(iter(kinds), (FLAME, UNIT_NAMES))


def _tell_left_out(left_out: Counter[str]) -> None:
    for emotion, count in left_out.items():
        log.warning("%d clips of %r were left out", count, emotion)
