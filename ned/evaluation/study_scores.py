"""Study scores: what people answered, counted; and whether it can be relied on."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted
from ned.evaluation.agreement import krippendorff_alpha, wilson
from ned.evaluation.bootstrap import interval_over_raters
from ned.evaluation.study_answers import read_answers, read_key

_ENOUGH = 8  # trials, before a rater's habits mean anything
_HABIT = 0.9  # share of equal answers that looks careless
_HASTY = 0.2  # share of trials that ended before the clips could


@dataclass(frozen=True)
class StudyScore:
    """One number from people.

    Attributes:
        method: what was rated. question: its name. against: the other method of a preference.
        kind: "mean opinion score" (1 to the scale's steps), "recognition rate" (share that named
            the emotion that was asked for) or "preference" (share that preferred `method`).
        value, low, high: with its 95 % interval; NaN where none can be given.
        count: answers. raters: people.
    """

    method: str
    question: str
    kind: str
    value: float
    low: float
    high: float
    count: int
    raters: int
    against: str = ""


@dataclass(frozen=True)
class Recognition:
    """Answers to a choice by the emotion asked for.

    Attributes:
        method, question: what was rated, and the question's name.
        targets: asked for. choices: answered. counts: (targets, choices) answers.
    """

    method: str
    question: str
    targets: tuple[str, ...]
    choices: tuple[str, ...]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class StudyScores:
    """All that a study tells.

    Attributes:
        study: its id. raters: who answered. questions: {name: words}.
        rows: scores by question, then method. recognition: confusion tables.
        agreement: {question: Krippendorff's alpha}, NaN where it cannot be told.
        notes: what to know before relying on it: careless or unfinished raters.
    """

    study: str
    raters: tuple[str, ...]
    questions: dict[str, str]
    rows: list[StudyScore] = field(default_factory=list)
    recognition: list[Recognition] = field(default_factory=list)
    agreement: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def score_study(key_path: Path, answer_files: Sequence[Path], seed: int = 0) -> StudyScores:
    """Count the answers of all raters.

    Mean opinion scores and recognition rates have bootstrap intervals over raters and clips,
    preferences Wilson's interval over votes, which takes votes of one rater for independent.
    Unfinished answers count as far as they go, and are noted.

    Args:
        key_path: study_key.json. answer_files: what raters saved, one file each.
        seed: of the bootstrap.

    Raises:
        InputError: A file is not what it should be, belongs to another study, or holds answers
            that the study does not allow; or there is no answer at all.
    """
    key = read_key(key_path)
    if not answer_files:
        raise InputError("no answers to score; give the files that raters saved")
    raters: dict[str, list[dict[str, Any]]] = {}
    for path in answer_files:
        name, answers = read_answers(path, key)
        if name in raters:
            raise InputError(f"{quoted(path)} is a second file of rater {name!r}; give one of them")
        raters[name] = answers
    raters = dict(sorted(raters.items()))
    if not any(answer["values"] for answers in raters.values() for answer in answers):
        raise InputError("the files hold no answer; give files of raters who rated something")
    scores = StudyScores(
        key["id"], tuple(raters), {q["name"]: q["words"] for q in key["questions"]}
    )
    for question in key["questions"]:
        if question["kind"] == "scale":
            _score_scale(scores, key, raters, question, seed)
        elif question["kind"] == "choice":
            _score_choice(scores, key, raters, question, seed)
        else:
            _score_preference(scores, key, raters, question)
    for name, answers in raters.items():
        scores.notes.extend(f"rater {name!r} {habit}" for habit in _habits(key, answers))
    scores.notes.extend(_strangers(key, raters))
    return scores


def _score_scale(scores: StudyScores, key: Any, raters: Any, question: Any, seed: int) -> None:
    name = question["name"]
    units = [trial["id"] for trial in key["trials"] if len(trial["clips"]) == 1]
    table = _table(raters, units, name, float)
    scores.agreement[name] = krippendorff_alpha(table, "ordinal")
    for method, chosen in _by_method(key, units).items():
        kind = "mean opinion score"
        _add_mean(scores, method, name, kind, table[:, chosen], seed)


def _score_choice(scores: StudyScores, key: Any, raters: Any, question: Any, seed: int) -> None:
    name, choices = question["name"], tuple(question["choices"])
    units = [trial["id"] for trial in key["trials"] if len(trial["clips"]) == 1]
    table = _table(raters, units, name, choices.index)
    scores.agreement[name] = krippendorff_alpha(table, "nominal")
    for method, chosen in _by_method(key, units).items():
        wanted = [key["stimuli"][units[index]]["target"] for index in chosen]
        known = [(i, w) for i, w in zip(chosen, wanted, strict=True) if w in choices]
        if not known:
            continue
        part = table[:, [index for index, _ in known]]
        right = np.where(np.isnan(part), math.nan, part == [choices.index(w) for _, w in known])
        _add_mean(scores, method, name, "recognition rate", right, seed)
        targets = tuple(sorted({w for _, w in known}, key=choices.index))
        counts = np.zeros((len(targets), len(choices)), np.int64)
        for column, (_, target) in enumerate(known):
            given = part[~np.isnan(part[:, column]), column].astype(int)
            np.add.at(counts, (targets.index(target), given), 1)
        scores.recognition.append(Recognition(method, name, targets, choices, counts))


def _score_preference(scores: StudyScores, key: Any, raters: Any, question: Any) -> None:
    name = question["name"]
    trials = {trial["id"]: trial["clips"] for trial in key["trials"] if len(trial["clips"]) == 2}

    def method(stimulus: str) -> str:
        return key["stimuli"][stimulus]["method"]

    first = {unit: min(clips, key=method) for unit, clips in trials.items()}
    votes: dict[tuple[str, str], list[bool]] = defaultdict(list)
    voters: dict[tuple[str, str], set[str]] = defaultdict(set)
    for rater, answers in raters.items():
        for answer in answers:
            if name in answer["values"]:
                one, other = sorted(map(method, trials[answer["trial"]]))
                votes[one, other].append(answer["values"][name] == first[answer["trial"]])
                voters[one, other].add(rater)
    columns = [
        _table(raters, [unit], name, lambda value, unit=unit: float(value == first[unit]))
        for unit in trials
    ]
    scores.agreement[name] = krippendorff_alpha(np.hstack(columns), "nominal")
    for (one, other), wins in sorted(votes.items()):
        for method_, against, count in ((one, other, sum(wins)), (other, one, wins.count(False))):
            scores.rows.append(
                StudyScore(
                    method_,
                    name,
                    "preference",
                    count / len(wins),
                    *wilson(count, len(wins)),
                    len(wins),
                    len(voters[one, other]),
                    against,
                )
            )


def _add_mean(
    scores: StudyScores, method: str, name: str, kind: str, table: NDArray[np.float64], seed: int
) -> None:
    known = ~np.isnan(table)
    if known.any():
        low, high = interval_over_raters(table, seed=seed)
        people = int(known.any(1).sum())
        value = float(table[known].mean())
        scores.rows.append(
            StudyScore(method, name, kind, value, low, high, int(known.sum()), people)
        )


def _table(
    raters: Mapping[str, Any], units: Sequence[str], name: str, number: Callable[[Any], float]
) -> NDArray[np.float64]:
    """(raters, units) answers as numbers, NaN where there is none."""
    place = {unit: index for index, unit in enumerate(units)}
    table = np.full((len(raters), len(units)), math.nan)
    for row, answers in zip(table, raters.values(), strict=True):
        for answer in answers:
            if answer["trial"] in place and name in answer["values"]:
                row[place[answer["trial"]]] = number(answer["values"][name])
    return table


def _by_method(key: Any, units: Sequence[str]) -> dict[str, list[int]]:
    methods: dict[str, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        methods[key["stimuli"][unit]["method"]].append(index)
    return dict(sorted(methods.items()))


def _habits(key: Any, answers: Sequence[Any]) -> Iterable[str]:
    """What is odd about one rater's answers."""
    given = [answer for answer in answers if answer["values"]]
    if len(given) < len(key["trials"]):
        failed = sum(answer["failed"] for answer in answers)
        why = f" (clips of {failed} could not be played)" if failed else ""
        yield f"answered {len(given)} of {len(key['trials'])} steps{why}; these count"
    for question in key["questions"]:
        name, pair = question["name"], question["kind"] == "preference"
        answered = [answer for answer in given if name in answer["values"]]
        values = [answer["values"][name] for answer in answered]
        if pair:
            sides = (a["clips"].index(v) for a, v in zip(answered, values, strict=True))
            values = [f"side {'AB'[side]}" for side in sides]
        if len(values) < _ENOUGH:
            continue
        value, times = Counter(values).most_common(1)[0]
        if times >= _HABIT * len(values):
            yield f"answered {value} to {name!r} {times} of {len(values)} times; perhaps careless"
    longest = {
        trial["id"]: max(key["stimuli"][clip]["seconds"] for clip in trial["clips"])
        for trial in key["trials"]
    }
    hasty = sum(answer["seconds"] < longest[answer["trial"]] for answer in given)
    if hasty > _HASTY * len(given):
        yield f"answered {hasty} of {len(given)} steps before the clips could end; too fast"


def _strangers(key: Any, raters: Mapping[str, Any]) -> Iterable[str]:
    """Raters whose ratings run against those of all others together."""
    units = [trial["id"] for trial in key["trials"] if len(trial["clips"]) == 1]
    for question in key["questions"]:
        if question["kind"] != "scale" or len(raters) < 3:
            continue
        table = _table(raters, units, question["name"], float)
        for index, name in enumerate(raters):
            others = np.delete(table, index, 0)
            both = ~np.isnan(table[index]) & (~np.isnan(others)).any(0)
            if both.sum() < _ENOUGH:
                continue
            own, rest = table[index, both], np.nanmean(others[:, both], 0)
            if own.std() > 0 and rest.std() > 0 and np.corrcoef(own, rest)[0, 1] < 0:
                yield f"rater {name!r} rated {question['name']!r} against all others"
