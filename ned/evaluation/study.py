"""Study: a blinded rating page for people, and the key that tells later what they saw."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ned.core.errors import InputError, OutputError, quoted
from ned.core.files.partial import hidden_name, output_errors
from ned.core.film.clip import Clip
from ned.evaluation.page import own_file, page, render
from ned.evaluation.questions import ANSWERS_FORMAT, KEY_FORMAT, QUESTIONS, Question, study_id
from ned.evaluation.study_report import write_study_scores
from ned.evaluation.study_scores import score_study
from ned.evaluation.tables import write_text

__all__ = ["SOURCE", "make_study", "score_study", "write_study_scores"]

log = logging.getLogger(__name__)

SOURCE = "source"
"""Method under which the unedited takes are rated, as blindly as all others."""

_MOST_CLIPS = 2000
_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".ogv")
_CODECS = {"h264", "vp8", "vp9", "av1", "theora"}
_POLICY = "; script-src 'unsafe-inline'; media-src 'self' file:"
_INTRODUCTION = (
    "You will see short film clips. Watch each to its end, with sound, then answer the questions "
    "below it. There are no right or wrong answers: your first impression counts."
)


def make_study(
    folder: Path,
    clips: Mapping[str, Mapping[str, Path]],
    source: Mapping[str, Path] | None = None,
    questions: Sequence[Question] = QUESTIONS,
    seed: int = 0,
    *,
    targets: Mapping[str, str] | None = None,
    link: bool = False,
    title: str = "Rating film clips",
    introduction: str = _INTRODUCTION,
) -> Path:
    """Write `study/` for raters and, beside it, `study_key.json`, which they must not get.

    Raters open `study/index.html` in a browser, without a server; each sees the clips in an order
    of their own, and saves a file of answers at the end. Names of files tell nothing. Their
    content is as it was: a rater who looks at tags or sizes can still learn something.

    Args:
        folder: where both go; it is made if missing.
        clips: {method: {clip: file}}. Where questions ask for a preference, each two methods are
            compared on every clip that both have.
        source: {clip: file} of the unedited takes, rated as a method of their own (a hidden
            reference); never part of a comparison.
        questions: what is asked. seed: of the order of files.
        targets: {clip: emotion} that was asked for; answers to a choice that has the emotion
            among its choices are then scored as right or wrong.
        link: hard links instead of copies of the files.
        title, introduction: what raters read.

    Returns:
        The page to open.

    Raises:
        InputError: There is nothing to rate, or a file is missing or not for browsers.
        OutputError: There is a study already, or the folder cannot be written.
    """
    if SOURCE in clips:
        raise InputError(f"no method can be called {SOURCE!r}; give it another name")
    named = [(method, clip, path) for method in clips for clip, path in clips[method].items()]
    named += [(SOURCE, clip, path) for clip, path in (source or {}).items()]
    _check(named, questions, targets or {})
    durations = {path: _duration(path) for _, _, path in named}
    named.sort(key=lambda entry: entry[:2])
    random.Random(seed).shuffle(named)
    stimuli = {
        f"c{number:04d}": {
            "method": method,
            "clip": clip,
            "target": (targets or {}).get(clip) if method != SOURCE else None,
            "file": f"clips/c{number:04d}{path.suffix.lower()}",
            "seconds": durations[path],
            "original": str(path),
        }
        for number, (method, clip, path) in enumerate(named, 1)
    }
    trials = _trials(stimuli, questions, seed)
    if not trials:
        raise InputError("there is nothing to compare: give two methods that share a clip")
    key: dict[str, Any] = {
        "format": KEY_FORMAT,
        "seed": seed,
        "questions": [asdict(question) for question in questions],
        "stimuli": stimuli,
        "trials": trials,
    }
    key["id"] = study_id(key)
    shown = {
        "id": key["id"],
        "answers": ANSWERS_FORMAT,
        "introduction": introduction,
        "questions": key["questions"],
        "files": {name: stimulus["file"] for name, stimulus in stimuli.items()},
        "trials": trials,
    }
    paths = {
        entry["file"]: path for entry, (_, _, path) in zip(stimuli.values(), named, strict=True)
    }
    _publish(folder, _document(title, shown), paths, key, link)
    return folder / "study" / "index.html"


def _check(
    named: Sequence[tuple[str, str, Path]],
    questions: Sequence[Question],
    targets: Mapping[str, str],
) -> None:
    if not questions:
        raise InputError("a study without questions; give at least one")
    if len({question.name for question in questions}) < len(questions):
        raise InputError("two questions have the same name; give each its own")
    if not named:
        raise InputError("a study without clips; give at least one method with one clip")
    if len(named) > _MOST_CLIPS:
        raise InputError(f"a study of {len(named)} clips; nobody rates more than {_MOST_CLIPS}")
    for _, _, path in named:
        if not path.is_file():
            raise InputError(f"{quoted(path)} does not exist; give the clips that are to be rated")
        if path.suffix.lower() not in _SUFFIXES:
            raise InputError(
                f"{quoted(path)} is not for browsers; convert it to one of {', '.join(_SUFFIXES)}"
            )
    strange = sorted(set(targets) - {clip for _, clip, _ in named})
    if strange:
        raise InputError(f"a target is given for {strange[0]!r}, but there is no such clip")
    for target in sorted(set(targets.values())):
        choices = [question.choices for question in questions if question.kind == "choice"]
        if choices and not any(target in names for names in choices):
            log.warning("no choice is called %r; whether raters see it is not scored", target)


def _duration(path: Path) -> float:
    """Seconds of a clip; warns where browsers may not play it."""
    clip = Clip.open(path)
    if clip.codec not in _CODECS or clip.source_format not in {"yuv420p", "yuvj420p"}:
        log.warning(
            "%s is %s %s; many browsers play only h264 yuv420p",
            *(quoted(path), clip.codec, clip.source_format),
        )
    return round(clip.duration or 0.0, 3)


def _trials(
    stimuli: Mapping[str, Mapping[str, Any]], questions: Sequence[Question], seed: int
) -> list[dict[str, Any]]:
    """What raters see at once: one clip to rate or two to compare; `take` tells the same takes."""
    takes = sorted({stimulus["clip"] for stimulus in stimuli.values()})
    random.Random(f"takes {seed}").shuffle(takes)
    seen: list[tuple[str, ...]] = []
    if any(question.kind != "preference" for question in questions):
        seen += [(name,) for name in stimuli]
    if any(question.kind == "preference" for question in questions):
        seen += [
            (one, other)
            for one, other in itertools.combinations(stimuli, 2)
            if stimuli[one]["clip"] == stimuli[other]["clip"]
            and stimuli[one]["method"] != stimuli[other]["method"]
            and SOURCE not in (stimuli[one]["method"], stimuli[other]["method"])
        ]
    return [
        {
            "id": "-".join(names),
            "clips": list(names),
            "take": takes.index(stimuli[names[0]]["clip"]),
        }
        for names in seen
    ]


def _document(title: str, shown: Mapping[str, Any]) -> str:
    """The page with its data and script inside."""
    body = render(
        "study.html",
        style=own_file("study.css"),
        data=Markup(json.dumps(shown).replace("<", "\\u003c")),
        script=own_file("study.js"),
    )
    return page(title, body, _POLICY, brand="")


def _publish(
    folder: Path, document: str, paths: Mapping[str, Path], key: Mapping[str, Any], link: bool
) -> None:
    """Write everything under a hidden name, then the key, then give the pack its name."""
    target, hidden = folder / "study", folder / hidden_name(Path("study"))
    key_path = folder / "study_key.json"
    for path in (target, key_path):
        if os.path.lexists(path):
            raise OutputError(
                f"{quoted(path)} exists, and answers may belong to it; choose another folder"
            )
    try:
        with output_errors(target):
            folder.mkdir(parents=True, exist_ok=True)
            hidden.mkdir()
            (hidden / "clips").mkdir()
            for name, path in paths.items():
                if link:
                    os.link(path.resolve(), hidden / name)
                else:
                    shutil.copyfile(path, hidden / name)
            (hidden / "index.html").write_text(document, "utf-8")
        write_text(key_path, json.dumps(key, indent=1) + "\n")
        try:
            with output_errors(target):
                hidden.rename(target)
        except OutputError:
            key_path.unlink(missing_ok=True)
            raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
