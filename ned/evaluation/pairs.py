"""Pairs: which result belongs to which source, found in folders or read from a list."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ned.core.errors import InputError, quoted
from ned.core.files.json_files import parse_json
from ned.core.script.emotions import EMOTIONS, emotions_in, find_emotion

_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mxf"}
_COLUMNS = ("source", "result", "method", "emotion", "destination", "ground_truth")


@dataclass(frozen=True)
class Pair:
    """A result with what is known about it.

    Attributes:
        name: unique within a run. source, result: the clips. method: what made the result.
        emotion: asked for, None where unknown. destination, ground_truth: clips, None without.
    """

    name: str
    source: Path
    result: Path
    method: str = ""
    emotion: str | None = None
    destination: Path | None = None
    ground_truth: Path | None = None


def find_pairs(
    source: Path,
    result: Path | None,
    emotion: str | None = None,
    known: Sequence[str] = EMOTIONS,
) -> list[Pair]:
    """All pairs of a source and its result.

    A result belongs to the source whose name it has, or begins with, followed by "_" or "-"; the
    longest such name wins. Sub-folders of the results' folder are methods. The emotion is the
    given one, else that of the result's record (`RESULT.json`), else the word in its name.

    Args:
        source, result: two clips, a clip and a folder, two folders; or a .csv list and None.
        emotion: of all results. known: the emotions that exist.

    Raises:
        InputError: nothing can be paired, or the list is not one.
    """
    emotion = find_emotion(emotion, known) if emotion is not None else None
    if result is None:
        return _read_list(source, emotion, known)
    if not result.is_dir():
        if source.is_dir():
            source = _source_of(result, _clips(source))
        found = emotion or emotion_of(result, source, known)
        return [Pair(result.stem, source, result, emotion=found)]
    sources = _clips(source) if source.is_dir() else [source]
    pairs = []
    for path in _clips(result, deep=True):
        if path.resolve() in {each.resolve() for each in sources}:
            continue
        place, own = path.relative_to(result), _source_of(path, sources)
        pairs.append(
            Pair(
                name=str(place.with_suffix("")),
                source=own,
                result=path,
                method=str(place.parent) if len(place.parts) > 1 else "",
                emotion=emotion or emotion_of(path, own, known),
            )
        )
    if not pairs:
        raise InputError(f"there is no video in {quoted(result)}; give a folder of results")
    return pairs


def emotion_of(result: Path, source: Path, known: Sequence[str] = EMOTIONS) -> str | None:
    """The emotion that a result's record or name tells, apart from its source's name.

    None where neither tells one.
    """
    record = result.with_name(f"{result.name}.json")
    if record.is_file():
        try:
            asked = parse_json(record.read_text(encoding="utf-8"))["settings"]["emotion"]
        except (OSError, ValueError, KeyError, TypeError):
            asked = None
        names = emotions_in(" ".join(asked), known) if isinstance(asked, list) else []
        if names:
            return names[0] if len(set(names)) == 1 else None
    for words in (result.stem.removeprefix(source.stem), result.parent.name):
        names = emotions_in(words, known)
        if names:
            return names[-1]
    return None


def _source_of(result: Path, sources: list[Path]) -> Path:
    if len(sources) == 1:
        return sources[0]
    name = result.stem
    fitting = [
        s for s in sources if name == s.stem or name.startswith((f"{s.stem}_", f"{s.stem}-"))
    ]
    if not fitting:
        raise InputError(
            f"{quoted(result)} begins with the name of no source; rename it to "
            "<source>_<anything>, or give a .csv list"
        )
    return max(fitting, key=lambda path: len(path.stem))


def _clips(folder: Path, deep: bool = False) -> list[Path]:
    found: Iterable[Path] = folder.rglob("*") if deep else folder.iterdir()
    clips = [p for p in found if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")]
    clips = sorted(path for path in clips if path.is_file())
    if not clips:
        raise InputError(f"there is no video in {quoted(folder)}")
    return clips


def _read_list(path: Path, emotion: str | None, known: Sequence[str]) -> list[Pair]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {quoted(path)} cannot be read; give a .csv in UTF-8") from error
    reader = csv.DictReader(text.splitlines())
    columns = tuple(reader.fieldnames or ())
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown or not {"source", "result"} <= set(columns):
        what = f"the column {unknown[0]!r}" if unknown else "no columns source and result"
        raise InputError(f"{quoted(path)} has {what}; known are {', '.join(_COLUMNS)}")
    pairs: list[Pair] = []
    for number, row in enumerate(reader, start=2):
        if not row["source"] or not row["result"]:
            raise InputError(f"line {number} of {quoted(path)} lacks a source or a result")
        source, result, destination, truth = (
            path.parent / row[key] if row.get(key) else None
            for key in ("source", "result", "destination", "ground_truth")
        )
        assert source is not None and result is not None
        wanted = find_emotion(row["emotion"], known) if row.get("emotion") else emotion
        method = row.get("method") or ""
        name = "/".join(part for part in (method, result.stem) if part)
        if any(pair.name == name for pair in pairs):
            name = f"{name} (line {number})"
        pairs.append(
            Pair(
                name,
                source,
                result,
                method,
                wanted or emotion_of(result, source, known),
                destination,
                truth,
            )
        )
    if not pairs:
        raise InputError(f"the list {quoted(path)} has no rows")
    return pairs
