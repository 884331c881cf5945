"""Study answers: what a rater saved, believed only as far as the study allows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ned.core.errors import InputError, quoted, reason
from ned.core.files.json_files import parse_json
from ned.evaluation.questions import ANSWERS_FORMAT, KEY_FORMAT, study_id

_MOST_BYTES = 20_000_000


def read_key(path: Path) -> Any:
    """The key of a study, as `make_study` wrote it.

    Raises:
        InputError: The file is something else, or was changed.
    """
    key = _read(path, "the key of a study; give study_key.json")
    if not isinstance(key, dict) or key.get("format") != KEY_FORMAT:
        raise InputError(f"{quoted(path)} is not the key of a study; give study_key.json")
    if key.get("id") != study_id(key):
        raise InputError(f"{quoted(path)} was changed; give study_key.json as it was written")
    return key


def read_answers(path: Path, key: Any) -> tuple[str, list[dict[str, Any]]]:
    """Rater and answers of a file, each checked against the study.

    Raises:
        InputError: The file is something else, of another study, or has impossible answers.
    """
    what = "answers to a study; give the file that the rating page saved"
    document = _read(path, what)
    if not isinstance(document, dict) or document.get("format") != ANSWERS_FORMAT:
        raise InputError(f"{quoted(path)} does not hold {what}")
    if document.get("study") != key["id"]:
        raise InputError(
            f"{quoted(path)} answers the study {document.get('study')!r}, the key is that of "
            f"{key['id']!r}; give files and key of the same study"
        )
    rater, answers = document.get("rater"), document.get("answers")
    if not isinstance(rater, str) or not rater or not isinstance(answers, list):
        raise InputError(f"{quoted(path)} does not hold {what}")
    clips = {trial["id"]: trial["clips"] for trial in key["trials"]}
    seen = set()
    for answer in answers:
        fault = _fault(answer, clips, key["questions"])
        if not fault and answer["trial"] in seen:
            fault = f"{answer['trial']!r} is answered twice"
        if fault:
            raise InputError(f"{quoted(path)}: {fault}; give the file as the page saved it")
        seen.add(answer["trial"])
    return rater, answers


def _fault(answer: Any, clips: Mapping[str, list[str]], questions: Sequence[Any]) -> str:
    """What is wrong with one answer; "" if nothing is."""
    if not isinstance(answer, dict) or not isinstance(answer.get("values"), dict):
        return "an answer is not one"
    trial = answer.get("trial")
    if not isinstance(trial, str) or trial not in clips:
        return f"there is no step {trial!r} in this study"
    shown = answer.get("clips")
    if not isinstance(shown, list) or sorted(map(str, shown)) != sorted(clips[trial]):
        return f"{trial!r} did not show the clips of this study"
    seconds = answer.get("seconds")
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not (0 <= seconds < math.inf)
    ):
        return f"{trial!r} took {seconds!r} seconds"
    if not isinstance(answer.get("failed"), bool):
        return f"{trial!r} does not say whether it could be played"
    pair = len(clips[trial]) == 2
    asked = {q["name"]: q for q in questions if (q["kind"] == "preference") == pair}
    for name, value in answer["values"].items():
        if name not in asked:
            return f"{trial!r} answers {name!r}, which was not asked"
        if not _allowed(value, asked[name], clips[trial]):
            return f"{trial!r} answers {value!r} to {name!r}"
    if not answer["failed"] and set(answer["values"]) != set(asked):
        missing = sorted(set(asked) - set(answer["values"]))
        return f"{trial!r} lacks an answer to {missing[0]!r}"
    return ""


def _allowed(value: Any, question: Any, clips: Sequence[str]) -> bool:
    if question["kind"] == "scale":
        return type(value) is int and 1 <= value <= question["steps"]
    return value in (question["choices"] if question["kind"] == "choice" else clips)


def _read(path: Path, what: str) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{quoted(path)} is too large to be {what}")
        return parse_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise InputError(f"{quoted(path)} is not {what}") from error
