"""Report: one HTML page of all that was measured, for people; it opens offline and stays small."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.page import facts, items, numbers, page, text, unit_suffix, value_and_interval
from ned.evaluation.plots import POINTS, Bar, bars, confusion, confusion_of, curves
from ned.evaluation.result import PairResult, SetResult
from ned.evaluation.strips import strips_within
from ned.evaluation.tables import in_order, pairs_in_order, write_text

MOST_BYTES = 3_000_000
_ROWS, _SECTIONS = 300, 60  # pairs in the table, and with a section of their own
_CURVE_BYTES = 900_000
_LEAST_POINTS = 40
_POINT_BYTES = 11

_ARROWS = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "near zero": ("→", "nearer to zero is better"),
}

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
    parts = [facts(header)]
    if many:
        parts.append(_overview(results, pairs, metrics, round(_ROWS * share)))
    elif pairs:
        parts.append(_facts_of(pairs[0]) + _summary(pairs[0], metrics))
    skipped = _skipped(results, pairs, metrics, round(_ROWS * share))
    if skipped:
        parts.append(f"<h2>Not measured</h2>{skipped}")
    sections = [_section(pair, metrics, many, points) for pair in told]
    ending = _definitions(metrics)
    used = sum(len(part.encode("utf-8", "backslashreplace")) for part in (*parts, *sections))
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
    body = [section.replace("<!--strip-->", s) for section, s in zip(sections, strips, strict=True)]
    parts += [f'<p class="quiet">{text(note)}</p>' for note in notes]
    title = f"Evaluation of {pairs[0].name if len(pairs) == 1 else f'{len(pairs)} results'}"
    return page(title, "\n".join([*parts, *body, ending]))


def _facts_of(pair: PairResult) -> str:
    about = {
        "Source": pair.source.name,
        "Result": pair.result.name,
        "Asked for": pair.target or "not known",
        "Made by": pair.method or "not known",
        "Compared": f"{pair.frames} frames of {pair.size[0]} × {pair.size[1]} pixels, "
        f"{pair.frame_rate:g} per second",
    }
    return facts(about)


def _summary(pair: PairResult, metrics: Mapping[str, Metric]) -> str:
    """Table of one result: a row for each metric."""
    scores = in_order(pair.scores, metrics)
    if not scores:
        return '<p class="quiet">Nothing could be measured.</p>'
    rows, group = [], ""
    for score in scores:
        metric = metrics[score.metric]
        if metric.group != group:
            group = metric.group
            rows.append(f'<tr class="group"><th colspan="5">{text(group)}</th></tr>')
        shown, low, high = numbers(score.value, score.low, score.high)
        interval = "" if math.isnan(score.low) or math.isnan(score.high) else f"{low} to {high}"
        rows.append(
            f"<tr><th>{_title(metric, score.judge)}</th>"
            f'<td class="number">{shown}</td>'
            f'<td class="number">{interval}</td><td class="number">{score.count or ""}</td>'
            f"<td>{_direction(metric)}</td></tr>"
        )
    return (
        '<div class="scroll"><table><caption>Value, 95 % interval and number of frames or windows '
        "it is taken from</caption><thead><tr><th>Metric</th>"
        '<th class="number">Value</th><th class="number">95 % interval</th><th class="number">from'
        f"</th><th>Better · perfect</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _overview(
    results: SetResult, pairs: Sequence[PairResult], metrics: Mapping[str, Metric], most: int
) -> str:
    """Means by method, bars where there are several methods, and a row for each result."""
    parts = []
    means = {method: by_key(scores) for method, scores in sorted(results.means.items())}
    keys = _keys((s for scores in results.means.values() for s in scores), metrics)
    if keys:
        parts.append("<h2>Means over clips</h2>" + _means(means, keys, metrics))
    if len(means) > 1:
        parts.append(f"<h2>Methods side by side</h2>{_bars(means, keys, metrics)}")
    asked = _asked(pairs)
    if asked:
        parts.append(f"<h2>Asked for and seen</h2>{asked}")
    if pairs:
        parts.append("<h2>Every result</h2>")
        if len(pairs) > most:
            parts.append(
                f'<p class="quiet">The first {most} of {len(pairs)} are listed; all are in the CSV '
                "and JSON files.</p>"
            )
        parts.append(_every(pairs[:most], metrics))
    return "\n".join(parts)


def _means(
    means: Mapping[str, Mapping[Key, Score]], keys: Sequence[Key], metrics: Mapping[str, Metric]
) -> str:
    heads = "".join(f'<th class="number">{text(name or "result")}</th>' for name in means)
    rows, group = [], ""
    for name, judge in keys:
        metric = metrics[name]
        if metric.group != group:
            group = metric.group
            rows.append(f'<tr class="group"><th colspan="{len(means) + 2}">{text(group)}</th></tr>')
        scores = [scores.get((name, judge)) for scores in means.values()]
        best, clear = _best(scores, metric)
        cells = []
        for index, score in enumerate(scores):
            look = f"number{' best' if index in best else ''}{' clear' if index in clear else ''}"
            inner = value_and_interval(score.value, score.low, score.high) if score else "–"
            cells.append(f'<td class="{look}">{inner}</td>')
        rows.append(
            f"<tr><th>{_title(metric, judge)}</th>{''.join(cells)}"
            f"<td>{_direction(metric)}</td></tr>"
        )
    caption = "Mean and 95 % interval over clips"
    if len(means) > 1:
        caption += ". Bold: the best method; shaded: its interval overlaps no other's"
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead><tr><th>Metric</th>{heads}'
        f"<th>Better · perfect</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _bars(
    means: Mapping[str, Mapping[Key, Score]], keys: Sequence[Key], metrics: Mapping[str, Metric]
) -> str:
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
        arrow, words = _ARROWS[metric.better]
        figures.append(bars(title, entries, metric.perfect, f"{arrow} {words}"))
    return (
        '<p class="quiet">Lines across the bars are 95 % intervals over clips, dashed lines '
        f'perfect values.</p><div class="grid">{"".join(figures)}</div>'
    )


def _every(pairs: Sequence[PairResult], metrics: Mapping[str, Metric]) -> str:
    """A table for each group of metrics, with a row for each result."""
    groups: dict[str, list[Key]] = defaultdict(list)
    for key in _keys((score for pair in pairs for score in pair.scores), metrics):
        groups[metrics[key[0]].group].append(key)
    known = [by_key(pair.scores) for pair in pairs]
    parts = []
    for group, keys in groups.items():
        heads = "".join(
            f'<th class="number">{_title(metrics[name], judge)} '
            f"{_ARROWS[metrics[name].better][0]}</th>"
            for name, judge in keys
        )
        rows = []
        for pair, scores in zip(pairs, known, strict=True):
            cells = "".join(
                f'<td class="number">{numbers(scores[key].value)[0] if key in scores else "–"}</td>'
                for key in keys
            )
            about = " · ".join(part for part in (pair.method, pair.target) if part)
            rows.append(f"<tr><th>{text(pair.name)} <small>{text(about)}</small></th>{cells}</tr>")
        parts.append(
            f'<h3>{text(group.capitalize())}</h3><div class="scroll wide"><table><thead><tr>'
            f"<th>Result</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
    return "".join(parts)


def _asked(pairs: Sequence[PairResult]) -> str:
    """Tables of what was asked for and what classifiers called the frames, by method and judge."""
    tables: dict[tuple[str, str, tuple[str, ...]], dict[str, NDArray[np.int64]]] = defaultdict(dict)
    for pair in pairs:
        for labels in pair.labels if pair.target else ():
            counts = np.bincount(labels.result.argmax(1), minlength=len(labels.names))
            rows = tables[labels.judge, pair.method, labels.names]
            rows[pair.target or ""] = rows.get(pair.target or "", 0) + counts
    return "".join(
        confusion(
            f"{' · '.join(part for part in (method, judge) if part)}: frames of results by the "
            "emotion asked for (rows) and the one seen (columns)",
            sorted(rows),
            names,
            np.stack([rows[target] for target in sorted(rows)]),
        )
        for (judge, method, names), rows in sorted(tables.items())
    )


def _skipped(
    results: SetResult, pairs: Sequence[PairResult], metrics: Mapping[str, Metric], most: int
) -> str:
    """Lists of what is missing and why; equal reasons once."""
    where: dict[Skip, list[str]] = {skip: [] for skip in results.skips}
    for pair in pairs:
        for skip in pair.skips:
            where.setdefault(skip, []).append(pair.name)
    lines = []
    for skip, names in where.items():
        titles = ", ".join(metrics[m].title if m in metrics else m for m in skip.metrics)
        line = f"<b>{text(titles)}</b>: {text(skip.reason)}"
        if len(pairs) > 1 and names:
            count = "all results" if len(names) == len(pairs) else _some(names)
            line += f' <span class="quiet">({text(count)})</span>'
        lines.append(line)
    failed = [f"<b>{text(n)}</b>: {text(why)}" for n, why in sorted(results.failed.items())]
    html = ""
    for heading, kept in (("", lines), ("<h3>Results that could not be read</h3>", failed)):
        if kept:
            html += heading + items(kept[: max(most, 1)])
        if len(kept) > max(most, 1):
            html += f'<p class="quiet">and {len(kept) - max(most, 1)} more, in the JSON file.</p>'
    return html


def _section(pair: PairResult, metrics: Mapping[str, Metric], many: bool, points: int) -> str:
    """All there is of one result, with a mark where its pictures go."""
    parts = ['<section class="pair">']
    if many:
        parts.append(f"<h2>{text(pair.name)}</h2>{_facts_of(pair)}")
    parts.append("<!--strip-->")
    if many:
        parts.append(_summary(pair, metrics))
    if pair.series:
        plots = "".join(curves(series, points) for series in pair.series)
        parts.append(f'<h3>Over time</h3><div class="plots">{plots}</div>')
    if pair.labels:
        parts.append("<h3>What classifiers saw</h3>")
        parts += [confusion_of(labels, pair.target) for labels in pair.labels]
    return "".join([*parts, "</section>"])


def _definitions(metrics: Mapping[str, Metric]) -> str:
    rows, group = [], ""
    for metric in metrics.values():
        if metric.group != group:
            group = metric.group
            rows.append(f'<tr class="group"><th colspan="4">{text(group)}</th></tr>')
        low, high = ("∞" if math.isinf(v) else f"{v:g}" for v in metric.range)
        low = "−∞" if math.isinf(metric.range[0]) else low.replace("-", "−")
        rows.append(
            f"<tr><th>{text(metric.title)}<br><code>{text(metric.name)}</code></th>"
            f"<td>{text(metric.definition)}</td><td>{low} to {high}"
            f"{text(unit_suffix(metric.unit))}<br>{_direction(metric)}</td>"
            f"<td>{text(metric.source)}</td></tr>"
        )
    if not rows:
        return ""
    return (
        '<h2>What the numbers mean</h2><div class="scroll"><table><thead><tr><th>Metric</th>'
        "<th>Definition</th><th>Range · better · perfect</th><th>Source</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


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


def _title(metric: Metric, judge: str) -> str:
    unit = unit_suffix(metric.unit).strip()
    about = " · ".join(part for part in (unit, judge) if part)
    return text(metric.title) + (f" <small>{text(about)}</small>" if about else "")


def _direction(metric: Metric) -> str:
    arrow, words = _ARROWS[metric.better]
    perfect = ""
    if metric.perfect is not None:
        value = "∞" if math.isinf(metric.perfect) else f"{metric.perfect:g}".replace("-", "−")
        perfect = f" {value}" if metric.better == "near zero" else f" · {value}"
    return f'<span title="{words}">{arrow}{perfect}</span>'


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
