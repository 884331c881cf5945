"""Score table: what an evaluation found, as the few lines that a person reads first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ned.core.table import Detail, Line, Row, Table
from ned.evaluation.emotion import MEAN_OF_JUDGES
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.page import numbers
from ned.evaluation.result import PairResult, SetResult
from ned.evaluation.tables import in_order

HEADLINES = (
    *("emotion.target", "emotion.change", "emotion.accuracy"),
    *("speech.aperture_r", "speech.jaw_r", "speech.aperture_error", "speech.closure_f1"),
    *("speech.audio_lag", "speech.m_lmd", "speech.lse_d"),
    *("identity.rig_distance", "identity.cosine", "identity.same"),
    *("pose.rotation", "pose.translation", "background.psnr", "background.colour_shift"),
    *("realism.face_ssim", "realism.sharpness", "realism.lpips", "realism.fid"),
    *("temporal.jitter_all", "temporal.flicker", "temporal.warping_error"),
)
"""Metrics that are shown at once, the most telling of each group; `--verbose` shows all."""

_SIGNED = {
    "emotion.change": ("more than in the source", "less than in the source"),
    "realism.sharpness": ("sharper than the source", "softer than the source"),
}
_FEW = 3  # results that could not be scored


def tell(found: SetResult, metrics: Mapping[str, Metric]) -> list[Line]:
    """What a terminal shows: of one result its scores, of several the means by method."""
    if len(found.pairs) == 1 and not found.failed:
        pair = found.pairs[0]
        asked = f", {pair.target} asked for" if pair.target else ""
        title = f"{pair.result} against {pair.source}, {pair.frames} frames{asked}"
        return [score_table(title, pair.scores, metrics), *_left_out(found, metrics)]
    lines: list[Line] = []
    means = dict(sorted(found.means.items()))
    if len(means) > 1:
        lines.append(_side_by_side(found.pairs, means, metrics))
    for method, scores in means.items():
        own = sum(pair.method == method for pair in found.pairs)
        title = f"{method or 'all results'}, means of {own} clips"
        table = score_table(title, scores, metrics)
        lines += [table] if len(means) == 1 else [Detail(line) for line in table.lines(True)]
    for number, (name, why) in enumerate(found.failed.items()):
        line = f"  not scored {name}: {why}"
        lines.append(line if number < _FEW else Detail(line))
    if len(found.failed) > _FEW:
        lines.append(f"  and {len(found.failed) - _FEW} more could not be scored")
    return [*lines, *_left_out(found, metrics)]


def score_table(title: str, scores: Iterable[Score], metrics: Mapping[str, Metric]) -> Table:
    """One line for each score: value, interval, direction, what an unedited copy has, verdict.

    Of several judges the mean is shown; `HEADLINES` at once, the others as details.
    """
    ordered = in_order(scores, metrics)
    averaged = {score.metric for score in ordered if score.judge == MEAN_OF_JUDGES}
    rows, group = [], ""
    for score in ordered:
        metric = metrics[score.metric]
        single = score.metric in averaged and score.judge != MEAN_OF_JUDGES
        detail = single or score.metric not in HEADLINES
        value, low, high = numbers(score.value, score.low, score.high)
        known = not (math.isnan(score.low) or math.isnan(score.high))
        cells = (
            metric.group if metric.group != group else "",
            _measure(metric, score.judge if detail else ""),
            value,
            f"{low} to {high}" if known else "",
            direction(metric),
            _copy(metric),
            verdict(metric, score),
        )
        rows.append(Row(cells, detail))
        group = metric.group if not detail else group
    heads = ("", "measure", ">value", "95 % interval", "better", ">a copy has", "verdict")
    return Table(heads, tuple(rows), title)


def direction(metric: Metric) -> str:
    """Which values are better, with an arrow."""
    return {"higher": "↑ higher", "lower": "↓ lower", "near zero": "→ nearer to 0"}[metric.better]


def verdict(metric: Metric, score: Score) -> str:
    """What the numbers themselves say, "" where that needs a limit that nobody has agreed on.

    A value that is what an unedited copy has, an interval that holds that value, and a change whose
    interval lies on one side of 0: nothing else is called good or bad.
    """
    more, less = _SIGNED.get(metric.name, ("", ""))
    if more and score.low > 0:
        return more
    if less and score.high < 0:
        return less
    if metric.perfect is None:
        return ""
    if score.value == metric.perfect:
        return "as a copy"
    return "not told from a copy" if score.low <= metric.perfect <= score.high else ""


def _side_by_side(
    pairs: Sequence[PairResult],
    means: Mapping[str, Sequence[Score]],
    metrics: Mapping[str, Metric],
) -> Table:
    """The headlines of several methods; intervals are among the details."""
    found = {
        method: {s.metric: s for s in in_order(scores, metrics) if _is_whole(s, scores)}
        for method, scores in means.items()
    }
    rows, group = [], ""
    for name in HEADLINES:
        known = [scores[name].value if name in scores else math.nan for scores in found.values()]
        if name not in metrics or all(map(math.isnan, known)):
            continue
        metric = metrics[name]
        first = metric.group if metric.group != group else ""
        cells = (first, _measure(metric), *numbers(*known), direction(metric), _copy(metric))
        rows.append(Row(cells))
        group = metric.group
    counts = {method: sum(pair.method == method for pair in pairs) for method in means}
    heads = tuple(f">{method or 'result'}" for method in means)
    title = "means of " + ", ".join(f"{n} clips of {m or 'result'}" for m, n in counts.items())
    return Table(("", "measure", *heads, "better", ">a copy has"), tuple(rows), title)


def _is_whole(score: Score, scores: Sequence[Score]) -> bool:
    """True unless it is one of several judges' whose mean is there."""
    several = any(s.metric == score.metric and s.judge == MEAN_OF_JUDGES for s in scores)
    return not several or score.judge == MEAN_OF_JUDGES


def _left_out(found: SetResult, metrics: Mapping[str, Metric]) -> list[Line]:
    """One line about what was not measured, and the reasons as details."""
    where: dict[Skip, int] = dict.fromkeys(found.skips, len(found.pairs))
    for pair in found.pairs:
        for skip in pair.skips:
            where[skip] = where.get(skip, 0) + 1
    if not where:
        return []
    names = {name for skip in where for name in skip.metrics if name in metrics}
    reasons = f"{len(where)} reason{'s' * (len(where) != 1)}"
    lines: list[Line] = [
        f"  {len(names)} of {len(metrics)} measures left out somewhere, for {reasons}; "
        "--verbose tells which and why, and shows all scores"
    ]
    for skip, count in where.items():
        some = f"in {count} of {len(found.pairs)} " if count < len(found.pairs) else ""
        lines.append(Detail(f"  skipped {some}{', '.join(skip.metrics)}: {skip.reason}"))
    return lines


def _measure(metric: Metric, judge: str = "") -> str:
    about = " · ".join(part for part in (metric.unit, judge) if part)
    return f"{metric.title} ({about})" if about else metric.title


def _copy(metric: Metric) -> str:
    return "" if metric.perfect is None else numbers(metric.perfect)[0]
