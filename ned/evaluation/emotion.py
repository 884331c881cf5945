"""Emotion: how far a result shows the emotion that was asked for, by classifiers of the face."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ned.core.script.emotions import EMOTIONS
from ned.evaluation.bootstrap import mean
from ned.evaluation.classifier import Affect
from ned.evaluation.estimate import estimate
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.result import Labels

_DELTA = "Wav2Lip-Emotion (Magnusson et al., ADGD 2021)"

METRICS = (
    Metric(
        "emotion.target", "target emotion in the result", "", "higher", (0, 1), None,
        "Probability that a classifier gives to the emotion that was asked for, mean over the "
        "frames of the result in which the face is seen.",
        "common in emotion editing; NED (CVPR 2022) reports the share of frames instead",
    ),
    Metric(
        "emotion.change", "change of the target emotion", "", "higher", (-1, 1), 0.0,
        "The same probability, result less source, mean over frames seen in both. A classifier's "
        "habits cancel partly. An untouched copy scores 0: no emotion was added.",
        "own",
    ),
    Metric(
        "emotion.accuracy", "frames called the target emotion", "", "higher", (0, 1), None,
        "Share of the result's frames for which the target has the largest probability.",
        "emotion accuracy as in EmoGen and NED (CVPR 2022)",
    ),
    Metric(
        "emotion.agreement", "frames called as in the source", "", "higher", (0, 1), 1.0,
        "Share of frames that a classifier calls the same in source and result: the diagonal of "
        "the confusion table. Low where the emotion was changed on purpose.",
        "own",
    ),
    *(
        Metric(
            f"emotion.{name}_change", f"change of {name}", "", "near zero", (-2, 2), 0.0,
            f"Difference of a classifier's {name} (about -1 to 1), result less source, mean over "
            "frames seen in both. Which sign is wanted depends on the emotion.",
            "circumplex of Russell (1980)",
        )
        for name in ("valence", "arousal")
    ),
    *(
        Metric(
            f"emotion.{name}_delta", f"normalised change of {name}", "", "higher",
            (-math.inf, math.inf), 1.0,
            f"(result - source) / (destination - source) of the clips' mean {name}: 0 as in the "
            "source, 1 as in the destination clip, above 1 beyond it. Left out where source and "
            "destination differ by less than 0.05.",
            _DELTA,
        )
        for name in ("valence", "arousal")
    ),
)  # fmt: skip

MEAN_OF_JUDGES = "mean"
"""The judge named by scores that average several."""

_TARGET = ("emotion.target", "emotion.change", "emotion.accuracy")
_LEAST_DISTANCE = 0.05


def target_scores(
    judged: Sequence[Labels], target: str | None, paired: bool = True, block: int = 1
) -> tuple[list[Score], list[Skip]]:
    """The target's probability, its change, the share of frames called so; per judge and mean.

    Args:
        judged: one per classifier; NaN rows are left out. target: our name of the emotion.
        paired: False where source and result rows are not the same moments; changes are then
            differences of means, without an interval.
        block: frames drawn together for intervals.
    """
    if target is None:
        return [], [Skip(_TARGET, "no target emotion was given")]
    able = [labels for labels in judged if target in labels.names]
    unable = [labels.judge for labels in judged if target not in labels.names]
    skips = []
    if unable:
        words = f"{' and '.join(unable)} {'knows' if len(unable) == 1 else 'know'} no {target!r}"
        if target not in EMOTIONS:
            words += "; say in the file of --emotions what it looks_like"
        skips.append(Skip(_TARGET, words))
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in _TARGET}
    scores: list[Score] = []
    for labels in able:
        column = labels.names.index(target)
        source, result = (_column(table, column) for table in (labels.source, labels.result))
        hit = np.where(np.isnan(result), np.nan, labels.result.argmax(1) == column)
        found = {"emotion.target": result, "emotion.accuracy": hit}
        if paired:
            found["emotion.change"] = result - source
        for name in _TARGET:
            if name in found:
                rows[name].append(found[name])
                scores += _known(estimate(name, found[name], block=block, judge=labels.judge))
            else:
                scores += _known(_difference(name, source, result, labels.judge))
    if len(able) > 1:
        for name in _TARGET:
            scores += _averaged(name, scores, rows[name], block)
    if able and not scores:
        skips.append(Skip(_TARGET, "the classifiers saw no face"))
    return scores, skips


def agreement_scores(judged: Sequence[Labels], block: int = 1) -> tuple[list[Score], list[Skip]]:
    """How often each judge calls a frame the same in source and result; rows must be paired."""
    scores, rows = [], []
    for labels in judged:
        unknown = np.isnan(labels.source).any(1) | np.isnan(labels.result).any(1)
        same = labels.source.argmax(1) == labels.result.argmax(1)
        rows.append(np.where(unknown, np.nan, same))
        score = estimate("emotion.agreement", rows[-1], block=block, judge=labels.judge)
        scores += _known(score)
    if len(judged) > 1:
        scores += _averaged("emotion.agreement", scores, rows, block)
    if not scores:
        return [], [Skip(("emotion.agreement",), "the classifiers saw no face in both")]
    return scores, []


def affect_scores(
    judge: str,
    source: Affect,
    result: Affect,
    destination: Affect | None = None,
    paired: bool = True,
    block: int = 1,
) -> tuple[list[Score], list[Skip]]:
    """Change of valence and arousal, and their normalised change toward a destination clip.

    Args:
        judge: name of the classifier. source, result: of the same frames if `paired`.
        destination: of another take that shows the wanted emotion; None without.
    """
    scores: list[Score] = []
    skips: list[Skip] = []
    for name in ("valence", "arousal"):
        before, after = getattr(source, name), getattr(result, name)
        change, delta = f"emotion.{name}_change", f"emotion.{name}_delta"
        if before is None or after is None:
            skips.append(Skip((change, delta), f"{judge} gives no {name}"))
            continue
        if paired:
            score = estimate(change, after.astype(np.float64) - before, block=block, judge=judge)
        else:
            score = _difference(change, before, after, judge)
        if math.isnan(score.value):
            skips.append(Skip((change, delta), "the classifiers saw no face in both"))
            continue
        scores.append(score)
        if destination is None:
            skips.append(Skip((delta,), "no destination clip was given"))
            continue
        aim = getattr(destination, name)
        value = normalised_change(before, after, aim if aim is not None else np.zeros(0))
        if value is None:
            words = f"source and destination have nearly the same {name} (less than "
            skips.append(Skip((delta,), f"{words}{_LEAST_DISTANCE} apart), or no face was seen"))
        else:
            scores.append(Score(delta, value, count=score.count, judge=judge))
    return scores, skips


def normalised_change(
    source: NDArray[np.floating], result: NDArray[np.floating], destination: NDArray[np.floating]
) -> float | None:
    """(result - source) / (destination - source) of means; None where that says nothing."""
    means = [_mean(values) for values in (source, result, destination)]
    way = means[2] - means[0]
    if not math.isfinite(way) or abs(way) < _LEAST_DISTANCE or math.isnan(means[1]):
        return None
    return (means[1] - means[0]) / way


def _column(table: NDArray[np.float32], column: int) -> NDArray[np.float64]:
    return table[:, column].astype(np.float64)


def _mean(values: NDArray[np.floating]) -> float:
    return float(mean(np.asarray(values, np.float64)[None])[0])


def _difference(
    name: str, source: NDArray[np.floating], result: NDArray[np.floating], judge: str
) -> Score:
    known = int(np.isfinite(result).sum())
    return Score(name, _mean(result) - _mean(source), count=known, judge=judge)


def _averaged(
    name: str, scores: Sequence[Score], rows: Sequence[NDArray[np.float64]], block: int
) -> list[Score]:
    """The mean over judges; with an interval where all judged the same frames."""
    if rows and len({len(row) for row in rows}) == 1:
        return _known(estimate(name, np.mean(rows, axis=0), block=block, judge=MEAN_OF_JUDGES))
    values = [score.value for score in scores if score.metric == name]
    if not values:
        return []
    count = min(score.count for score in scores if score.metric == name)
    return [Score(name, float(np.mean(values)), count=count, judge=MEAN_OF_JUDGES)]


def _known(score: Score) -> list[Score]:
    return [] if math.isnan(score.value) else [score]
