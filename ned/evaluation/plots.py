"""Plots: curves, bars and confusion tables as plain SVG and HTML text, small and without scripts.

Colours are the style sheet's, so that a plot fits light and dark pages and paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ned.evaluation.page import macros, numbers, unit_suffix
from ned.evaluation.result import Labels, Series

POINTS = 400  # of one curve; more than a screen shows

_WIDTH, _HEIGHT = 620, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 8, 22
_COLOURS = 8
_DASHES = ("", "5 3", "1.5 3")
_LABEL = 22  # characters of a bar's name


@dataclass(frozen=True)
class Bar:
    """A value with its interval. NaN where not known."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan


def curves(series: Series, points: int = POINTS) -> Markup:
    """HTML figure of curves over time; gaps where nothing was measured.

    Args:
        series: what to show.
        points: most points of one curve; peaks are kept.
    """
    unit = unit_suffix(series.unit).strip()
    values = [np.asarray(v, np.float64) for v in series.curves.values()]
    finite = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.zeros(0)
    if not finite.size:
        return _plots().nothing(series.title, unit)
    times = np.asarray(series.times, np.float64)
    across = _ticks(float(times.min()), float(times.max()), 8)
    up = _ticks(float(finite.min()), float(finite.max()), 4, whole=True)
    start, end = float(times.min()), float(times.max())
    if start == end:
        start, end = start - 0.5, end + 0.5

    def x(time: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return _LEFT + (np.asarray(time) - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        share = (np.asarray(value) - up[0]) / (up[-1] - up[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    lines = []
    for index, (name, value) in enumerate(zip(series.curves, values, strict=True)):
        kept_times, kept = _decimate(times, value, points)
        line = {"name": name, "path": _path(x(kept_times), y(kept))}
        lines.append(line | {"look": index % _COLOURS, "dash": _dash(index)})
    return _plots().curves(
        series.title,
        unit,
        *(_WIDTH, _HEIGHT, _LEFT, _WIDTH - _RIGHT),
        [(float(y(tick)), _label(tick)) for tick in up],
        [(float(x(tick)), f"{tick:g}") for tick in across if start <= tick <= end],
        lines,
    )


def bars(title: str, entries: Sequence[Bar], perfect: float | None, note: str = "") -> Markup:
    """HTML figure of bars with intervals, one per method.

    Args:
        title: of the plot. entries: the bars, from the top.
        perfect: a value to mark; None or infinite for none.
        note: a few words below the title, such as which direction is better.
    """
    ends = [v for e in entries for v in (e.value, e.low, e.high) if math.isfinite(v)]
    shown = perfect is not None and math.isfinite(perfect) and bool(ends)
    if shown and perfect is not None:
        ends.append(perfect)
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale = _ticks(low, high if high > low else 1.0, 4, whole=True)
    left, row, width = 150, 24, 400
    height = row * len(entries) + 22
    room = width - left - 62

    def x(value: float) -> float:
        return left + (value - scale[0]) / (scale[-1] - scale[0]) * room

    values = numbers(*(entry.value for entry in entries))
    drawn = []
    for entry, value in zip(entries, values, strict=True):
        known = math.isfinite(entry.low) and math.isfinite(entry.high)
        drawn.append(
            {
                "name": entry.name,
                "short": _shortened(entry.name),
                "value": value,
                "bar": sorted((x(0), x(entry.value))) if math.isfinite(entry.value) else None,
                "whisker": (x(entry.low), x(entry.high)) if known else None,
            }
        )
    return _plots().bars(
        *(title, note, width, height, left, row),
        [(x(tick), _label(tick)) for tick in scale] if ends else [],
        drawn,
        x(perfect) if shown and perfect is not None else None,
    )


def confusion(
    caption: str,
    rows: Sequence[str],
    columns: Sequence[str],
    counts: NDArray[np.int64],
    target: str | None = None,
) -> Markup:
    """HTML table of counts, shaded by the square root of a cell's share of the largest.

    Args:
        caption: what rows and columns are. rows, columns: their names.
        counts: (rows, columns). target: name of a column to point out.
    """
    most = max(int(counts.max(initial=0)), 1)
    body = [
        (name, [(int(n), math.sqrt(n / most)) for n in row])
        for name, row in zip(rows, counts, strict=True)
    ]
    return _plots().confusion(caption, columns, body, target)


def confusion_of(labels: Labels, target: str | None) -> Markup:
    """HTML table of what a classifier called the frames of the source and of the result."""
    caption = f"{labels.judge}: frames called so in the source (rows) and in the result (columns)"
    return confusion(caption, labels.names, labels.names, labels.confusion, target)


def _plots() -> Any:
    return macros("plots.html")


def _dash(index: int) -> str:
    return _DASHES[index // _COLOURS % len(_DASHES)] or ("5 3" if index == 1 else "")


def _label(tick: float) -> str:
    return f"{tick:.6g}".replace("-", "−")


def _shortened(name: str) -> str:
    return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"


def _decimate(
    times: NDArray[np.float64], values: NDArray[np.float64], points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most that many points: of each stretch of time the smallest and the largest value."""
    values = np.where(np.isfinite(values), values, math.nan)
    if len(values) <= points:
        return times, values
    kept = []
    for part in np.array_split(np.arange(len(values)), max(1, points // 2)):
        known = part[np.isfinite(values[part])]
        if known.size:
            extremes = (known[values[known].argmin()], known[values[known].argmax()])
            kept += sorted(set(extremes))
        else:
            kept.append(part[0])
    return times[kept], values[kept]


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """SVG path data with a new start after each gap; a lonely point is a dot."""
    parts, drawing = [], False
    for across, up in zip(x, y, strict=True):
        if math.isnan(up):
            drawing = False
            continue
        parts.append(f"L{across:.1f} {up:.1f}" if drawing else f"M{across:.1f} {up:.1f}h0")
        drawing = True
    return "".join(parts)


def _ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """About `count` round numbers from low to high; with `whole` they enclose both."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9) if whole else math.ceil(low / step - 1e-9)
    last = math.ceil(high / step - 1e-9) if whole else math.floor(high / step + 1e-9)
    return [index * step + 0.0 for index in range(first, last + 1)]
