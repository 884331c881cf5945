"""Report: one HTML page of all that was measured, for people; it opens offline and stays small."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.page import ARROWS, macros, numbers, page, unit_suffix
from ned.evaluation.plots import POINTS, Bar, bars, confusion, confusion_of, curves
from ned.evaluation.result import PairResult, SetResult
from ned.evaluation.strips import strips_within
from ned.evaluation.tables import in_order, pairs_in_order, write_text

MOST_BYTES = 3_000_000
_ROWS, _SECTIONS = 300, 60  # pairs in the table, and with a section of their own
_CURVE_BYTES = 900_000
_LEAST_POINTS = 40
_POINT_BYTES = 11

Key = tuple[str, str]  # metric, judge


def write_report(
    path: Path, results: SetResult, metrics: Mapping[str, Metric], header: Mapping[str, Any]
) -> None:
    """Write the page; of very many results it shows fewer and smaller pictures, and says so.

    Args:
        path: the file. results: what was measured. metrics: {name: metric} of all scores.
        header: what else a reader should know (versions, settings), of plain values.

    Raises:
        OutputError: The file cannot be written.
    """
    write_text(path, report(results, metrics, header))


def report(results: SetResult, metrics: Mapping[str, Metric], header: Mapping[str, Any]) -> str:
    """The page as text of at most `MOST_BYTES` bytes in UTF-8."""
    share = 1.0
    while True:
        whole = _build(results, metrics, header, share)
        if len(whole.encode("utf-8", "backslashreplace")) <= MOST_BYTES or share < 1e-4:
            return whole
        share /= 2


def _build(
    results: SetResult, metrics: Mapping[str, Metric], header: Mapping[str, Any], share: float
) -> str:
    pairs = pairs_in_order(results)
    many = len(pairs) > 1 or bool(results.failed)
    told = pairs[: max(round(_SECTIONS * share), 1)]
    amount = sum(len(series.curves) for pair in told for series in pair.series)
    points = int(_CURVE_BYTES * share / max(amount, 1) / _POINT_BYTES)
    points = min(max(points, _LEAST_POINTS), POINTS)
    parts = [_parts().facts(header)]
    if many:
        parts.append(_overview(results, pairs, metrics, round(_ROWS * share)))
    elif pairs:
        parts.append(_parts().facts(_facts_of(pairs[0])) + _summary(pairs[0], metrics))
    skipped = _skipped(results, pairs, metrics, round(_ROWS * share))
    if skipped:
        parts.append(skipped)
    sections = [_section(pair, metrics, many, points) for pair in told]
    ending = _definitions(metrics)
    whole = (*parts, *(part for section in sections for part in section))
    used = sum(len(part.encode("utf-8", "backslashreplace")) for part in whole)
    room = MOST_BYTES * 0.95 - used - len(ending) * 1.1 - 20_000
    strips, note = strips_within([pair.pictures for pair in told], room)
    notes = [note] if note else []
    if len(told) < len(pairs):
        notes.append(
            f"Pictures and curves of the first {len(told)} of {len(pairs)} results are shown; the "
            "scores of all are in the CSV and JSON files."
        )
    if points < POINTS:
        notes.append(f"Curves are drawn with up to {points} points each; peaks are kept.")
    body = [a + strip + b for (a, b), strip in zip(sections, strips, strict=True)]
    parts += [_own().note(note) for note in notes]
    title = f"Evaluation of {pairs[0].name if len(pairs) == 1 else f'{len(pairs)} results'}"
    return page(title, Markup("\n").join([*parts, *body, ending]))


def _parts() -> Any:
    return macros("parts.html")


def _own() -> Any:
    return macros("report.html")


def _facts_of(pair: PairResult) -> dict[str, str]:
    return {
        "Source": pair.source.name,
        "Result": pair.result.name,
        "Asked for": pair.target or "not known",
        "Made by": pair.method or "not known",
        "Compared": f"{pair.frames} frames of {pair.size[0]} × {pair.size[1]} pixels, "
        f"{pair.frame_rate:g} per second",
    }


def _grouped(found: Iterable[Metric]) -> list[str]:
    """For each metric the name of its group where one begins, else ""."""
    groups = [metric.group for metric in found]
    return [
        group if not index or groups[index - 1] != group else ""
        for index, group in enumerate(groups)
    ]


def _summary(pair: PairResult, metrics: Mapping[str, Metric]) -> Markup:
    """Table of one result: a row for each metric."""
    scores = in_order(pair.scores, metrics)
    known = [metrics[score.metric] for score in scores]
    return _own().summary(list(zip(_grouped(known), known, scores, strict=True)))


def _overview(
    results: SetResult, pairs: Sequence[PairResult], metrics: Mapping[str, Metric], most: int
) -> Markup:
    """Means by method, bars where there are several methods, and a row for each result."""
    parts = []
    means = {method: by_key(scores) for method, scores in sorted(results.means.items())}
    keys = _keys((s for scores in results.means.values() for s in scores), metrics)
    if keys:
        parts.append(_means(means, keys, metrics))
    if len(means) > 1:
        parts.append(_own().side_by_side(_bars(means, keys, metrics)))
    asked = _asked(pairs)
    if asked:
        parts.append(_own().asked(asked))
    if pairs:
        parts.append(_own().every(len(pairs), most, _every(pairs[:most], metrics)))
    return Markup("\n").join(parts)


def _means(
    means: Mapping[str, Mapping[Key, Score]], keys: Sequence[Key], metrics: Mapping[str, Metric]
) -> Markup:
    rows = []
    groups = _grouped(metrics[name] for name, _ in keys)
    for group, (name, judge) in zip(groups, keys, strict=True):
        scores = [scores.get((name, judge)) for scores in means.values()]
        best, clear = _best(scores, metrics[name])
        cells = [
            (f"{' best' if index in best else ''}{' clear' if index in clear else ''}", score)
            for index, score in enumerate(scores)
        ]
        rows.append((group, metrics[name], judge, cells))
    return _own().means(list(means), rows)


def _bars(
    means: Mapping[str, Mapping[Key, Score]], keys: Sequence[Key], metrics: Mapping[str, Metric]
) -> list[Markup]:
    figures = []
    for name, judge in keys:
        metric = metrics[name]
        entries = [
            Bar(method or "result", score.value, score.low, score.high)
            for method, scores in means.items()
            if (score := scores.get((name, judge))) is not None
        ]
        unit = unit_suffix(metric.unit).strip()
        title = metric.title + (f" ({unit})" if unit else "") + (f", {judge}" if judge else "")
        figures.append(bars(title, entries, metric.perfect, " ".join(ARROWS[metric.better])))
    return figures


def _every(
    pairs: Sequence[PairResult], metrics: Mapping[str, Metric]
) -> list[tuple[str, list[tuple[Metric, str]], list[tuple[PairResult, list[str]]]]]:
    """For each group of metrics its columns, and a row of values for each result."""
    groups: dict[str, list[Key]] = defaultdict(list)
    for key in _keys((score for pair in pairs for score in pair.scores), metrics):
        groups[metrics[key[0]].group].append(key)
    known = [by_key(pair.scores) for pair in pairs]
    return [
        (
            group,
            [(metrics[name], judge) for name, judge in keys],
            [
                (pair, [numbers(scores[k].value)[0] if k in scores else "–" for k in keys])
                for pair, scores in zip(pairs, known, strict=True)
            ],
        )
        for group, keys in groups.items()
    ]


def _asked(pairs: Sequence[PairResult]) -> list[Markup]:
    """Tables of what was asked for and what classifiers called the frames, by method and judge."""
    tables: dict[tuple[str, str, tuple[str, ...]], dict[str, NDArray[np.int64]]] = defaultdict(dict)
    for pair in pairs:
        for labels in pair.labels if pair.target else ():
            counts = np.bincount(labels.result.argmax(1), minlength=len(labels.names))
            rows = tables[labels.judge, pair.method, labels.names]
            rows[pair.target or ""] = rows.get(pair.target or "", 0) + counts
    return [
        confusion(
            f"{' · '.join(part for part in (method, judge) if part)}: frames of results by the "
            "emotion asked for (rows) and the one seen (columns)",
            sorted(rows),
            names,
            np.stack([rows[target] for target in sorted(rows)]),
        )
        for (judge, method, names), rows in sorted(tables.items())
    ]


def _skipped(
    results: SetResult, pairs: Sequence[PairResult], metrics: Mapping[str, Metric], most: int
) -> Markup:
    """Lists of what is missing and why, equal reasons once; nothing if nothing is."""
    where: dict[Skip, list[str]] = {skip: [] for skip in results.skips}
    for pair in pairs:
        for skip in pair.skips:
            where.setdefault(skip, []).append(pair.name)
    lines = []
    for skip, names in where.items():
        titles = ", ".join(metrics[m].title if m in metrics else m for m in skip.metrics)
        count = "all results" if len(names) == len(pairs) else _some(names)
        lines.append((titles, skip.reason, count if len(pairs) > 1 and names else ""))
    failed = [(name, why, "") for name, why in sorted(results.failed.items())]
    if not lines and not failed:
        return Markup("")
    most = max(most, 1)
    kinds = (("", lines), ("Results that could not be read", failed))
    return _own().skipped([(head, kept[:most], len(kept) - most) for head, kept in kinds])


def _section(
    pair: PairResult, metrics: Mapping[str, Metric], many: bool, points: int
) -> tuple[Markup, Markup]:
    """All there is of one result, before and after its pictures."""
    return (
        _own().opening(pair.name if many else "", _facts_of(pair)),
        _own().ending(
            _summary(pair, metrics) if many else "",
            [curves(series, points) for series in pair.series],
            [confusion_of(labels, pair.target) for labels in pair.labels],
        ),
    )


def _definitions(metrics: Mapping[str, Metric]) -> Markup:
    known = list(metrics.values())
    return _own().definitions(list(zip(_grouped(known), known, strict=True)))


def by_key(scores: Iterable[Score]) -> dict[Key, Score]:
    """Scores by metric and judge."""
    return {(score.metric, score.judge): score for score in scores}


def _keys(scores: Iterable[Score], metrics: Mapping[str, Metric]) -> list[Key]:
    return list(by_key(in_order(scores, metrics)))


def _best(scores: Sequence[Score | None], metric: Metric) -> tuple[set[int], set[int]]:
    """Which are the best (none where all show the same digits), and which of them clearly."""

    def merit(value: float) -> float:
        return {"higher": value, "lower": -value}.get(metric.better, -abs(value))

    known = {i: s for i, s in enumerate(scores) if s is not None and not math.isnan(s.value)}
    shown = dict(zip(known, numbers(*(score.value for score in known.values())), strict=True))
    if len(set(shown.values())) < 2:
        return set(), set()
    top = max(known, key=lambda index: merit(known[index].value))
    best = {index for index in known if shown[index] == shown[top]}
    lower, higher = known[top].low, known[top].high
    clear = all(
        index == top or other.low > higher or other.high < lower for index, other in known.items()
    )
    return best, {top} if clear else set()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
